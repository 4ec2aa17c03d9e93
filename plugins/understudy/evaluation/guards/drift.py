"""Whether values are distributed as when the champion was trained. Touches what it reads only."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from understudy.evaluation.guards.current_data import Numbers, Tonight, made, some, unchecked
from understudy.evaluation.guards.distances import chance, credible, distance
from understudy.evaluation.guards.pairs import Pair, incomparable
from understudy.evaluation.guards.profile import Profile
from understudy.evaluation.guards.table import Table
from understudy.gate.evidence import Finding
from understudy.spec.guards import OFF, Guards

_TOLD: Final = 10
"""Columns whose distance a finding tells, the farthest first."""
_NAMED: Final = 50
"""Columns of which a finding tells why they are not compared."""


@dataclass(frozen=True, slots=True)
class _Shift:
    """How far a column's values are from those that the champion was trained on."""

    pair: Pair
    distance: float
    p_value: float

    @classmethod
    def of(cls, pair: Pair) -> _Shift:
        then, now = np.array(pair.then.counts), np.array(pair.now.counts)
        return cls(pair, distance(then, now), chance(then, now))

    def __str__(self) -> str:
        then, now = self.pair.then.mean, self.pair.now.mean
        means = "" if then is None or now is None else f", mean {now:.4g} after {then:.4g}"
        return f"{self.pair.name!r} (distance {self.distance:.2f}{means})"


def find(
    guards: Guards, tonight: Tonight, then: Profile, pairs: Sequence[Pair]
) -> Iterator[Finding]:
    """Yield what is to be said about the features, and about the target, of both parts.

    Every column is compared, or said not to be, and why.

    Args:
        guards: What is asked.
        tonight: The rows.
        then: The champion's training rows.
        pairs: Tonight's columns beside the champion's.
    """
    features, target = tonight.features, tonight.roles.target or then.target
    for part, table in tonight.parts:
        if guards.drift != OFF:
            shifts = _shifts(pairs, part, features)
            lacking = _lacking(pairs, then, (part, table), features)
            if shifts or not lacking:
                yield _features(guards, part, shifts)
            if lacking:
                yield _unchecked_features(guards, part, lacking)
        if guards.target_drift != OFF:
            lacking = _lacking(pairs, then, (part, table), [target])
            yield _target(guards, part, _shifts(pairs, part, {target}), lacking.get(target, ""))


def _lacking(
    pairs: Sequence[Pair], then: Profile, part: tuple[str, Table], names: Sequence[str]
) -> dict[str, str]:
    """Return the columns of a part that cannot be compared, and why.

    What is new, or gone, is told of where the columns themselves are looked at.
    """
    where, table = part
    beside = {pair.name: pair for pair in pairs if pair.part == where}
    reasons = {
        name: incomparable(then.columns[name], beside.get(name), table.kinds[name])
        for name in names
        if name in then.columns and name in table.kinds
    }
    return {name: why for name, why in reasons.items() if why}


def _unchecked_features(guards: Guards, part: str, lacking: Mapping[str, str]) -> Finding:
    told = some([f"{name!r}: {why}" for name, why in lacking.items()])
    why = f"{len(lacking)} features of the {part} cannot be compared: {told}"
    numbers: Numbers = {"part": part, "columns": len(lacking)}
    numbers |= {f"not compared: {name}": why for name, why in list(lacking.items())[:_NAMED]}
    return replace(unchecked("drift", guards.unchecked, why), numbers=numbers)


def _shifts(pairs: Sequence[Pair], part: str, names: Collection[str]) -> list[_Shift]:
    """Return how far columns are from then, the farthest first."""
    shifts = [
        _Shift.of(pair)
        for pair in pairs
        if pair.part == part and pair.name in names and pair.then.compares and pair.now.compares
    ]
    return sorted(shifts, key=lambda shift: (-shift.distance, shift.pair.name))


def _drifted(guards: Guards, shifts: Sequence[_Shift]) -> list[_Shift]:
    """Return those that are both far and no chance."""
    real = credible([shift.p_value for shift in shifts])
    return [
        shift
        for shift, is_real in zip(shifts, real, strict=True)
        if is_real and shift.distance >= guards.drift_distance
    ]


def _features(guards: Guards, part: str, shifts: Sequence[_Shift]) -> Finding:
    far = _drifted(guards, shifts)
    problems = (
        f"{len(far)} of {len(shifts)} features of the {part} are distributed otherwise than when "
        f"the champion was trained: {some([str(shift) for shift in far])}"
    )
    fine = f"{len(shifts)} features of the {part} are distributed as when the champion was trained"
    if shifts:
        fine += f"; the farthest is {shifts[0]}"
    numbers = _numbers(guards, part, shifts, far)
    return made("drift", guards.drift, problems if far else "", fine, numbers)


def _target(guards: Guards, part: str, shifts: Sequence[_Shift], lacking: str) -> Finding:
    if not shifts:
        why = f"the target of the {part} cannot be compared with the champion's"
        told = f"{why}: {lacking}" if lacking else why
        return unchecked("target_drift", guards.unchecked, told)
    told = f"the target {shifts[0]} of the {part} is distributed"
    far = _drifted(guards, shifts)
    problems = f"{told} otherwise than when the champion was trained" if far else ""
    fine = f"{told} as when the champion was trained"
    numbers = _numbers(guards, part, shifts, far)
    return made("target_drift", guards.target_drift, problems, fine, numbers)


def _numbers(guards: Guards, part: str, shifts: Sequence[_Shift], far: Sequence[_Shift]) -> Numbers:
    told = {f"distance: {shift.pair.name}": shift.distance for shift in shifts[:_TOLD]}
    limit = guards.drift_distance
    return {"part": part, "columns": len(shifts), "drifted": len(far), "limit": limit, **told}
