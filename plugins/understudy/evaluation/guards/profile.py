"""What there is to know about the rows that a model was trained on, small enough to keep for ever.

A night stores the profile of its training rows beside its record. Later nights compare with that of
the night that trained the champion, whose rows themselves may be gone by then.
"""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import numpy as np
import pandas as pd

from understudy.errors import DecisionError
from understudy.evaluation.guards.current_data import Roles
from understudy.evaluation.guards.table import Digests, RowTable, ValueKind

ALL: Final = 2**64
STORED: Final = 8192
"""Digests of a sketch that is stored: 87 KB of text, and a share known to within some per cent."""
KEPT: Final = 1_000_000
"""Digests of one that is used at once: all rows', where these are no more."""


# A bottom-k sketch (Cohen and Kaplan, "Summarizing data using bottom-k sketches", PODC 2007): of
# all rows it keeps the ``size`` smallest digests. Whether a row whose digest is below the largest
# kept is among the table's rows can then be told exactly, and such rows are a random sample of any
# other table's, because the digest of a row has nothing to do with what is in it.
@dataclass(frozen=True, slots=True, eq=False)
class Sketch:
    """The smallest digests of a table's rows.

    Attributes:
        limit: Every digest below this is among ``digests``; 2**64 where all are.
        digests: Sorted, each once.
        repeated: The share of the table's rows that have a twin in it.
    """

    limit: int
    digests: Digests
    repeated: float

    @classmethod
    def of(cls, batches: Iterable[Digests], size: int = KEPT) -> Sketch:
        """Return the sketch of a table; of its digests some three times ``size`` are in memory."""
        kept, counts, limit = _NONE, np.array([], dtype="int64"), ALL
        waiting: list[Digests] = []
        for batch in batches:
            # 2**64 itself is no uint64, so "all" is a case of its own.
            waiting.append(batch if limit == ALL else batch[batch < np.uint64(limit)])
            if sum(map(len, waiting)) >= size:
                kept, counts, limit = _merged((kept, counts, limit), waiting, size)
                waiting = []
        kept, counts, limit = _merged((kept, counts, limit), waiting, size)
        seen = int(counts.sum())
        return cls(limit, kept, int(counts[counts > 1].sum()) / seen if seen else 0.0)

    def smaller(self, size: int = STORED) -> Sketch:
        """Return a sketch of fewer digests."""
        if len(self.digests) <= size:
            return self
        return Sketch(int(self.digests[size]), self.digests[:size], self.repeated)

    def found(self, digests: Digests) -> tuple[int, int]:
        """Return how many digests are among the table's, and of how many that can be told."""
        if self.limit != ALL:
            digests = digests[digests < np.uint64(self.limit)]
        return int(np.isin(digests, self.digests).sum()), len(digests)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        text = base64.b64encode(self.digests.astype("<u8").tobytes()).decode("ascii")
        return {"limit": str(self.limit), "digests": text, "repeated": self.repeated}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Sketch:
        """Return the sketch whose ``to_dict`` gave ``stored``."""
        # Little-endian in the file, as in memory on most machines and not on all.
        digests = np.frombuffer(base64.b64decode(stored["digests"]), dtype="<u8")
        return cls(int(stored["limit"]), digests.astype("uint64"), float(stored["repeated"]))


_NONE: Final = np.array([], dtype="uint64")


def hash_version() -> str:
    """Return what tells one way of making digests from another, such as a later pandas'."""
    # pandas does not promise that its hash stays the same: two values tell whether it did.
    probe = pd.DataFrame({"number": [1.5, np.nan], "text": ["understudy", None]})
    digests = pd.util.hash_pandas_object(probe, index=False).to_numpy(dtype="uint64")
    return "-".join(f"{int(digest):016x}" for digest in digests)


def _merged(
    known: tuple[Digests, Counts, int], waiting: Sequence[Digests], size: int
) -> tuple[Digests, Counts, int]:
    """Return digests, how often each was seen, and the limit, with what waited among them."""
    digests, counts, limit = known
    new, new_counts = np.unique(np.concatenate([_NONE, *waiting]), return_counts=True)
    merged, places = np.unique(np.concatenate([digests, new]), return_inverse=True)
    seen = np.bincount(places, np.concatenate([counts, new_counts]), len(merged)).astype("int64")
    # The smallest that does not fit is the new limit: all digests below it are known.
    if len(merged) > size:
        return merged[:size], seen[:size], int(merged[size])
    return merged, seen, limit


