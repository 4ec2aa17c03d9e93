"""Whether there are rows enough, and whether they are of today. Touches what it reads only."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pandas as pd

from understudy.evaluation.guards.current_data import Numbers, Tonight, made, unchecked
from understudy.evaluation.guards.profile import Profile
from understudy.gate.evidence import Finding
from understudy.spec import quantities
from understudy.spec.guards import OFF, Guards


def rows(guards: Guards, tonight: Tonight, then: Profile | None) -> Finding:
    """Return whether there are fewer rows than there must be."""
    train, holdout = tonight.train.rows, tonight.holdout.rows
    least = max(guards.min_training_rows, guards.kept_rows * then.rows if then else 0)
    problems = list(_too_few(guards, tonight, then))
    fine = f"{train:,} rows to train on, {holdout:,} to judge on"
    numbers: Numbers = {
        "training rows": train,
        "holdout rows": holdout,
        "needed to train": least,
        "needed to judge": guards.min_holdout_rows,
        "champion's training rows": then.rows if then else None,
    }
    return made("rows", guards.rows, "; ".join(problems), fine, numbers)


def _too_few(guards: Guards, tonight: Tonight, then: Profile | None) -> Iterator[str]:
    train, holdout = tonight.train.rows, tonight.holdout.rows
    if train < guards.min_training_rows:
        yield f"{train:,} rows to train on, {guards.min_training_rows:,} are needed"
    if holdout < guards.min_holdout_rows:
        yield f"{holdout:,} rows to judge on, {guards.min_holdout_rows:,} are needed"
    if then and train < guards.kept_rows * then.rows:
        yield (
            f"{train:,} rows to train on, the champion had {then.rows:,}: less than "
            f"{guards.kept_rows:.0%} of them"
        )


def age(guards: Guards, tonight: Tonight, as_of: str) -> Finding | None:
    """Return whether the newest row is too old; None where any age will do.

    Args:
        guards: What is asked.
        tonight: The rows.
        as_of: ISO time of the night; UTC where it has no zone.
    """
    if guards.age == OFF or not guards.max_age:
        return None
    newest = _newest(tonight)
    if newest is None or not as_of:
        why = "no time of the night" if newest else "the rows have no column with their time"
        return unchecked("age", guards.unchecked, why)
    old = _utc(datetime.fromisoformat(as_of)) - newest.to_pydatetime()
    most = timedelta(seconds=quantities.duration(guards.max_age))
    told = f"the newest row is of {newest:%Y-%m-%d %H:%M} UTC, {_days(old)} before the night"
    problems = f"{told}; {guards.max_age} are allowed" if old > most else ""
    numbers = {"age in days": old / timedelta(days=1), "allowed days": most / timedelta(days=1)}
    return made("age", guards.age, problems, told, {**numbers, "newest": newest.isoformat()})


def _newest(tonight: Tonight) -> pd.Timestamp | None:
    times = [table.newest(tonight.roles.time) for _, table in tonight.parts]
    return max((time for time in times if time is not None), default=None)


def _utc(time: datetime) -> datetime:
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time


def _days(span: timedelta) -> str:
    hours = span / timedelta(hours=1)
    return f"{hours:.1f} h" if abs(hours) < 48 else f"{hours / 24:.1f} days"  # noqa: PLR2004
