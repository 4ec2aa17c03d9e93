"""Whether values are distributed as when the champion was trained. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from understudy.gate.evidence import Finding
from understudy.gate.guards import OFF, Guards
from understudy.guards.distances import chance, credible, distance
from understudy.guards.pairs import Pair
from understudy.guards.tonight import HOLDOUT, TRAINING, Numbers, made, some, unchecked

_TOLD: Final = 10
"""Columns whose distance a finding tells, the farthest first."""


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
    guards: Guards, pairs: Sequence[Pair], features: Collection[str], target: str
) -> Iterator[Finding]:
    """Yield what is to be said about the features, and about the target, of both parts.

    Args:
        guards: What is asked.
        pairs: Tonight's columns beside the champion's.
        features: Columns that the challenger takes.
        target: The column to predict; '' where it is not known.
    """
    if guards.drift != OFF:
        for part in (TRAINING, HOLDOUT):
            yield _features(guards, part, _shifts(pairs, part, features), len(features))
    if guards.target_drift != OFF:
        for part in (TRAINING, HOLDOUT):
            yield _target(guards, part, _shifts(pairs, part, {target}))


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


def _features(guards: Guards, part: str, shifts: Sequence[_Shift], wanted: int) -> Finding:
    far = _drifted(guards, shifts)
    problems = (
        f"{len(far)} of {len(shifts)} features of the {part} are distributed otherwise than when "
        f"the champion was trained: {some([str(shift) for shift in far])}"
    )
    fine = f"{len(shifts)} features of the {part} are distributed as when the champion was trained"
    if shifts:
        fine += f"; the farthest is {shifts[0]}"
    if wanted > len(shifts):
        fine += f"; {wanted - len(shifts)} cannot be compared"
    numbers = _numbers(guards, part, shifts, far)
    return made("drift", guards.drift, problems if far else "", fine, numbers)


def _target(guards: Guards, part: str, shifts: Sequence[_Shift]) -> Finding:
    if not shifts:
        why = f"the target of the {part} cannot be compared with the champion's"
        return unchecked("target_drift", guards.unchecked, why)
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
