"""Nights, decisions and moves as pandas frames, for notebooks and reports. Reads MLflow alone.

The server is that of ``MLFLOW_TRACKING_URI``, else that of the checkout's stack, as for the command
line. Frames have the same columns where there are no rows. Times are of UTC; numbers that a night
has not logged are NaN, texts that it has not are ''.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from understudy.contract import Tag

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.entities import Run

    from understudy.decide.stored_records import Archived

__all__ = ["decisions", "moves", "nights"]

_FIRST, _LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
_TAGS: Final = {
    "outcome": Tag.OUTCOME,
    "verdict": Tag.VERDICT,
    "reason": Tag.REASON,
    "metric": Tag.PRIMARY,
    "champion_before": Tag.CHAMPION_BEFORE,
    "champion_after": Tag.CHAMPION_AFTER,
    "commit": Tag.COMMIT,
    "dag_run_id": Tag.DAG_RUN_ID,
}
_NUMBERS: Final = ("challenger", "champion", "gain", "gain_low", "gain_high")
_NIGHT: Final = ("as_of", *_TAGS, *_NUMBERS, "started", "seconds", "run_id")
_FACTS: Final = ("metric", "rule", "bound", "slice", "needed", "challenger", "champion", "gain")
_DECISION: Final = (
    *("as_of", "run_id", "outcome", "verdict"),
    *_FACTS,
    *("gain_low", "gain_high", "result", "reason"),
)
_MOVE: Final = (
    *("number", "at", "before", "after", "cause", "actor", "why", "state"),
    *("decision_run", "rehearsal_run"),
)


def nights(pipeline: str, since: datetime = _FIRST, until: datetime = _LAST) -> pd.DataFrame:
    """Return the nights of a pipeline, the earliest first.

    Args:
        pipeline: Its name.
        since: The first as-of time, with a time zone.
        until: The last one.

    Returns:
        One row for each night: ``as_of`` and ``started`` (times), ``seconds`` (how long it took,
        NaN while it runs), ``outcome``, ``verdict``, ``reason``, ``metric`` (the primary one),
        ``challenger``, ``champion``, ``gain``, ``gain_low``, ``gain_high`` (of that metric),
        ``champion_before``, ``champion_after`` (versions), ``commit``, ``dag_run_id``, ``run_id``.

    Raises:
        TrackingUnavailableError: when no server is named, or it does not answer.
    """
    from understudy.cli.arguments import client
    from understudy.decide.stored_records import night_runs

    rows = map(_night, night_runs(client(), pipeline, since, until))
    return _frame(rows, _NIGHT, ("as_of", "started"), (*_NUMBERS, "seconds"))


def decisions(pipeline: str, since: datetime = _FIRST, until: datetime = _LAST) -> pd.DataFrame:
    """Return what the gate checked in the judged nights of a pipeline, the earliest first.

    Args:
        pipeline: Its name.
        since: The first as-of time, with a time zone.
        until: The last one.

    Returns:
        One row for each check of a night: ``as_of``, ``run_id``, ``outcome``, ``verdict``, then
        ``metric``, ``rule``, ``bound``, ``slice`` ('' for all rows), ``needed``, ``challenger``,
        ``champion``, ``gain``, ``gain_low``, ``gain_high``, ``result`` and ``reason``. A night
        whose record is gone has one row without a check.

    Raises:
        TrackingUnavailableError: when no server is named, or it does not answer.
    """
    from understudy.cli.arguments import client
    from understudy.decide import stored_records

    found = stored_records.nights(client(), pipeline, since, until)
    rows = (row for one in found for row in _checks(one))
    numbers = ("bound", "needed", "challenger", "champion", "gain", "gain_low", "gain_high")
    return _frame(rows, _DECISION, ("as_of",), numbers)


def moves(model: str) -> pd.DataFrame:
    """Return every move of a champion, the earliest first.

    Args:
        model: The registered model.

    Returns:
        One row for each move: ``number``, ``at`` (time), ``before`` and ``after`` (versions, ''
        for none), ``cause``, ``actor``, ``why``, ``state`` (moved, abandoned or under way),
        ``decision_run``, ``rehearsal_run``.

    Raises:
        TrackingUnavailableError: when no server is named, or it does not answer.
        TrackingRefusedError: when there is no model of that name.
    """
    from understudy.cli.arguments import client, known_model, mlflow_errors
    from understudy.registry.promoter import Promoter
    from understudy.store.tracking import RunStore

    made = client()
    with mlflow_errors():
        history = Promoter(made, RunStore(made)).history(model)
    if not history.entries:
        known_model(made, model)
    rows = (
        {
            "number": entry.move.number,
            "at": entry.move.at,
            "before": entry.move.before or "",
            "after": entry.move.after or "",
            "cause": entry.move.cause,
            "actor": entry.move.actor,
            "why": entry.move.why,
            "state": "under way" if entry.ending is None else str(entry.ending.state),
            "decision_run": entry.move.decision_run,
            "rehearsal_run": entry.move.rehearsal_run,
        }
        for entry in history.entries
    )
    return _frame(rows, _MOVE, ("at",), ())


def _night(run: Run) -> dict[str, Any]:
    tags, info = run.data.tags, run.info
    texts = {name: tags.get(tag.value, "") for name, tag in _TAGS.items()}
    numbers = {name: run.data.metrics.get(f"{name}_{texts['metric']}") for name in _NUMBERS}
    began = datetime.fromtimestamp(info.start_time / 1000, UTC)
    seconds = (info.end_time - info.start_time) / 1000 if info.end_time else None
    about = {"started": began.isoformat(), "seconds": seconds, "run_id": info.run_id}
    return {"as_of": tags.get(Tag.AS_OF.value), **texts, **numbers, **about}


def _checks(night: Archived) -> Iterator[dict[str, Any]]:
    """Yield the checks of a night's record."""
    head = {
        "as_of": night.as_of,
        "run_id": night.run_id,
        "outcome": night.outcome,
        "verdict": night.verdict,
    }
    checks = json.loads(night.document)["checks"] if night.document else [{}]
    for check in checks:
        # Records of version 1 know no intervals.
        ends = check.get("interval") or {}
        yield {
            **head,
            **{name: check.get(name) for name in _FACTS},
            "gain_low": ends.get("low"),
            "gain_high": ends.get("high"),
            "result": check.get("result"),
            "reason": check.get("reason"),
        }


def _frame(
    rows: Iterable[Mapping[str, Any]],
    columns: tuple[str, ...],
    times: tuple[str, ...],
    numbers: tuple[str, ...],
) -> pd.DataFrame:
    # Here, not above: what imports modules to look at them may lack pandas, as Airflow's side does.
    import pandas as pd

    made = pd.DataFrame([*rows], columns=list(columns))
    for name in times:
        made[name] = pd.to_datetime(made[name], utc=True, format="ISO8601").dt.as_unit("us")
    for name in numbers:
        made[name] = made[name].astype("object").map(_number).astype("float64")
    texts = [name for name in columns if name not in {*times, *numbers, "number"}]
    made[texts] = made[texts].astype("object").fillna("")
    return made


def _number(value: object) -> float:
    """Return a number of a record, where infinity and NaN are texts; None is NaN."""
    return float("nan") if value is None else float(str(value))
