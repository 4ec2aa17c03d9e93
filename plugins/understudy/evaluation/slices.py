"""Groups of rows in which the same rules hold, and a search for those that are served worst."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import combinations, pairwise
from typing import Final

import numpy as np
from scipy import special

from understudy.evaluation import means
from understudy.evaluation.columns import MISSING, Codes, Column, Floats, Index
from understudy.evaluation.means import Shape
from understudy.evaluation.metrics import Definition, Input
from understudy.evaluation.pairing import Pair
from understudy.evaluation.units import Units
from understudy.gate.evidence import WORST_SLICES, Finding
from understudy.gate.verdict import CheckResult
from understudy.spec.rules import Slice

MOST_GROUPS: Final = 100
_SHOWN: Final = 60
"""Characters of a value that the name of a group repeats."""


@dataclass(frozen=True, eq=False)
class Group:
    """Some rows.

    Attributes:
        name: Such as ``region=north`` or ``age in [18, 35)``.
        rows: Which ones, sorted; none for a group that the rules name and the data lacks.
    """

    name: str
    rows: Index


@dataclass(frozen=True)
class Cut:
    """The groups that are judged, and notes on the others."""

    groups: tuple[Group, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Parts:
    """A column in parts.

    Attributes:
        codes: The part of each row.
        names: Of the parts, as a condition on the column; a missing value is the last one.
    """

    codes: Codes
    names: tuple[str, ...]

    def groups(self) -> Iterator[Group]:
        """Yield the rows of each part that has any."""
        order = np.argsort(self.codes, kind="stable")
        bounds = np.searchsorted(self.codes[order], np.arange(len(self.names) + 1))
        for name, (start, end) in zip(self.names, pairwise(bounds), strict=True):
            if end > start:
                yield Group(name, order[start:end])


def cut(pair: Pair, requested: Slice) -> Cut:
    """Return the groups that a slice stands for.

    A group with fewer rows than the slice asks for is not judged but named. A column that is not
    there, has no group of that size, or too many groups, gives one group without rows, whose name
    says so: a named slice that cannot be judged is a failure.
    """
    column = pair.column(requested.column)
    if column is None:
        return Cut((_nobody(f"{requested.column} (no such column)"),))
    if requested.quantiles is not None and not column.is_number:
        return Cut((_nobody(f"{requested.column} (no numbers to cut into quantiles)"),))
    parts = parts_of(requested.column, column, requested.quantiles)
    every = list(parts.groups())
    # Such a column names rows rather than groups; each group would be one more comparison to pay
    # for.
    if len(every) > MOST_GROUPS:
        return Cut((_nobody(f"{requested.column} ({len(every)} groups, more than {MOST_GROUPS})"),))
    judged = tuple(group for group in every if len(group.rows) >= requested.min_rows)
    if not judged:
        return Cut((_nobody(f"{requested.column} (no group of {requested.min_rows} rows)"),))
    return Cut(judged, tuple(_too_small(every, requested)))


def _nobody(name: str) -> Group:
    return Group(name, np.empty(0, dtype=np.int64))


def _too_small(every: list[Group], requested: Slice) -> Iterator[str]:
    small = [group for group in every if len(group.rows) < requested.min_rows]
    if small:
        named = ", ".join(f"{group.name} ({len(group.rows)})" for group in small[:5])
        more = f" and {len(small) - 5} more" if len(small) > 5 else ""  # noqa: PLR2004
        yield f"slices with fewer than {requested.min_rows} rows are not judged: {named}{more}"


def parts_of(name: str, column: Column, quantiles: int | None) -> Parts:
    """Return a column in parts: by value, or by quantiles of its numbers."""
    if quantiles is not None:
        return _by_quantiles(name, column.data, quantiles)
    named = column.as_names()
    texts = named.names or ()
    order = sorted(range(len(texts)), key=lambda code: texts[code])
    place = np.empty(len(texts) + 1, dtype=np.int32)
    place[order] = np.arange(len(texts))
    place[MISSING] = len(texts)
    shown = [t if len(t) <= _SHOWN else f"{t[:_SHOWN]}..." for t in texts]
    names = [f"{name}={shown[code]}" for code in order]
    return Parts(place[named.data], (*names, _missing(name)))


def _by_quantiles(name: str, values: Floats, quantiles: int) -> Parts:
    known = values[np.isfinite(values)]
    if not len(known):
        return Parts(np.zeros(len(values), dtype=np.int32), (_missing(name),))
    # Where many values are equal several quantiles are one edge, so there may be fewer parts.
    edges = np.unique(np.quantile(known, np.linspace(0, 1, quantiles + 1)))
    inner = edges[1:-1]
    codes = np.searchsorted(inner, values, side="right").astype(np.int32)
    # A missing value sorts last and would land in the highest part.
    codes[~np.isfinite(values)] = len(inner) + 1
    bounds = list(pairwise(edges)) or [(edges[0], edges[0])]
    names = [f"{name} in [{low:.6g}, {high:.6g})" for low, high in bounds]
    names[-1] = f"{names[-1][:-1]}]"
    return Parts(codes, (*names, _missing(name)))


def _missing(name: str) -> str:
    return f"{name} is missing"


BEAM: Final = 8
QUANTILES: Final = 4
MOST_PARTS: Final = 24
"""Parts of a column of text beyond which it is not searched."""
MIN_ROWS: Final = 50
MIN_UNITS: Final = 10
MOST_ROWS: Final = 1_000_000
"""Rows that are searched; of more, so many random ones."""
SHOWN: Final = 5
ALPHA: Final = 0.05
_MOST_UNITS: Final = 2000
_ALMOST_ALL: Final = 0.95


@dataclass(frozen=True, eq=False)
class RowGains:
    """How much better the challenger is on each row, and what is independent.

    Attributes:
        values: One per row, times its weight; positive is better.
        weight: One per row.
        units: What is independent.
    """

    values: Floats
    weight: Floats
    units: Units

    def take(self, rows: Index) -> RowGains:
        """Return those of some rows."""
        return RowGains(self.values[rows], self.weight[rows], self.units.take(rows))


# All parts of single columns are looked at, then the worst ``BEAM`` of them together with each part
# of each other column: a beam search as in Sagadeeva and Boehm, "SliceLine" (SIGMOD 2021), two
# levels deep. Whatever was looked at or could have been is paid for: p-values are multiplied by the
# number of all such groups (Bonferroni), so that a search through many columns does not always find
# one.
@dataclass(frozen=True, slots=True)
class Suspect:
    """A group of rows.

    Attributes:
        where: Its conditions: columns with the codes of their parts, sorted.
        name: The same for a person.
        rows: How many rows it has.
        gain: Mean gain; below zero where the challenger is worse.
        p_value: One-sided, of the hypothesis that the challenger is no worse there; uncorrected.
    """

    where: tuple[tuple[str, int], ...]
    name: str
    rows: int
    gain: float
    p_value: float


def gains_of(pair: Pair, units: Units, definition: Definition, sign: float) -> RowGains | None:
    """Return the gain per row in a metric, or in the loss per row that is nearest to it.

    Args:
        pair: Both models.
        units: What is independent.
        definition: The metric.
        sign: 1 where more of it is better, -1 where less is.

    Returns:
        None where there is no champion, or a prediction is missing or not finite.
    """
    champion, made = pair.champion, definition.means
    if champion is None:
        return None
    # A group is tested by a mean over its rows. For a metric that is none the search takes the
    # loss that is nearest to it: it points at groups, and decides nothing.
    if made is None or made.shape is Shape.SMOOTH:
        made, sign = _NEAREST[definition.reads if pair.challenger.labels else Input.NUMBERS]
    challenger_rows, champion_rows = (
        next(made.per_row(pair.challenger)),
        next(made.per_row(champion)),
    )
    weight = np.ones(len(pair)) if champion.weight is None else champion.weight
    values = sign * (challenger_rows - champion_rows) * weight
    return RowGains(values, weight, units) if np.isfinite(values).all() else None


_NEAREST: Final = {
    Input.NUMBERS: (means.MSE, -1.0),
    Input.CLASSES: (means.ACCURACY, 1.0),
    Input.PROBABILITIES: (means.LOG_LOSS, -1.0),
    Input.FRAME: (means.ACCURACY, 1.0),
}


def search(pair: Pair, gains: RowGains, leave_out: Collection[str]) -> Finding | None:
    """Return what was found; None where no column can be searched.

    Args:
        pair: The rows.
        gains: How much better the challenger is on each of them.
        leave_out: Columns that say which rows belong together, not what they are.
    """
    if len(pair) > MOST_ROWS:
        # The first rows are a random sample of all: they are in the order of a hash of their ids.
        sample = slice(0, MOST_ROWS)
        pair, gains = pair.take(sample), gains.take(np.arange(MOST_ROWS))
    columns = dict(_searchable(pair, leave_out))
    if not columns:
        return None
    singles = list(_parts_of_each(columns, gains))
    seeds = sorted(singles, key=_badness)[:BEAM]
    pairs = [found for seed in seeds for found in _narrowed(columns, gains, seed)]
    # Two seeds lead to the same pair.
    unique = {one.where: one for one in [*singles, *pairs]}
    worst = sorted(unique.values(), key=_badness)[:SHOWN]
    sizes = [len(np.unique(parts.codes)) for parts in columns.values()]
    candidates = sum(sizes) + sum(one * two for one, two in combinations(sizes, 2))
    return _finding(worst, candidates)


def _badness(suspect: Suspect) -> tuple[float, float]:
    return suspect.p_value, suspect.gain


def _searchable(pair: Pair, leave_out: Collection[str]) -> Iterator[tuple[str, Parts]]:
    others = {**pair.challenger.fallback, **pair.challenger.source.others}
    for name in sorted(others.keys() - set(leave_out)):
        column = others[name]
        if column.is_time or (column.names is not None and len(column.names) > MOST_PARTS):
            continue
        # Numbers with few different values, such as a count of children, are parts by themselves.
        many = column.is_number and len(np.unique(column.data)) > QUANTILES * 2
        parts = parts_of(name, column, QUANTILES if many else None)
        if len(np.unique(parts.codes)) > 1:
            yield name, parts


def _parts_of_each(columns: Mapping[str, Parts], gains: RowGains) -> Iterator[Suspect]:
    for name, parts in columns.items():
        yield from _parts(name, parts, gains)


def _narrowed(columns: Mapping[str, Parts], gains: RowGains, seed: Suspect) -> Iterator[Suspect]:
    """Yield the parts of a group by every other column; none that is almost all of it."""
    ((column, part),) = seed.where
    rows = np.flatnonzero(columns[column].codes == part)
    if len(rows) < 2 * MIN_ROWS:
        return
    # Codes of the group's rows only; names stay, so that a condition is called the same
    # everywhere.
    rest = {
        name: Parts(parts.codes[rows], parts.names)
        for name, parts in columns.items()
        if name != column
    }
    for found in _parts_of_each(rest, gains.take(rows)):
        if found.rows < _ALMOST_ALL * len(rows):
            both = sorted([(seed.where, seed.name), (found.where, found.name)])
            where = tuple(condition for one, _ in both for condition in one)
            yield replace(found, where=where, name=" and ".join(name for _, name in both))


def _parts(name: str, parts: Parts, gains: RowGains) -> Iterator[Suspect]:
    """Yield the parts of a column that have enough rows, each with its mean and p-value.

    As in ``t_test.spread``, the jackknife leaves one unit out at a time.
    """
    units = gains.units.merged(_MOST_UNITS)
    codes = np.arange(units.rows) if units.codes is None else units.codes
    # One count over cells of part and unit in the place of a loop over parts.
    cells = parts.codes.astype(np.int64) * units.count + codes
    shape = len(parts.names), units.count
    sums, weights = (
        np.bincount(cells, weights=values, minlength=shape[0] * shape[1]).reshape(shape)
        for values in (gains.values, gains.weight)
    )
    counts = np.bincount(parts.codes, minlength=shape[0])
    for part in np.flatnonzero(counts >= MIN_ROWS).tolist():
        here = weights[part] > 0
        if here.sum() >= MIN_UNITS:
            mean, p_value = _tested(sums[part][here], weights[part][here])
            where = ((name, part),)
            yield Suspect(where, parts.names[part], int(counts[part]), mean, p_value)


def _tested(sums: Floats, weights: Floats) -> tuple[float, float]:
    total, units = float(weights.sum()), len(sums)
    mean = float(sums.sum()) / total
    changes = (sums - mean * weights) / (total - weights)
    error = float((units - 1) / units * (changes @ changes)) ** 0.5
    # Without any spread there is no test; such a group is never called worse.
    if error == 0:
        return mean, 1.0
    return mean, float(special.stdtr(units - 1, mean / error))


def _finding(worst: list[Suspect], candidates: int) -> Finding:
    corrected = [min(1.0, one.p_value * candidates) for one in worst]
    # Bonferroni over all candidates, of which only the worst few are left here.
    guilty = [one for one, p in zip(worst, corrected, strict=True) if p <= ALPHA and one.gain < 0]
    numbers: dict[str, float | str | None] = {"searched": candidates}
    for place, (one, p_value) in enumerate(zip(worst, corrected, strict=True), 1):
        numbers |= {
            f"slice_{place}": one.name,
            f"rows_{place}": one.rows,
            f"gain_{place}": one.gain,
            f"p_value_{place}": p_value,
        }
    result, reason = CheckResult.PASSED, "none is served worse than chance explains"
    if guilty:
        clearest = guilty[0]
        result = CheckResult.FAILED
        reason = (
            f"{len(guilty)} or more are served worse; the clearest is {clearest.name} "
            f"({clearest.rows} rows, gain {clearest.gain:.4g} per row)"
        )
    reason = f"of {candidates} groups of rows that were searched, {reason}"
    return Finding(WORST_SLICES, "warn", result.value, reason, numbers)
