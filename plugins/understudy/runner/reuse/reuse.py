"""Lets a finished step stand for a new one of the same identity. Touches MLflow runs only.

The earlier run keeps what it logged, and its id is what later steps get, so that their addresses
work. The new night gets a small run of its own that points there: it shows the step in MLflow's UI
and says that nothing ran.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from understudy.contract import Tag
from understudy.runner.reuse.identity import UnknownContentError
from understudy.runner.reuse.outputs import OutputStore
from understudy.store.tracking import RunSpec, RunStore

if TYPE_CHECKING:
    from mlflow.entities import Run

    from understudy.runner.process.process import OnLine

_FINISHED: Final = "attributes.status = 'FINISHED'"
_PARENT: Final = "mlflow.parentRunId"
# Tags by which the project's own programs describe their data.
_PROJECT_S: Final = "data."


def earlier(
    runs: RunStore, outputs: OutputStore, identity: tuple[str, str], on_line: OnLine
) -> Run | None:
    """Return the newest finished run of a key that still has all that it logged, or None.

    Args:
        runs: Where to look.
        outputs: Checks whether a run is complete.
        identity: The experiment's id, and the key.
        on_line: Called with a line for each run that cannot be used, with the reason.
    """
    experiment_id, key = identity
    for run in runs.search(experiment_id, {Tag.REUSE_KEY: key}, also=_FINISHED):
        try:
            outputs.known(run)
        except UnknownContentError as reason:
            on_line(f"Not reused: {reason}")
        else:
            return run
    return None


def stand_in(runs: RunStore, spec: RunSpec, source: Run) -> str:
    """Create a finished run that shows, in a new night, that an earlier one is used; return its id.

    Args:
        runs: Where to create it.
        spec: The run that the step would have had.
        source: The earlier run.
    """
    own = {name: v for name, v in source.data.tags.items() if name.startswith(_PROJECT_S)}
    # MLflow's UI shows the description as Markdown.
    address = f"#/experiments/{source.info.experiment_id}/runs/{source.info.run_id}"
    link = f"[{source.info.run_name} {source.info.run_id[:8]}]({address})"
    tags = {
        **own,
        **spec.tags,
        Tag.REUSED_FROM.value: source.info.run_id,
        Tag.DESCRIPTION.value: f"Nothing ran: the result is that of {link}.",
    }
    # It has no result of its own: a later search by the key must not find it.
    tags.pop(Tag.REUSE_KEY.value, None)
    run_id = runs.ensure(RunSpec(spec.experiment_id, spec.key, spec.name, tags, spec.parent_run_id))
    runs.end(run_id, "FINISHED")
    return run_id


def told(runs: RunStore, source: Run) -> str:
    """Return a line for the log: which run is used, of which night, and why that is right."""
    ended = datetime.fromtimestamp(source.info.end_time / 1000, UTC)
    parent = source.data.tags.get(_PARENT)
    night = f" of {runs.get(parent).info.run_name!r}" if parent else ""
    return (
        f"Reused: nothing runs. The MLflow run {source.info.run_id}{night}, finished "
        f"{ended:%Y-%m-%d %H:%M} UTC, has the same code, entry point, parameters, inputs and "
        "environment"
    )
