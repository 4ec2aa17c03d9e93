"""Whether columns and values are those that the champion was trained on.

Touches what it reads only. Distances and tests are SciPy's.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from scipy.special import rel_entr
from scipy.stats import chi2_contingency, false_discovery_control

from understudy.evaluation.guards.current_data import CurrentData, Numbers, made, some, unchecked
from understudy.evaluation.guards.profile import ColumnProfile, Counts, Profile
from understudy.evaluation.guards.table import RowTable, ValueKind
from understudy.gate.evidence import Finding
from understudy.spec.guards import OFF, Guards

ALPHA: Final = 0.01
"""The expected share of false alarms among the columns that count as changed."""
FEWEST_EXPECTED: Final = 5
"""Rows that a cell is expected to have for the chi-squared distribution to hold (Cochran, "Some
methods for strengthening the common chi-squared tests", Biometrics 10, 1954)."""


def distance(then: Counts, now: Counts) -> float:
    """Return the Jensen-Shannon distance of two distributions over the same cells.

    The square root of the Jensen-Shannon divergence in bits: 0 for the same distribution, 1 for two
    that have nothing in common (Endres and Schindelin, "A new metric for probability
    distributions", IEEE Trans. Inf. Theory 49, 2003).

    Args:
        then: Rows by cell; at least one.
        now: The same for other rows.

    Raises:
        ValueError: when either has no rows: nothing is not the same as nothing changed.
    """
    if not np.sum(then) or not np.sum(now):
        raise ValueError(f"{np.sum(then)} rows cannot be compared with {np.sum(now)}")
    shares = [np.asarray(counts, dtype="float64") / np.sum(counts) for counts in (then, now)]
    # Against the middle of both no cell is empty where the other has rows, so every term is
    # finite, which it is not in a Kullback-Leibler divergence or a population stability index.
    middle = np.mean(shares, axis=0)
    divergence = float(sum(rel_entr(share, middle).sum() for share in shares)) / 2 / np.log(2)
    # Rounding may leave -1e-17.
    return float(np.sqrt(min(max(divergence, 0.0), 1.0)))


def chance(then: Counts, now: Counts) -> float:
    """Return the p-value of the hypothesis that both are samples of one distribution.

    Pearson's chi-squared test of homogeneity; cells too rare for it are taken together. Rows count
    as independent: where days or customers hang together the value is too small, and where both
    hold the same rows it is too large. So it never decides alone.
    """
    # Yates' correction, which is for small tables of two by two, is left out: pooled cells have
    # enough rows.
    table = _pooled(np.vstack([then, now]).astype("float64"))
    if table.shape[1] < 2:  # noqa: PLR2004 -- one cell is always distributed alike
        return 1.0
    return float(chi2_contingency(table, correction=False).pvalue)


def credible(chances: Sequence[float]) -> list[bool]:
    """Return which of several changes are no chance, the number of those looked at considered.

    Benjamini and Yekutieli's procedure ("The control of the false discovery rate in multiple
    testing under dependency", Ann. Statist. 29, 2001), as columns depend on each other.
    """
    if not chances:
        return []
    # "by" is Benjamini and Yekutieli; "bh" would need independent columns.
    return [bool(p <= ALPHA) for p in false_discovery_control(chances, method="by")]


def _pooled(table: Counts | np.ndarray) -> np.ndarray:
    """Return a table of two rows whose cells are expected to have enough, the rare ones pooled."""
    table = table[:, table.sum(axis=0) > 0]
    share = table.sum(axis=1, keepdims=True) / max(table.sum(), 1.0)
    rare = (share * table.sum(axis=0)).min(axis=0) < FEWEST_EXPECTED
    pooled = table[:, rare].sum(axis=1, keepdims=True)
    return np.hstack([table[:, ~rare], pooled]) if rare.any() else table


@dataclass(frozen=True, slots=True)
class ColumnPair:
    """One column of one part.

    Attributes:
        part: The part of the current rows.
        name: The column.
        then: How it was distributed among the champion's training rows.
        now: How it is distributed in this part, in the same bins or levels.
    """

    part: str
    name: str
    then: ColumnProfile
    now: ColumnProfile


def wanted(then: Profile) -> tuple[str, ...]:
    """Return the columns that a champion needed: all, where it is not known which."""
    needed = tuple(name for name in (*then.features, then.target) if name)
    return needed if then.features else tuple(then.columns)


def pairs(current: CurrentData, then: Profile) -> tuple[ColumnPair, ...]:
    """Return the columns that both have and that hold the same kind of values, or none now.

    They are those that the champion needed, and what is a feature or the target now.
    """
    roles = current.roles
    names = dict.fromkeys((*wanted(then), *current.features, *filter(None, (roles.target,))))
    return tuple(
        ColumnPair(part, name, then.columns[name], then.columns[name].like(table.column(name)))
        for part, table in current.parts
        for name in names
        if name in then.columns and _is_alike(then.columns[name], table, name)
    )


def _is_alike(then: ColumnProfile, table: RowTable, name: str) -> bool:
    """Return whether a column holds what it held; one without values is of any kind."""
    return (
        table.kinds.get(name) in {then.kind, ValueKind.EMPTY} and then.kind is not ValueKind.EMPTY
    )


def incomparable(before: ColumnProfile, pair: ColumnPair | None, kind: ValueKind) -> str:
    """Return why a column's distribution cannot be compared with the champion's; '' if it can.

    Args:
        before: The column among the champion's training rows.
        pair: Both beside each other; None where they do not hold the same.
        kind: What the column holds now.
    """
    if before.kind is ValueKind.EMPTY or before.missing == before.rows:
        return "it had no values when the champion was trained"
    if pair is None:
        return f"it holds {kind}, then {before.kind}"
    if not before.counts:
        return f"values of the kind {before.kind.value!r} have no distribution here"
    if len(before.counts) == 1:
        return "no value was frequent enough to be kept when the champion was trained"
    return "" if pair.now.compares else "it has no values tonight"


Split = tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Rise:
    """How the share of a column's values that are missing, or are new texts, has risen.

    Attributes:
        pair: The column.
        then, now: How many are such values, and how many are not.
    """

    pair: ColumnPair
    then: Split
    now: Split

    @property
    def shares(self) -> tuple[float, float]:
        """Then and now."""
        (then, other_then), (now, other_now) = self.then, self.now
        return then / max(then + other_then, 1), now / max(now + other_now, 1)

    @property
    def p_value(self) -> float:
        """Of the hypothesis that the rise is chance."""
        return chance(np.array(self.then), np.array(self.now))

    def __str__(self) -> str:
        then, now = self.shares
        return f"{self.pair.name!r} of the {self.pair.part} {now:.1%}, then {then:.1%}"


def schema_findings(
    guards: Guards, current: CurrentData, then: Profile, pairs: Sequence[ColumnPair]
) -> Iterator[Finding]:
    """Yield whether columns are gone, hold something else, lack more values, have new texts."""
    if guards.schema != OFF:
        yield _schema(guards, current, then, pairs)
    if guards.categories != OFF:
        texts = [pair for pair in pairs if pair.then.kind is ValueKind.TEXT]
        new = _risen(texts, _unlisted, guards.new_categories)
        named = some(list(map(str, new)))
        problems = f"texts that the champion was not trained on: {named}" if new else ""
        fine = "texts are those that the champion was trained on"
        yield made("categories", guards.categories, problems, fine, _schema_numbers(texts, new))


def _schema(
    guards: Guards, current: CurrentData, then: Profile, pairs: Sequence[ColumnPair]
) -> Finding:
    gone = [name for name in wanted(then) if name not in current.train.kinds]
    other = _otherwise(current, then)
    missing = _risen(
        pairs, lambda column: (column.missing, column.rows - column.missing), guards.missing_rise
    )
    new = [name for name in current.train.content if name not in then.columns]
    fine = "the columns are those that the champion was trained on"
    problems = {
        "columns that the champion was trained on are gone": list(map(repr, gone)),
        "columns hold something else than when the champion was trained": other,
        "values are missing more often": list(map(str, missing)),
    }
    return made(
        "schema",
        guards.schema,
        "; ".join(f"{what}: {some(names)}" for what, names in problems.items() if names),
        fine + (f", and new: {some(list(map(repr, new)))}" if new else ""),
        {
            **_schema_numbers(pairs, missing),
            "gone": len(gone),
            "other": len(other),
            "new": len(new),
        },
    )


def _otherwise(current: CurrentData, then: Profile) -> list[str]:
    """Return the columns that hold another kind of values; one without any value fits all."""
    kinds = {
        name: (then.columns[name].kind, table.kinds.get(name, ValueKind.EMPTY))
        for _, table in current.parts
        for name in wanted(then)
        if name in then.columns
    }
    return [
        f"{name!r} ({now}, then {before})"
        for name, (before, now) in kinds.items()
        # A column without any value may be read as of any type, depending on who wrote the file.
        if before is not now and ValueKind.EMPTY not in {before, now}
    ]


def _risen(
    pairs: Sequence[ColumnPair], counted: Callable[[ColumnProfile], Split], allowed: float
) -> list[_Rise]:
    """Return the columns in which the share of counted values has risen, credibly and too far."""
    rises = [_Rise(pair, counted(pair.then), counted(pair.now)) for pair in pairs]
    # Credible and large enough, both: with a million rows the least change is credible, with fifty
    # a large one may be chance.
    real = credible([rise.p_value for rise in rises])
    return [
        rise
        for rise, is_real in zip(rises, real, strict=True)
        if is_real and rise.shares[1] - rise.shares[0] > allowed
    ]


def _unlisted(column: ColumnProfile) -> Split:
    return (column.counts[-1], sum(column.counts[:-1])) if column.counts else (0, 0)


def _schema_numbers(pairs: Sequence[ColumnPair], risen: list[_Rise]) -> Numbers:
    columns = len({pair.name for pair in pairs})
    shares = {f"{one.pair.part}: {one.pair.name}": one.shares[1] for one in risen}
    return {"columns": columns, **shares}


_MOST_DISTANCES: Final = 10
"""Columns whose distance a finding gives, the farthest first."""
_MOST_REASONS: Final = 50
"""Columns of which a finding gives the reason why they are not compared."""


@dataclass(frozen=True, slots=True)
class _Shift:
    """How far a column's values are from those that the champion was trained on."""

    pair: ColumnPair
    distance: float
    p_value: float

    @classmethod
    def of(cls, pair: ColumnPair) -> _Shift:
        then, now = np.array(pair.then.counts), np.array(pair.now.counts)
        return cls(pair, distance(then, now), chance(then, now))

    def __str__(self) -> str:
        then, now = self.pair.then.mean, self.pair.now.mean
        means = "" if then is None or now is None else f", mean {now:.4g} after {then:.4g}"
        return f"{self.pair.name!r} (distance {self.distance:.2f}{means})"


def drift_findings(
    guards: Guards, current: CurrentData, then: Profile, pairs: Sequence[ColumnPair]
) -> Iterator[Finding]:
    """Yield the drift of the features, and of the target, in both parts.

    Every column is compared, or a finding gives the reason why it is not.

    Args:
        guards: The guards' settings.
        current: The rows.
        then: The champion's training rows.
        pairs: The current columns beside the champion's.
    """
    features, target = current.features, current.roles.target or then.target
    for part, table in current.parts:
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
    pairs: Sequence[ColumnPair], then: Profile, part: tuple[str, RowTable], names: Sequence[str]
) -> dict[str, str]:
    """Return the columns of a part that cannot be compared, and why.

    New and missing columns are findings of the guard ``schema``.
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
    reasons = some([f"{name!r}: {why}" for name, why in lacking.items()])
    message = f"{len(lacking)} features of the {part} cannot be compared: {reasons}"
    numbers: Numbers = {"part": part, "columns": len(lacking)}
    numbers |= {f"not compared: {name}": why for name, why in list(lacking.items())[:_MOST_REASONS]}
    return replace(unchecked("drift", guards.unchecked, message), numbers=numbers)


def _shifts(pairs: Sequence[ColumnPair], part: str, names: Collection[str]) -> list[_Shift]:
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
        # As in ``_risen``: credible and far, both.
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
    numbers = _drift_numbers(guards, part, shifts, far)
    return made("drift", guards.drift, problems if far else "", fine, numbers)


def _target(guards: Guards, part: str, shifts: Sequence[_Shift], lacking: str) -> Finding:
    if not shifts:
        why = f"the target of the {part} cannot be compared with the champion's"
        message = f"{why}: {lacking}" if lacking else why
        return unchecked("target_drift", guards.unchecked, message)
    subject = f"the target {shifts[0]} of the {part} is distributed"
    far = _drifted(guards, shifts)
    problems = f"{subject} otherwise than when the champion was trained" if far else ""
    fine = f"{subject} as when the champion was trained"
    numbers = _drift_numbers(guards, part, shifts, far)
    return made("target_drift", guards.target_drift, problems, fine, numbers)


def _drift_numbers(
    guards: Guards, part: str, shifts: Sequence[_Shift], far: Sequence[_Shift]
) -> Numbers:
    farthest = {f"distance: {one.pair.name}": one.distance for one in shifts[:_MOST_DISTANCES]}
    limit = guards.drift_distance
    return {"part": part, "columns": len(shifts), "drifted": len(far), "limit": limit, **farthest}
