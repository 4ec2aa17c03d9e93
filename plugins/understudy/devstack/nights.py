"""Reads from MLflow what became of a pipeline's nights, and says whether that was all of a demo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from understudy.cli.table import render
from understudy.contract import CHAMPION, DataTag, Kind, Outcome, Tag
from understudy.devstack.processes import StackError
from understudy.gate import as_logged

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

    from understudy.store.night import Night

TITLES = (
    "night",
    "rows",
    "metric",
    "challenger",
    "champion",
    "outcome",
    "champion after",
    "reason",
)


@dataclass(frozen=True)
class NightReport:
    """What became of one night.

    Attributes:
        as_of: The date that the night saw the data of.
        rows: How many rows there were; None where the download did not come that far.
        metric: The gate's primary metric.
        challenger: Its value for the challenger; None where none was trained.
        champion: Its value for the champion of that night; None where there was none.
        outcome: How the night ended; empty while it has not.
        reason: Why.
        champion_before: The version in production when the night began; empty for none.
        champion_after: The version in production when it ended; empty for none.
    """

    as_of: str
    rows: int | None
    metric: str
    challenger: float | None
    champion: float | None
    outcome: str
    reason: str
    champion_before: str
    champion_after: str


def read_nights(client: MlflowClient, pipeline: str) -> list[NightReport]:
    """The nights of a pipeline, the earliest first.

    Raises:
        StackError: MLflow has no experiment of that name.
    """
    from understudy.store.night import NightBook
    from understudy.store.tracking import RunStore

    experiment = client.get_experiment_by_name(pipeline)
    if experiment is None:
        raise StackError(
            f"MLflow has no experiment {pipeline!r}",
            allowed="one experiment for each pipeline that has run",
            action="look into the log of the Dag's first task",
        )
    runs = client.search_runs([experiment.experiment_id], max_results=1000)
    book = NightBook(client, RunStore(client))
    parents = [run for run in runs if run.data.tags.get(Tag.KIND) == Kind.NIGHT]
    reports = [_report(run, book.opened(run.info.run_id), runs) for run in parents]
    return sorted(reports, key=lambda report: report.as_of)


def _report(run: Run, night: Night | None, runs: Sequence[Run]) -> NightReport:
    tags, metrics = run.data.tags, run.data.metrics
    metric = str(night.rules["primary"]["name"]) if night else ""
    return NightReport(
        as_of=tags.get(Tag.AS_OF, "")[:10],
        rows=_rows(run.info.run_id, runs),
        metric=metric,
        challenger=_logged(metrics, f"challenger_{metric}"),
        champion=_logged(metrics, f"champion_{metric}"),
        outcome=tags.get(Tag.OUTCOME, ""),
        reason=tags.get(Tag.REASON, ""),
        champion_before=tags.get(Tag.CHAMPION_BEFORE, ""),
        champion_after=tags.get(Tag.CHAMPION_AFTER, ""),
    )


def _logged(metrics: Mapping[str, float], name: str) -> float | None:
    return as_logged(metrics[name]) if name in metrics else None


def _rows(parent: str, runs: Sequence[Run]) -> int | None:
    """The row count that the night's download wrote on its own run."""
    for run in runs:
        tags = run.data.tags
        if tags.get("mlflow.parentRunId") == parent and DataTag.ROWS in tags:
            return int(tags[DataTag.ROWS])
    return None


def champion_version(client: MlflowClient, model: str) -> str | None:
    """The version that the alias resolves to in the registry; None where it does not."""
    from mlflow.exceptions import MlflowException

    try:
        return str(client.get_model_version_by_alias(model, CHAMPION).version)
    except MlflowException:
        return None


def as_table(reports: Sequence[NightReport], width: int) -> str:
    """The nights as lines for a terminal of that many characters."""
    rows = [
        (
            report.as_of,
            "" if report.rows is None else str(report.rows),
            report.metric,
            _number(report.challenger),
            _number(report.champion),
            report.outcome or "(open)",
            f"version {report.champion_after}" if report.champion_after else "none",
            report.reason,
        )
        for report in reports
    ]
    return render(TITLES, rows, width)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def missing(reports: Sequence[NightReport], champion: str | None) -> list[str]:
    """What a demo should have shown and did not; empty when all of it happened.

    Args:
        reports: The nights, the earliest first.
        champion: What the alias resolves to in the registry now; None for nothing.
    """
    promoted = [report for report in reports if report.outcome == Outcome.PROMOTED]
    after = reports[-1].champion_after if reports else ""
    happened = {
        "a first champion": any(not report.champion_before for report in promoted),
        "a champion that a better challenger replaced": any(
            report.champion_before for report in promoted
        ),
        "a night whose challenger was not promoted": any(
            report.outcome in {Outcome.HELD, Outcome.REJECTED} for report in reports
        ),
        "a night that was skipped because nothing had changed": any(
            report.outcome == Outcome.SKIPPED for report in reports
        ),
        "an outcome for every night": all(
            report.outcome not in {"", Outcome.FAILED} for report in reports
        ),
        "an alias in the registry that names the last champion": champion is not None
        and champion == after,
    }
    return [what for what, did in happened.items() if not did]
