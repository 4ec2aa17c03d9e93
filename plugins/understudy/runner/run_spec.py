"""The MLflow run that a step gets, and the tags that say what it is made from. Pure."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING

from understudy.contract import Kind, Tag
from understudy.runner.step import Pinned, StepRequest
from understudy.store.tracking import RunSpec

if TYPE_CHECKING:
    from understudy.runner.environment.store import Environment
    from understudy.runner.reuse.lineage import Lineage


def run_spec(
    request: StepRequest, pinned: Pinned, environment: Environment, lineage: Lineage
) -> RunSpec:
    """Return the MLflow run that a step gets on this machine."""
    ours = {**_tags(request, pinned, environment), **lineage.tags()}
    return RunSpec(
        experiment_id=request.experiment_id,
        key=request.key,
        name=request.name,
        tags={**ours, **request.tags},
        parent_run_id=request.parent_run_id,
    )


def _tags(request: StepRequest, pinned: Pinned, environment: Environment) -> dict[str, str]:
    return {
        **source_tags(request, pinned),
        Tag.ENVIRONMENT.value: environment.digest or environment.manager,
        "mlflow.project.backend": "understudy",
        "mlflow.project.env": environment.manager,
    }


def source_tags(request: StepRequest, pinned: Pinned) -> dict[str, str]:
    """Return the tags that say what a step's run is made from, wherever it runs."""
    where = pinned.repository
    if pinned.subdirectory:
        where += f"#{pinned.subdirectory}"
    return {
        Tag.KIND.value: Kind.STEP.value,
        Tag.REPOSITORY.value: pinned.repository,
        Tag.SUBDIRECTORY.value: pinned.subdirectory,
        Tag.VERSION.value: pinned.version,
        Tag.COMMIT.value: pinned.commit,
        Tag.TREE.value: pinned.tree,
        Tag.ENTRY_POINT.value: request.entry_point,
        "mlflow.source.name": where,
        "mlflow.source.type": "PROJECT",
        "mlflow.source.git.commit": pinned.commit,
        "mlflow.source.git.repoURL": pinned.repository,
        "mlflow.project.entryPoint": request.entry_point,
        "mlflow.user": getpass.getuser(),
    }
