"""Columns of a predictions file as plain arrays, read batch by batch.

Text becomes a number per row and a list of names, so that ten million rows of it stay small.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Codes = NDArray[np.int32]
Index = NDArray[np.int64]

MISSING: Final = -1
"""Code of a row whose text is missing."""
MAX_NAMES: Final = 100_000
"""Different texts beyond which a column is taken for free text and left out, unless it is named."""


@dataclass(frozen=True, eq=False)
class Column:
    """One value per row.

    Attributes:
        data: float64 with NaN for missing; datetime64 in UTC with NaT, in nanoseconds, or in
            microseconds where one is too far away for these; or codes of ``names``.
        names: What the codes stand for, in the order of first appearance; None for numbers and
            times.
    """

    data: NDArray[Any]
    names: tuple[str, ...] | None = None

    @property
    def is_time(self) -> bool:
        """Whether these are times."""
        return bool(self.data.dtype.kind == "M")

    @property
    def is_number(self) -> bool:
        """Whether these are numbers."""
        return bool(self.data.dtype.kind == "f")

    def take(self, rows: Index | slice) -> Column:
        """Return the column of some rows; a slice is a view."""
        return replace(self, data=self.data[rows])

    def as_names(self) -> Column:
        """Return numbers and times as text, whole numbers without '.0': 3, 3.0 and '3' are '3'."""
        if self.names is not None:
            return self
        known, codes = np.unique(self.data, return_inverse=True)
        present = ~(np.isnat(known) if self.is_time else np.isnan(known))
        # 17 significant digits tell any two doubles apart.
        names = tuple(f"{v:.17g}" if isinstance(v, float) else str(v) for v in known[present])
        # What is missing is sorted last.
        return Column(np.where(codes < len(names), codes, MISSING).astype(np.int32), names)

    def to_pandas(self) -> pd.Series[Any]:
        """Return the column as pandas knows it."""
        if self.names is None:
            return pd.Series(self.data)
        # MISSING is -1 and so finds the None at the end.
        return pd.Series(np.array([*self.names, None], dtype=object)[self.data], dtype="str")


class Numbers:
    """Collects a column of numbers."""

    def __init__(self, rows: int) -> None:
        self._values = np.empty(rows)

    def add(self, start: int, part: pa.Array) -> None:
        """Put a batch in its place."""
        values = pc.cast(part, pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        self._values[start : start + len(values)] = values

    def column(self) -> Column:
        """Return what was collected."""
        return Column(self._values)


class Times:
    """Collects a column of dates or times, or of text in ISO 8601 that stands for them."""

    def __init__(self, rows: int) -> None:
        self._values: NDArray[np.datetime64] = np.empty(rows, dtype="datetime64[ns]")

    def add(self, start: int, part: pa.Array) -> None:
        """Put a batch in its place; a time without zone is taken for UTC."""
        try:
            instants = pc.cast(part, pa.timestamp("ns", _zone(part.type)))
        except pa.ArrowInvalid:
            # Nanoseconds reach to the year 2262 only; 9999-12-31 often stands for "no end".
            self._values = self._values.astype("datetime64[us]")
        if self._values.dtype == "datetime64[us]":
            instants = pc.cast(part, pa.timestamp("us", _zone(part.type)), safe=False)
        # The smallest integer is how numpy stores NaT.
        values = pc.cast(instants, pa.int64()).fill_null(np.iinfo(np.int64).min)
        self._values[start : start + len(values)] = values.to_numpy().view(self._values.dtype)

    def column(self) -> Column:
        """Return what was collected."""
        return Column(self._values)


def _zone(kind: pa.DataType) -> str | None:
    return "UTC" if pa.types.is_timestamp(kind) and kind.tz else None


class Texts:
    """Collects a column of names.

    Args:
        rows: How many rows there will be.
        limit: Different names beyond which the column is given up; None for no limit.
    """

    def __init__(self, rows: int, limit: int | None = None) -> None:
        self._codes: Codes = np.full(rows, MISSING, dtype=np.int32)
        self._known: dict[str, int] = {}
        self._limit, self._given_up = limit, False

    def add(self, start: int, part: pa.Array) -> None:
        """Put a batch in its place."""
        if self._given_up:
            return
        # Python looks at each different text of a batch once and never at the rows.
        encoded = part.dictionary_encode() if not pa.types.is_dictionary(part.type) else part
        names = pc.cast(encoded.dictionary, pa.string()).to_pylist()
        codes = [
            MISSING if n is None else self._known.setdefault(n, len(self._known)) for n in names
        ]
        self._given_up = self._limit is not None and len(self._known) > self._limit
        # A missing text takes the last place of the table, which holds MISSING.
        places = encoded.indices.fill_null(len(codes)).to_numpy(zero_copy_only=False)
        table = np.array([*codes, MISSING], dtype=np.int32)
        self._codes[start : start + len(part)] = table[places]

    def column(self) -> Column | None:
        """Return what was collected; None for free text."""
        return None if self._given_up else Column(self._codes, tuple(self._known))


class Hashes:
    """Collects 64-bit hashes of row ids, so that ids of any length take eight bytes.

    Two of ten million different ids collide with a probability of 3e-6 (birthday bound); such a
    collision looks like a duplicated row and holds the challenger. Whole numbers do not collide.
    """

    def __init__(self, rows: int) -> None:
        self.values: NDArray[np.uint64] = np.empty(rows, dtype=np.uint64)

    def add(self, start: int, part: pa.Array) -> None:
        """Put a batch in its place."""
        whole = pa.types.is_integer(part.type)
        # One type for each kind: the same id must have the same hash in both files, whatever width
        # the one or the other stored it in.
        plain = pc.cast(part, pa.int64() if whole else pa.string(), safe=False)
        hashed = pd.util.hash_array(plain.to_numpy(zero_copy_only=False), categorize=False)
        self.values[start : start + len(part)] = hashed


def hash_names(names: tuple[str, ...]) -> NDArray[np.uint64]:
    """Return one 64-bit hash per name."""
    return pd.util.hash_array(np.array(names, dtype=object), categorize=False)