SCHEMA: Final = "understudy/profile/1"
BINS: Final = 20
"""Bins of a column of numbers, each with as many of the profiled rows. Two more lie outside."""
ROWS_PER_BIN: Final = 20
LEVELS: Final = 50
"""Values of a column that are counted one by one, the most frequent; the others together."""
LEAST_ROWS: Final = 5
"""A value that fewer rows have is not named: it may be a person's."""
FEW_NUMBERS: Final = 30
"""A column of no more different numbers is compared value by value, such as one of hours."""
LISTED: Final = 0.95
"""The share of a column of text that its levels must have to be counted where they were chosen."""
_LONGEST_TEXT: Final = 80

Counts = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True, slots=True)
class ColumnProfile:
    """How the values of one column are distributed.

    Attributes:
        kind: What they are.
        rows: How many values there are, the missing ones included.
        missing: How many are missing or infinite.
        edges: Of the bins of numbers, in the column's unit; the last bin includes its upper edge.
            Empty where values are counted one by one.
        levels: The values that are counted one by one, as text.
        counts: By bin with the two outside of all edges first and last; or by level, those that
            are none of ``levels`` last. Of many different texts about half the rows are counted,
            see ``_of_texts``. Empty for what is not compared: times, lists.
        mean: Of numbers, in their unit; None for others.
        deviation: Their standard deviation.
    """

    kind: ValueKind
    rows: int
    missing: int
    edges: tuple[float, ...] = ()
    levels: tuple[str, ...] = ()
    counts: tuple[int, ...] = ()
    mean: float | None = None
    deviation: float | None = None

    @classmethod
    def of(cls, values: pd.Series[Any], kind: ValueKind) -> ColumnProfile:
        """Return the distribution of a column's values."""
        known = values.dropna()
        bare = cls(kind, len(values), len(values) - len(known))
        if kind is ValueKind.TEXT:
            return _of_texts(bare, known)
        if kind is not ValueKind.NUMBER:
            return bare
        return _counted(replace(bare, **_moments(known), **_shape_of_numbers(known)), known)

    @property
    def compares(self) -> bool:
        """Whether distributions of such a column can be compared: there is more than one cell."""
        return len(self.counts) > 1 and sum(self.counts) > 0

    def count(self, values: pd.Series[Any]) -> Counts:
        """Return how many of other values fall into each of this column's bins or levels."""
        known = values.dropna()
        if self.edges and self.kind is ValueKind.NUMBER:
            numbers, edges = known.to_numpy(dtype="float64"), np.array(self.edges)
            places = np.searchsorted(edges, numbers, side="right")
            # The last bin includes its upper edge, or the largest value would lie outside of all.
            places[numbers == edges[-1]] = len(edges) - 1
            return np.bincount(places, minlength=len(edges) + 1)
        place = {level: number for number, level in enumerate(self.levels)}
        counts = np.zeros(len(place) + 1, dtype="int64")
        for text, rows in _by_text(known).items():
            counts[place.get(text, len(place))] += rows
        return counts

    def like(self, values: pd.Series[Any]) -> ColumnProfile:
        """Return other values as a column with the bins or levels of this one."""
        known = values.dropna()
        return replace(
            self,
            rows=len(values),
            missing=len(values) - len(known),
            counts=tuple(map(int, self.count(values))) if self.counts else (),
            **(_moments(known) if self.kind is ValueKind.NUMBER else {}),
        )

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> ColumnProfile:
        """Return the column that ``asdict`` made ``stored`` of."""
        lists = {name: tuple(stored[name]) for name in ("edges", "levels", "counts")}
        return cls(**{**stored, **lists, "kind": ValueKind(stored["kind"])})


