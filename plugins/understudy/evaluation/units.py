"""What counts as one piece of evidence: a row, or all rows of a group or of a block of time.

Or rows in the order of time, of which each may depend on those before it.

Also the rows of a window of time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from understudy.errors import listed, nearest
from understudy.evaluation.columns import MISSING, Codes, Column, Floats, Index
from understudy.evaluation.pairing import Pair
from understudy.evaluation.predictions import TIME, Predictions, taken
from understudy.spec.rules import AUTO

_SECOND: Final = 1_000_000
_MICROSECONDS: Final = {
    "s": _SECOND,
    "m": 60 * _SECOND,
    "h": 3600 * _SECOND,
    "D": 86_400 * _SECOND,
    "W": 7 * 86_400 * _SECOND,
}


FEWEST_TIMES: Final = 5
"""Different times below which nothing can be said of how rows depend on each other."""


@dataclass(frozen=True, eq=False)
class Units:
    """Which unit each row belongs to.

    Attributes:
        rows: How many rows there are.
        count: How many units.
        codes: The unit of each row, below ``count``; None where each row is one of its own.
        name: What they are, for a person; empty for rows.
        order: The place in time of each row, below the number of different times; None where the
            order does not count.
        day: The day of each row with an order, as a number.
    """

    rows: int
    count: int
    codes: Codes | None = None
    name: str = ""
    order: Codes | None = None
    day: Codes | None = None

    @classmethod
    def of_rows(cls, rows: int) -> Units:
        """Return units that are rows."""
        return cls(rows, rows)

    @classmethod
    def of_keys(cls, keys: Codes | Index, name: str) -> Units:
        """Return units that are rows with the same key, in the order of first appearance."""
        # A missing value has the code MISSING like any other key and is one unit, as the docstring
        # of units_of says.
        codes, found = pd.factorize(keys)
        return cls(len(keys), len(found), codes.astype(np.int32), name)

    @classmethod
    def of_times(cls, times: Codes | Index, day: Codes | Index) -> Units:
        """Return units that are rows in the order of time.

        Args:
            times: Numbers that grow with time.
            day: The day of each row.
        """
        _, order = np.unique(times, return_inverse=True)
        # In 32 bits: days from 1970 on; rows without a time have the day of the smallest number.
        days = np.unique(day, return_inverse=True)[1].astype(np.int32)
        return cls(len(times), len(times), order=order.astype(np.int32), day=days)

    @cached_property
    def times(self) -> int:
        """How many different times rows with an order have."""
        return 0 if self.order is None or not len(self.order) else int(self.order.max()) + 1

    @cached_property
    def days(self) -> int:
        """On how many days rows with an order are."""
        return 0 if self.day is None else len(np.unique(self.day))

    def take(self, rows: Index) -> Units:
        """Return the units of some rows; those without rows are gone."""
        if self.order is not None and self.day is not None:
            found = Units.of_times(self.order[rows], self.day[rows])
            return found if found.times >= FEWEST_TIMES else Units.of_rows(len(rows))
        if self.codes is None:
            return Units.of_rows(len(rows))
        return Units.of_keys(self.codes[rows], self.name)

    def in_time(self, limit: int) -> Units:
        """Return at most ``limit`` units, each of rows that follow each other in time.

        Units are in the order of time; rows of one time are in one of them.
        """
        if self.order is None:
            raise AssertionError(self)
        kept = min(self.times, limit)
        # 64 bits: place times limit exceeds 32 of them.
        codes = (self.order.astype(np.int64) * kept // self.times).astype(np.int32)
        return Units(self.rows, kept, codes, "stretch of time")

    def sums(self, values: Floats) -> Floats:
        """Return the sum over each unit's rows."""
        if self.codes is None:
            return values
        sums = np.bincount(self.codes, weights=values, minlength=self.count)
        return np.asarray(sums, dtype=np.float64)

    def merged(self, limit: int) -> Units:
        """Return at most ``limit`` units, each of neighbours, which are a random sample.

        Sums over random groups vary like sums over what is grouped (Wolter, "Introduction to
        Variance Estimation", 2007, chapter 2), and there are fewer of them.
        """
        if self.count <= limit:
            return self
        codes = np.arange(self.rows) if self.codes is None else self.codes
        # 64 bits: code times limit exceeds 32 of them.
        merged = (codes.astype(np.int64) * limit // self.count).astype(np.int32)
        return Units(self.rows, limit, merged, self.name)

    def expanded(self, times: Index) -> Index:
        """Return each row as often as ``times`` says of its unit, neighbours together."""
        each = times if self.codes is None else times[self.codes]
        return np.repeat(np.arange(self.rows), each)

    def touched(self, rows: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> int:
        """Return how many units have one or more of the marked rows."""
        if self.codes is None:
            return int(rows.sum())
        return len(np.unique(self.codes[rows]))


def units_of(pair: Pair, cluster: str, time_block: str) -> Units | str:
    """Return the units that the rules ask for, or why there are none.

    Args:
        pair: The rows.
        cluster: A column whose values are the units; rows without a value are one.
        time_block: Length of blocks of the column ``time``, such as ``1D``; the first one begins
            with the year 1970 (UTC). ``AUTO`` for the order of time, where rows have one.
    """
    if time_block == AUTO:
        return _ordered(pair) or Units.of_rows(len(pair))
    if not cluster and not time_block:
        return Units.of_rows(len(pair))
    column = pair.column(cluster or TIME)
    if column is None:
        there = sorted({*pair.challenger.source.others, *pair.challenger.fallback})
        name = cluster or TIME
        return (
            f"the predictions lack the column {name!r} to group by{nearest(name, there)}; "
            f"they have {listed(there)}"
        )
    if cluster:
        return Units.of_keys(column.as_names().data, cluster)
    times = times_of(column)
    if times is None:
        return f"the column {TIME!r} holds no times"
    block = int(time_block[:-1]) * _MICROSECONDS[time_block[-1]]
    # Division rounds down before 1970, too, so that no block is twice as long as the others.
    keys = times.astype("datetime64[us]").astype(np.int64) // block
    return Units.of_keys(keys, f"{time_block} block")


def _ordered(pair: Pair) -> Units | None:
    """Return units in the order of time; None where the rows have no or too few times."""
    column = pair.column(TIME)
    times = None if column is None else times_of(column)
    if times is None:
        return None
    # Rows without a time have the smallest number there is, and so one time before all others.
    numbers = times.astype("datetime64[us]").astype(np.int64)
    found = Units.of_times(numbers, times.astype("datetime64[D]").astype(np.int64))
    return found if found.times >= FEWEST_TIMES else None


def unnamed(pair: Pair, cluster: str, time_block: str) -> tuple[str, ...]:
    """Return a note where rows lack what ``units_of`` joins them by."""
    name = cluster or (TIME if time_block else "")
    column = pair.column(name) if name else None
    if column is None:
        return ()
    if time_block == AUTO and _ordered(pair) is None:
        few = f"fewer than {FEWEST_TIMES} different times in the column {name!r}"
        return (f"{few}: rows are taken as independent",)
    number = int((column.as_names().data == MISSING).sum())
    if not number:
        return ()
    return (f"{number} of {len(pair)} rows have no {name!r} and count as one piece of evidence",)


def times_of(column: Column) -> NDArray[np.datetime64] | None:
    """Return a column as UTC times, those without a zone taken for UTC; None where it has none."""
    if column.is_time:
        return column.data
    if column.names is None:
        return None
    try:
        known = pd.to_datetime(pd.Series([*column.names, None]), utc=True, format="ISO8601")
    except ValueError:
        return None
    times: NDArray[np.datetime64] = known.dt.tz_localize(None).to_numpy("datetime64[us]")
    return np.asarray(times[column.data])


def within(predictions: Predictions, after: str, until: str) -> Predictions:
    """Return the rows whose time lies after one moment and not after another.

    Where there are none, the predictions' problems say so and nothing can be compared. Rows without
    a time are in no span, which the notes say.

    Args:
        predictions: Of which the column ``time`` counts; a time without zone is taken for UTC.
        after: ISO 8601; rows of this very moment are not among them.
        until: ISO 8601; rows of this very moment are.
    """
    column = predictions.others.get(TIME)
    times = None if column is None else times_of(column)
    if times is None:
        why = f"the predictions lack a column {TIME!r} with the times of the rows"
        return replace(predictions, problems=(why,))
    inside = (times > _moment(after)) & (times <= _moment(until))
    if not inside.any():
        why = f"no row has a time after {after} and until {until}{_known(times)}"
        return replace(taken(predictions, np.flatnonzero(inside)), problems=(why,))
    found, untimed = taken(predictions, np.flatnonzero(inside)), int(np.isnat(times).sum())
    if not untimed:
        return found
    note = f"{untimed} of {len(times)} rows have no {TIME!r} and are left out"
    return replace(found, notes=(*found.notes, note))


def _moment(text: str) -> np.datetime64:
    moment = datetime.fromisoformat(text)
    # numpy's times have no zone; both sides of the comparison are UTC.
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return np.datetime64(aware.astimezone(UTC).replace(tzinfo=None), "us")


def _known(times: np.ndarray[tuple[int], np.dtype[np.datetime64]]) -> str:
    known = times[~np.isnat(times)]
    if not len(known):
        return "; none has a time"
    first, last = (np.datetime_as_string(end, unit="s") for end in (known.min(), known.max()))
    return f"; they are from {first} to {last} (UTC)"
