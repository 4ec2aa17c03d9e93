"""Groups of rows in which the same rules hold: the values of a column, or its quantiles."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from understudy.evaluation.columns import MISSING, Codes, Column, Floats, Index
from understudy.evaluation.pairing import Pair
from understudy.spec.rules import Slice

MOST_GROUPS: Final = 100
_SHOWN: Final = 60  # characters of a value that the name of a group repeats


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
    """The groups that are judged, and what is to be said about the others."""

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


def cut(pair: Pair, wanted: Slice) -> Cut:
    """Return the groups that a slice stands for.

    A group with fewer rows than the slice asks for is not judged but named. A column that is not
    there, has no group of that size, or too many groups, gives one group without rows, whose name
    says so: a named slice that cannot be judged is a failure.
    """
    column = pair.column(wanted.column)
    if column is None:
        return Cut((_nobody(f"{wanted.column} (no such column)"),))
    if wanted.quantiles is not None and not column.is_number:
        return Cut((_nobody(f"{wanted.column} (no numbers to cut into quantiles)"),))
    parts = parts_of(wanted.column, column, wanted.quantiles)
    every = list(parts.groups())
    if len(every) > MOST_GROUPS:
        return Cut((_nobody(f"{wanted.column} ({len(every)} groups, more than {MOST_GROUPS})"),))
    judged = tuple(group for group in every if len(group.rows) >= wanted.min_rows)
    if not judged:
        return Cut((_nobody(f"{wanted.column} (no group of {wanted.min_rows} rows)"),))
    return Cut(judged, tuple(_too_small(every, wanted)))


def _nobody(name: str) -> Group:
    return Group(name, np.empty(0, dtype=np.int64))


def _too_small(every: list[Group], wanted: Slice) -> Iterator[str]:
    small = [group for group in every if len(group.rows) < wanted.min_rows]
    if small:
        named = ", ".join(f"{group.name} ({len(group.rows)})" for group in small[:5])
        more = f" and {len(small) - 5} more" if len(small) > 5 else ""  # noqa: PLR2004
        yield f"slices with fewer than {wanted.min_rows} rows are not judged: {named}{more}"


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
    names = [f"{name}={_short(texts[code])}" for code in order]
    return Parts(place[named.data], (*names, _missing(name)))


def _by_quantiles(name: str, values: Floats, quantiles: int) -> Parts:
    known = values[np.isfinite(values)]
    if not len(known):
        return Parts(np.zeros(len(values), dtype=np.int32), (_missing(name),))
    edges = np.unique(np.quantile(known, np.linspace(0, 1, quantiles + 1)))
    inner = edges[1:-1]
    codes = np.searchsorted(inner, values, side="right").astype(np.int32)
    codes[~np.isfinite(values)] = len(inner) + 1
    bounds = list(pairwise(edges)) or [(edges[0], edges[0])]
    names = [f"{name} in [{low:.6g}, {high:.6g})" for low, high in bounds]
    names[-1] = f"{names[-1][:-1]}]"
    return Parts(codes, (*names, _missing(name)))


def _missing(name: str) -> str:
    return f"{name} is missing"


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
