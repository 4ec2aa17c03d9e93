"""A few digests that stand for the rows of a table: enough to find rows again years later. Pure.

A bottom-k sketch (Cohen and Kaplan, "Summarizing data using bottom-k sketches", PODC 2007): of all
rows it keeps the ``size`` smallest digests. Whether a row whose digest is below the largest kept is
among the table's rows can then be told exactly, and such rows are a random sample of any other
table's, because the digest of a row has nothing to do with what is in it.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

from understudy.evaluation.guards.table import Digests

ALL: Final = 2**64
STORED: Final = 8192
"""Digests of a sketch that is stored: 87 KB of text, and a share known to within some per cent."""
KEPT: Final = 1_000_000
"""Digests of one that is used at once: all rows', where these are no more."""

Counts = np.ndarray[Any, np.dtype[np.int64]]


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
            waiting.append(batch if limit == ALL else batch[batch < np.uint64(limit)])
            if sum(map(len, waiting)) >= size:
                kept, counts, limit = _merged((kept, counts, limit), waiting, size)
                waiting = []
        kept, counts, limit = _merged((kept, counts, limit), waiting, size)
        return cls(limit, kept, _share(int(counts[counts > 1].sum()), int(counts.sum())))

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
        digests = np.frombuffer(base64.b64decode(stored["digests"]), dtype="<u8")
        return cls(int(stored["limit"]), digests.astype("uint64"), float(stored["repeated"]))


_NONE: Final = np.array([], dtype="uint64")


def hash_version() -> str:
    """Return what tells one way of making digests from another, such as a later pandas'."""
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
    if len(merged) > size:
        return merged[:size], seen[:size], int(merged[size])
    return merged, seen, limit


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
