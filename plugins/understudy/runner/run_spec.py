"""The MLflow run of a step, and the tags that record its source. Pure."""

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
    tags = {
        **source_tags(request, pinned),
        Tag.ENVIRONMENT.value: environment.digest or environment.manager,
        "mlflow.project.backend": "understudy",
        "mlflow.project.env": environment.manager,
        **lineage.tags(),
    }
    return RunSpec(
        experiment_id=request.experiment_id,
        key=request.key,
        name=request.name,
        tags={**tags, **request.tags},
        parent_run_id=request.parent_run_id,
    )


def source_tags(request: StepRequest, pinned: Pinned) -> dict[str, str]:
    """Return the tags that record a step's source, wherever it runs."""
    # MLflow sets none of its own tags on a run that existed before (3.17), so these are set here.
    # Its mlflow.source.name would hold the URL with its credentials; the repository has none.
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
