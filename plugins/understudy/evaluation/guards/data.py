"""Looks at a night's rows for all that its pipeline asks. Touches the files that it reads only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from understudy.contract import TRAIN_FILE
from understudy.errors import DecisionError
from understudy.evaluation.guards import drift, leakage, row_counts, schema
from understudy.evaluation.guards.current_data import Tonight, unchecked
from understudy.evaluation.guards.leakage import Sketches
from understudy.evaluation.guards.pairs import pairs
from understudy.evaluation.guards.profile import Profile
from understudy.evaluation.guards.roles import Roles
from understudy.evaluation.guards.table import Table
from understudy.gate.evidence import Finding
from understudy.spec.guards import OFF, Guards


@dataclass(frozen=True, slots=True)
class Absent:
    """Nothing is known of the rows that the champion was trained on, and why."""

    reason: str


@dataclass(frozen=True, slots=True)
class Found:
    """What was found.

    Attributes:
        findings: Of every guard that is not off.
        profile: Of tonight's training rows, to be stored; None where there are none.
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
) -> Found:
    """Look at tonight's rows.

    Args:
        guards: What to look for.
        folder: What tonight's ``preprocess`` logged: ``train.parquet``, ``holdout.parquet`` and,
            where the project writes one, ``dataset.json``.
        champion: What the champion was trained on; why that is not known; None without a champion.
        as_of: ISO time of the night; '' where it has none.
        roles: What the columns are; None for what the folder says itself.
    """
    try:
        tonight = Tonight.open(folder, roles)
    except DecisionError as error:
        return Found((unchecked("data", guards.unchecked, error.found),), None)
    sketches = Sketches.of(tonight.train)
    profile = Profile.of(tonight.train, tonight.roles, sketches.content, sketches.identities)
    findings = [
        *_of_tonight(guards, tonight, sketches, as_of),
        *_against(guards, tonight, champion),
    ]
    return Found(tuple(findings), profile)


def profile_of(folder: Path, roles: Roles | None = None) -> Profile:
    """Return the profile of the training rows in a folder, such as the champion's.

    Raises:
        DecisionError: when there are none, or they cannot be read.
    """
    known = Roles.of(folder) if roles is None else roles
    table = Table(folder / TRAIN_FILE, known.row_id)
    sketches = Sketches.of(table)
    return Profile.of(table, known, sketches.content, sketches.identities)


def _of_tonight(
    guards: Guards, tonight: Tonight, sketches: Sketches, as_of: str
) -> Iterator[Finding]:
    """Yield what tonight's rows alone tell."""
    old = row_counts.age(guards, tonight, as_of)
    if old is not None:
        yield old
    if guards.leakage != OFF:
        yield leakage.copies(guards, tonight, sketches)
        yield leakage.features(guards, tonight)


def _against(
    guards: Guards, tonight: Tonight, champion: Profile | Absent | None
) -> Iterator[Finding]:
    """Yield what tonight's rows tell beside those that the champion was trained on."""
    then = champion if isinstance(champion, Profile) else None
    if guards.rows != OFF:
        yield row_counts.rows(guards, tonight, then)
    if isinstance(champion, Absent):
        yield unchecked("drift", guards.unchecked, champion.reason)
    if then is None:
        return
    beside = pairs(tonight, then)
    yield from schema.find(guards, tonight, then, beside)
    yield from drift.find(guards, tonight, then, beside)
    if guards.leakage != OFF:
        yield leakage.champions_copies(guards, tonight, then)
