"""The MLflow run of a step, and the tags that record its source. Pure."""

from __future__ import annotations

import getpass
from collections.abc import Mapping

from understudy.contract import Kind, Tag
from understudy.runner.step import Pinned, StepRequest
from understudy.store.tracking import RunSpec


def run_spec(request: StepRequest, pinned: Pinned, tags: Mapping[str, str]) -> RunSpec:
    """Return the MLflow run that a step gets: its source's tags, these, and the request's."""
    return RunSpec(
        experiment_id=request.experiment_id,
        key=request.key,
        name=request.name,
        tags={**_source_tags(request, pinned), **tags, **request.tags},
        parent_run_id=request.parent_run_id,
    )


def _source_tags(request: StepRequest, pinned: Pinned) -> dict[str, str]:
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
