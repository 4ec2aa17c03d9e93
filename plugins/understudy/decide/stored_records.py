"""Finds the stored decision records of nights. Reads MLflow."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from understudy.contract import DECISION_RECORD, MATURED_RECORD, Kind, Tag
from understudy.errors import DecisionError
from understudy.gate import LateLabelRecord
from understudy.store.artifacts import read_text
from understudy.store.tracking import quoted, tracking_errors

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

# Runs of one call: a page of 1000 takes MLflow's server seconds.
_PAGE: Final = 200


@dataclass(frozen=True, slots=True)
class Archived:
    """A night's stored record.

    Attributes:
        as_of: ISO time of the data that the night saw.
        run_id: The night's parent run.
        outcome: How the night ended; empty while it has not.
        verdict: What the gate said.
        document: The record, as it was stored; empty where it is gone or was changed.
        lost: Why it is empty.
    """

    as_of: str
    run_id: str
    outcome: str
    verdict: str
    document: str
    lost: str = ""


def document(client: MlflowClient, run_id: str) -> str:
    """Return the record of one night.

    Raises:
        DecisionError: when the run has none.
        TrackingUnavailableError: when the server does not answer.
    """
    from mlflow.exceptions import MlflowException

    try:
        with tracking_errors():
            run = client.get_run(run_id)
    except MlflowException as error:
        raise DecisionError(
            f"There is no run {run_id}: {str(error)[:300]}",
            allowed="the parent run of a night that was judged",
            action="look for the tag understudy.verdict in MLflow's table of nights",
        ) from error
    return _text(client, run, DECISION_RECORD)


def nights(
    client: MlflowClient, pipeline: str, since: datetime, until: datetime
) -> Iterator[Archived]:
    """Yield the judged nights of a pipeline whose data are of a span of time, the earliest first.

    Args:
        client: A client of the tracking server.
        pipeline: The pipeline's name.
        since: The first as-of time.
        until: The last one.
    """
    for run in night_runs(client, pipeline, since, until, judged=True):
        tags, run_id = run.data.tags, str(run.info.run_id)
        # A night whose record somebody deleted stays in the list: it was judged all the same.
        stored, lost = "", ""
        try:
            stored = document(client, run_id)
        except DecisionError as error:
            lost = error.found
        yield Archived(
            _as_of(run).isoformat(timespec="seconds"),
            run_id,
            tags.get(Tag.OUTCOME, ""),
            tags[Tag.VERDICT],
            stored,
            lost,
        )


def matured(
    client: MlflowClient, pipeline: str, since: datetime, until: datetime
) -> Iterator[LateLabelRecord | DecisionError]:
    """Yield the nights that were seen again, the earliest first; of what cannot be read, why.

    Args:
        client: A client of the tracking server.
        pipeline: The pipeline's name.
        since: The first as-of time.
        until: The last one.
    """
    for run in night_runs(client, pipeline, since, until, judged=True):
        if run.data.tags.get(Tag.MATURED, ""):
            try:
                yield LateLabelRecord.of(_text(client, run, MATURED_RECORD))
            except DecisionError as error:
                yield error


def _text(client: MlflowClient, run: Run, path: str) -> str:
    """Return an artifact of a night.

    Raises:
        DecisionError: when it is gone.
    """
    from mlflow.exceptions import MlflowException

    try:
        return read_text(client, run, path)
    except (MlflowException, OSError) as error:
        raise DecisionError(
            f"The run {run.info.run_id} has no {path}: {str(error)[:300]}",
            allowed="a night's parent run with the records of what was judged",
            action="name a run with the tag understudy.verdict; if it has, restore the artifact",
        ) from error


def night_runs(
    client: MlflowClient, pipeline: str, since: datetime, until: datetime, *, judged: bool = False
) -> list[Run]:
    """Return the nights of a span of time, whatever their experiment, the earliest first.

    Args:
        client: A client of the tracking server.
        pipeline: The pipeline's name.
        since: The first as-of time.
        until: The last one.
        judged: Whether to leave out those without a verdict.
    """
    condition = (
        f"tags.`{Tag.PIPELINE}` = '{quoted(pipeline)}' and tags.`{Tag.KIND}` = '{Kind.NIGHT}'"
    )
    if judged:
        condition += f" and tags.`{Tag.VERDICT}` != ''"
    found: list[Run] = []
    # Compared here: MLflow compares tags as texts, and these times may be of different zones.
    with tracking_errors():
        places = [str(one.experiment_id) for one in client.search_experiments()]
        token = None
        while True:
            page = client.search_runs(places, condition, max_results=_PAGE, page_token=token)
            found += [run for run in page if since <= _as_of(run) <= until]
            if not (token := page.token):
                return sorted(found, key=_as_of)


def _as_of(run: Run) -> datetime:
    said = run.data.tags.get(Tag.AS_OF, "")
    if not said:  # a night that ended before it was pinned
        return datetime.fromtimestamp(run.info.start_time / 1000, UTC)
    moment = datetime.fromisoformat(said)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
