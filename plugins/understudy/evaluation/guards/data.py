"""Looks at a night's rows for all that its pipeline asks: enough rows, recent rows, and the rest.

Touches the files that it reads only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from understudy.contract import TRAIN_FILE
from understudy.errors import DecisionError
from understudy.evaluation.guards import drift, leakage
from understudy.evaluation.guards.current_data import CurrentData, Numbers, Roles, made, unchecked
from understudy.evaluation.guards.drift import pairs
from understudy.evaluation.guards.leakage import Sketches
from understudy.evaluation.guards.profile import Profile
from understudy.evaluation.guards.table import RowTable
from understudy.gate.evidence import Finding
from understudy.spec import quantities
from understudy.spec.guards import OFF, Guards


def rows(guards: Guards, current: CurrentData, then: Profile | None) -> Finding:
    """Return whether there are fewer rows than there must be."""
    train, holdout = current.train.rows, current.holdout.rows
    # Both limits hold, so the number to reach is the larger one.
    least = max(guards.min_training_rows, guards.kept_rows * then.rows if then else 0)
    problems = []
    if train < guards.min_training_rows:
        problems.append(f"{train:,} rows to train on, {guards.min_training_rows:,} are needed")
    if holdout < guards.min_holdout_rows:
        problems.append(f"{holdout:,} rows to judge on, {guards.min_holdout_rows:,} are needed")
    if then and train < guards.kept_rows * then.rows:
        problems.append(
            f"{train:,} rows to train on, the champion had {then.rows:,}: less than "
            f"{guards.kept_rows:.0%} of them"
        )
    fine = f"{train:,} rows to train on, {holdout:,} to judge on"
    numbers: Numbers = {
        "training rows": train,
        "holdout rows": holdout,
        "needed to train": least,
        "needed to judge": guards.min_holdout_rows,
        "champion's training rows": then.rows if then else None,
    }
    return made("rows", guards.rows, "; ".join(problems), fine, numbers)


def age(guards: Guards, current: CurrentData, as_of: str) -> Finding | None:
    """Return whether the newest row is too old; None where any age will do.

    Args:
        guards: The guards' settings.
        current: The rows.
        as_of: ISO time of the night; UTC where it has no zone.
    """
    if guards.age == OFF or not guards.max_age:
        return None
    times = [table.newest(current.roles.time) for _, table in current.parts]
    newest = max((time for time in times if time is not None), default=None)
    if newest is None or not as_of:
        why = "no time of the night" if newest else "the rows have no column with their time"
        return unchecked("age", guards.unchecked, why)
    moment = datetime.fromisoformat(as_of)
    aware = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    old = aware - newest.to_pydatetime()
    most = timedelta(seconds=quantities.duration(guards.max_age))
    fine = f"the newest row is of {newest:%Y-%m-%d %H:%M} UTC, {_days(old)} before the night"
    problems = f"{fine}; {guards.max_age} are allowed" if old > most else ""
    numbers = {"age in days": old / timedelta(days=1), "allowed days": most / timedelta(days=1)}
    return made("age", guards.age, problems, fine, {**numbers, "newest": newest.isoformat()})


def _days(span: timedelta) -> str:
    hours = span / timedelta(hours=1)
    return f"{hours:.1f} h" if abs(hours) < 48 else f"{hours / 24:.1f} days"  # noqa: PLR2004


@dataclass(frozen=True, slots=True)
class Absent:
    """Nothing is known of the rows that the champion was trained on, and why."""

    reason: str


@dataclass(frozen=True, slots=True)
class GuardFindings:
    """What was found.

    Attributes:
        findings: Of every guard that is not off.
        profile: Of the current training rows, to be stored; None where there are none.
    """

    findings: tuple[Finding, ...]
    profile: Profile | None


def find(
    guards: Guards,
    folder: Path,
    champion: Profile | Absent | None,
    *,
    as_of: str = "",
    roles: Roles | None = None,
) -> GuardFindings:
    """Check the rows of the current night.

    Args:
        guards: What to look for.
        folder: What this night's ``preprocess`` logged: ``train.parquet``, ``holdout.parquet``
            and, where the project writes one, ``dataset.json``.
        champion: What the champion was trained on; why that is not known; None without a champion.
        as_of: ISO time of the night; '' where it has none.
        roles: What the columns are; None for what the folder says itself.
    """
    try:
        current = CurrentData.open(folder, roles)
    except DecisionError as error:
        return GuardFindings((unchecked("data", guards.unchecked, error.found),), None)
    # Read once and used twice: for the leakage guards of this night, and in the profile for later
    # ones.
    sketches = Sketches.of(current.train)
    profile = Profile.of(current.train, current.roles, sketches.content, sketches.identities)
    findings = [
        *_alone(guards, current, sketches, as_of),
        *_beside_champions(guards, current, champion),
    ]
    return GuardFindings(tuple(findings), profile)


def profile_of(folder: Path, roles: Roles | None = None) -> Profile:
    """Return the profile of the training rows in a folder, such as the champion's.

    Raises:
        DecisionError: when there are none, or they cannot be read.
    """
    known = Roles.of(folder) if roles is None else roles
    table = RowTable(folder / TRAIN_FILE, known.row_id)
    sketches = Sketches.of(table)
    return Profile.of(table, known, sketches.content, sketches.identities)


def _alone(
    guards: Guards, current: CurrentData, sketches: Sketches, as_of: str
) -> Iterator[Finding]:
    """Yield what can be found in the current data alone."""
    old = age(guards, current, as_of)
    if old is not None:
        yield old
    if guards.leakage != OFF:
        yield leakage.copies(guards, current, sketches)
        yield leakage.features(guards, current)


def _beside_champions(
    guards: Guards, current: CurrentData, champion: Profile | Absent | None
) -> Iterator[Finding]:
    """Yield what is found by comparing with the rows that the champion was trained on."""
    then = champion if isinstance(champion, Profile) else None
    if guards.rows != OFF:
        yield rows(guards, current, then)
    # Said once, under drift, and not once for each guard that lacks the same rows.
    if isinstance(champion, Absent):
        yield unchecked("drift", guards.unchecked, champion.reason)
    if then is None:
        return
    # Each column is read once for all guards that compare.
    beside = pairs(current, then)
    yield from drift.schema_findings(guards, current, then, beside)
    yield from drift.drift_findings(guards, current, then, beside)
    if guards.leakage != OFF:
        yield leakage.champions_copies(guards, current, then)