@dataclass(frozen=True, slots=True, eq=False)
class Profile:
    """What is kept of the rows that a model was trained on.

    Attributes:
        rows: How many.
        sampled_rows: How many of them the columns were described from.
        target: The column to predict; '' where it is not known.
        features: Columns that the model took; empty where that is not known.
        columns: Every column but the rows' names.
        content: Of all columns together, to find whole rows again.
        identities: Of the rows' names; None where rows have none that other nights would know.
        hashing: How their digests were made.
    """

    rows: int
    sampled_rows: int
    target: str
    features: tuple[str, ...]
    columns: Mapping[str, ColumnProfile]
    content: Sketch
    identities: Sketch | None
    hashing: str

    @classmethod
    def of(
        cls, table: RowTable, roles: Roles, content: Sketch, identities: Sketch | None
    ) -> Profile:
        """Return the profile of training rows whose sketches were made already."""
        return cls(
            rows=table.rows,
            sampled_rows=table.sampled_rows,
            target=roles.target,
            features=roles.features,
            columns={
                name: ColumnProfile.of(table.column(name), table.kinds[name])
                for name in table.content
            },
            content=content.smaller(),
            identities=identities and identities.smaller(),
            hashing=hash_version(),
        )

    def to_json(self) -> str:
        """Return it as strict JSON; some hundred bytes a column, and 90 or 180 KB of digests."""
        document = {
            "schema": SCHEMA,
            "rows": self.rows,
            "sampled_rows": self.sampled_rows,
            "target": self.target,
            "features": list(self.features),
            "columns": {name: asdict(column) for name, column in self.columns.items()},
            "content": self.content.to_dict(),
            "identities": self.identities and self.identities.to_dict(),
            "hashing": self.hashing,
        }
        return json.dumps(document, allow_nan=False)

    @classmethod
    def from_json(cls, document: str) -> Profile:
        """Return the profile whose ``to_json`` gave ``document``.

        Raises:
            DecisionError: when the document is no profile of a schema that we know.
        """
        try:
            stored = json.loads(document)
            _check(stored.pop("schema"))
            columns = {
                name: ColumnProfile.from_dict(one) for name, one in stored["columns"].items()
            }
            identities = stored["identities"] and Sketch.from_dict(stored["identities"])
            content = Sketch.from_dict(stored["content"])
            parts = {"columns": columns, "content": content, "identities": identities}
            parts["features"] = tuple(stored["features"])
            return cls(**{**stored, **parts})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DecisionError(
                f"Found no profile of rows ({type(error).__name__}: {error})",
                allowed=f"a JSON document of schema {SCHEMA!r}",
                action="name the decision/profile.json of a night's parent run",
            ) from error


def _check(schema: str) -> None:
    if schema != SCHEMA:
        raise ValueError(f"its schema is {schema!r}")


def _moments(known: pd.Series[Any]) -> dict[str, Any]:
    if not len(known):
        return {}
    with np.errstate(over="ignore", invalid="ignore"):
        mean, deviation = float(known.mean()), float(known.std(ddof=0))
    return {
        "mean": mean if np.isfinite(mean) else None,
        "deviation": deviation if np.isfinite(deviation) else None,
    }


def _shape_of_numbers(known: pd.Series[Any]) -> dict[str, Any]:
    """Return levels for a column of few different numbers, bins of equal counts for others."""
    if known.nunique() <= FEW_NUMBERS and (levels := _levels(known)):
        return {"levels": levels}
    bins = min(BINS, max(2, len(known) // ROWS_PER_BIN))
    # The distance of two doubles may be no double; that of their quarters is one.
    quarters = known.to_numpy(dtype="float64") / 4 if len(known) else np.zeros(1)
    edges = np.unique(np.quantile(quarters, np.linspace(0, 1, bins + 1)) * 4)
    return {"edges": tuple(map(float, edges))} if len(edges) > 1 else {}


def _of_texts(bare: ColumnProfile, known: pd.Series[Any]) -> ColumnProfile:
    """Return a column with the frequent ones of some texts as its levels.

    Of many texts that are about as frequent as each other, those that are so in these rows are so
    by chance, and in no other rows: chosen and counted in the same ones they would seem to have
    become rare on every night. So they are chosen in one half and counted in the other.
    """
    whole = _counted(replace(bare, levels=_levels(known)), known)
    # With nearly all values listed there is nothing left to choose by chance.
    if sum(whole.counts[:-1]) >= LISTED * len(known):
        return whole
    # A fixed seed: the profile of the same rows is always the same.
    half = np.random.default_rng(0).random(len(known)) < 1 / 2
    return _counted(replace(bare, levels=_levels(known[half])), known[~half])


def _counted(column: ColumnProfile, values: pd.Series[Any]) -> ColumnProfile:
    """Return a column with the counts of some values."""
    return replace(column, counts=tuple(map(int, column.count(values))))


def _levels(known: pd.Series[Any]) -> tuple[str, ...]:
    """Return the most frequent values; of equally frequent ones those first in the alphabet."""
    ordered = sorted((-rows, text) for text, rows in _by_text(known).items())
    return tuple(text for rows, text in ordered[:LEVELS] if -rows >= LEAST_ROWS)


def _by_text(known: pd.Series[Any]) -> Counter[str]:
    """Return how often each value occurs, as a short text; whole numbers without '.0'."""
    is_number, counts = pd.api.types.is_float_dtype(known), Counter[str]()
    for value, rows in known.value_counts(sort=False).items():
        # Adding zero turns -0 into 0, which is the same value.
        text = f"{float(value) + 0.0:.12g}" if is_number else str(value)  # type: ignore[arg-type]
        counts[text[:_LONGEST_TEXT]] += int(rows)
    return counts
