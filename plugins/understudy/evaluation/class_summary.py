"""The part of a summary that is about classes; see ``summary``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from understudy.evaluation.holdout import Classes, Floats, Guess

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TRUTH_BINS: Final = 20
_CALIBRATION_BINS: Final = 10
_MOST_CLASSES: Final = 12
_BINARY: Final = 2
_BOTH: Final = 2
_BLOCK: Final = 1 << 18
"""Rows that are worked on at a time where every class has a column."""


def of_classes(holdout: Classes) -> dict[str, Any]:
    """Return which model was right where, by class, and how sure both were."""
    sure = {who: guess for who, guess in holdout.guesses.items() if guess.probabilities}
    right = {who: guess.codes == holdout.target for who, guess in holdout.guesses.items()}
    return {
        "task": "classification",
        "outcomes": _outcomes(*right.values()) if len(right) == _BOTH else None,
        **_by_class(holdout),
        "truth": {
            "edges": np.linspace(0, 1, _TRUTH_BINS + 1).tolist(),
            "models": {who: _truth(holdout, guess) for who, guess in sure.items()},
        },
        "calibration": {
            "of": holdout.names[1] if len(holdout.names) == _BINARY else None,
            "models": {who: _calibration(holdout, guess) for who, guess in sure.items()},
        },
    }


def _outcomes(challenger: NDArray[np.bool_], champion: NDArray[np.bool_]) -> dict[str, int]:
    """Return the table that McNemar's test looks at: who was right where."""
    both = int(np.count_nonzero(challenger & champion))
    ours, theirs = int(np.count_nonzero(challenger)), int(np.count_nonzero(champion))
    return {
        "both": both,
        "challenger": ours - both,
        "champion": theirs - both,
        "neither": len(challenger) - ours - theirs + both,
    }


def _by_class(holdout: Classes) -> dict[str, Any]:
    """Return recall and precision of the classes with the most rows, by rows."""
    support = np.bincount(holdout.target, minlength=len(holdout.names))
    largest = np.argsort(-support, kind="stable")[:_MOST_CLASSES]
    found = {who: _found(holdout, guess) for who, guess in holdout.guesses.items()}
    return {
        "classes": [
            {
                "name": holdout.names[code],
                "rows": int(support[code]),
                "models": {
                    who: {
                        "recall": _ratio(hits[code], support[code]),
                        "precision": _ratio(hits[code], named[code]),
                    }
                    for who, (hits, named) in found.items()
                },
            }
            for code in map(int, largest)
        ],
        "other_classes": max(len(holdout.names) - _MOST_CLASSES, 0),
    }


def _found(holdout: Classes, guess: Guess) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return by class how many rows were rightly, and how many at all, said to be of it."""
    known = len(holdout.names)
    named = np.bincount(guess.codes[guess.codes >= 0], minlength=known)
    hits = np.bincount(holdout.target[guess.codes == holdout.target], minlength=known)
    return hits.astype(np.int64), named.astype(np.int64)


def _ratio(part: Any, whole: Any) -> float | None:  # noqa: ANN401 -- numpy's own integers
    return float(part) / float(whole) if whole else None


def _truth(holdout: Classes, guess: Guess) -> dict[str, Any]:
    """Return how probable a model said that was which turned out true."""
    counts, total = np.zeros(_TRUTH_BINS, dtype=np.int64), 0.0
    for rows, columns in _blocks(guess):
        given = np.take_along_axis(columns, holdout.target[rows][:, None], axis=1)[:, 0]
        counts += np.histogram(given, _TRUTH_BINS, (0.0, 1.0))[0]
        total += float(given.sum())
    return {"counts": counts.tolist(), "mean": total / len(holdout.target)}


def _calibration(holdout: Classes, guess: Guess) -> dict[str, Any]:
    """Return how often what a model said came true, by how sure it was.

    Of two classes it is the second's probability, of more that of the likeliest one ("top label").
    ``error`` is the expected calibration error over bins of equal width: C. Guo et al., "On
    calibration of modern neural networks", ICML 2017.
    """
    sums = np.zeros((3, _CALIBRATION_BINS))
    for rows, columns in _blocks(guess):
        truth = holdout.target[rows]
        chosen = (
            np.ones(len(truth), dtype=np.intp) if columns.shape[1] == _BINARY else columns.argmax(1)
        )
        sure = np.take_along_axis(columns, chosen[:, None], axis=1)[:, 0]
        place = np.minimum((sure * _CALIBRATION_BINS).astype(np.intp), _CALIBRATION_BINS - 1)
        for row, weights in enumerate((None, sure, (chosen == truth).astype(float))):
            sums[row] += np.bincount(place, weights, minlength=_CALIBRATION_BINS)
    rows_in, said, seen = sums
    return {
        "error": float(np.abs(said - seen).sum() / rows_in.sum()),
        "bins": [
            {"rows": int(n), "said": float(p / n), "seen": float(s / n)}
            for n, p, s in zip(rows_in, said, seen, strict=True)
            if n
        ],
    }


def _blocks(guess: Guess) -> Iterator[tuple[slice, Floats]]:
    """Yield the probabilities a block of rows at a time, one column for each class."""
    columns = guess.probabilities or ()
    for start in range(0, len(guess.codes), _BLOCK):
        rows = slice(start, start + _BLOCK)
        yield rows, np.column_stack([column[rows] for column in columns])
