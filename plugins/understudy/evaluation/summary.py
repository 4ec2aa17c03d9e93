"""From the rows of a holdout to the few numbers that a page's pictures are drawn from.

Ten million rows become some kilobytes: histograms, quantiles, calibration bins. The summary lies
beside the record as ``decision/summary.json``, so that the page can be drawn again without the
rows. It decides nothing. Runs in the gate's own process.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from understudy.evaluation.pairing import blockers, paired
from understudy.report.drawing import CHALLENGER, CHAMPION

if TYPE_CHECKING:
    from understudy.evaluation import Predictions
    from understudy.evaluation.pairing import Rows


Floats = NDArray[np.float64]
Codes = NDArray[np.integer[Any]]


@dataclass(frozen=True, slots=True)
class NumberPredictions:
    """Predictions of numbers.

    Attributes:
        target: What was true, one number a row.
        predictions: By model, ``challenger`` first: what it predicted for the same rows,
            in that order.
        left_out: How many rows of the holdout are not among these.
    """

    target: Floats
    predictions: Mapping[str, Floats]
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class Guess:
    """One model's classes of the rows.

    Attributes:
        codes: Index of the class it named, one a row; -1 for one that no row has.
        probabilities: By class, one column each; None where the model gives none.
    """

    codes: Codes
    probabilities: tuple[Floats, ...] | None = None


@dataclass(frozen=True, slots=True)
class ClassPredictions:
    """Predictions of classes.

    Attributes:
        names: The classes; of two, the second is the one whose probability is looked at.
        target: Index of the true class, one a row.
        guesses: By model, ``challenger`` first.
        left_out: How many rows of the holdout are not among these.
    """

    names: tuple[str, ...]
    target: Codes
    guesses: Mapping[str, Guess]
    left_out: int = 0


_TRUTH_BINS: Final = 20
_CALIBRATION_BINS: Final = 10
_MOST_CLASSES: Final = 12
_BINARY: Final = 2
_BLOCK: Final = 1 << 18
"""Rows that are worked on at a time where every class has a column."""


def of_classes(holdout: ClassPredictions) -> dict[str, Any]:
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
    by_challenger, by_champion = int(np.count_nonzero(challenger)), int(np.count_nonzero(champion))
    return {
        "both": both,
        "challenger": by_challenger - both,
        "champion": by_champion - both,
        "neither": len(challenger) - by_challenger - by_champion + both,
    }


def _by_class(holdout: ClassPredictions) -> dict[str, Any]:
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


def _found(holdout: ClassPredictions, guess: Guess) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return by class how many rows were rightly predicted to be of it, and how many at all."""
    known = len(holdout.names)
    named = np.bincount(guess.codes[guess.codes >= 0], minlength=known)
    hits = np.bincount(holdout.target[guess.codes == holdout.target], minlength=known)
    return hits.astype(np.int64), named.astype(np.int64)


def _ratio(part: Any, whole: Any) -> float | None:  # noqa: ANN401 -- numpy's own integers
    return float(part) / float(whole) if whole else None


def _truth(holdout: ClassPredictions, guess: Guess) -> dict[str, Any]:
    """Return the probabilities that a model gave to the true class."""
    counts, total = np.zeros(_TRUTH_BINS, dtype=np.int64), 0.0
    for rows, columns in _blocks(guess):
        given = np.take_along_axis(columns, holdout.target[rows][:, None], axis=1)[:, 0]
        counts += np.histogram(given, _TRUTH_BINS, (0.0, 1.0))[0]
        total += float(given.sum())
    return {"counts": counts.tolist(), "mean": total / len(holdout.target)}


def _calibration(holdout: ClassPredictions, guess: Guess) -> dict[str, Any]:
    """Return how often what a model predicted came true, by how sure it was.

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
        given = np.take_along_axis(columns, chosen[:, None], axis=1)[:, 0]
        place = np.minimum((given * _CALIBRATION_BINS).astype(np.intp), _CALIBRATION_BINS - 1)
        for row, weights in enumerate((None, given, (chosen == truth).astype(float))):
            sums[row] += np.bincount(place, weights, minlength=_CALIBRATION_BINS)
    rows_in, predicted, observed = sums
    return {
        "error": float(np.abs(predicted - observed).sum() / rows_in.sum()),
        "bins": [
            {"rows": int(n), "said": float(p / n), "seen": float(s / n)}
            for n, p, s in zip(rows_in, predicted, observed, strict=True)
            if n
        ],
    }


def _blocks(guess: Guess) -> Iterator[tuple[slice, Floats]]:
    """Yield the probabilities a block of rows at a time, one column for each class."""
    columns = guess.probabilities or ()
    for start in range(0, len(guess.codes), _BLOCK):
        rows = slice(start, start + _BLOCK)
        yield rows, np.column_stack([column[rows] for column in columns])


SCHEMA: Final = "understudy/summary/1"
QUANTILES: Final = (0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0)
"""Which quantiles of the absolute error are kept; 1 is the largest error."""
_ERROR_BINS: Final = 41
"""Odd, so that no error at all has a bin of its own in the middle."""
_ERROR_REACH: Final = 0.995
"""The histogram of errors reaches to this quantile of both models' absolute errors."""
_RESIDUAL_BINS: Final = 10
_BOTH: Final = 2


def empty(rows: int) -> dict[str, Any]:
    """Return the summary of so many rows of which nothing can be shown."""
    return {"schema": SCHEMA, "rows": rows}


def summarise(holdout: NumberPredictions | ClassPredictions) -> dict[str, Any]:
    """Return the summary as JSON values, all of them finite; without rows it is an empty one."""
    if not len(holdout.target):
        return empty(holdout.left_out)
    body = _of_numbers(holdout) if isinstance(holdout, NumberPredictions) else of_classes(holdout)
    return {**empty(len(holdout.target)), "left_out": holdout.left_out, **body}


def _of_numbers(holdout: NumberPredictions) -> dict[str, Any]:
    errors = {who: predicted - holdout.target for who, predicted in holdout.predictions.items()}
    reach = max(float(np.quantile(np.abs(error), _ERROR_REACH)) for error in errors.values())
    edges = np.linspace(-reach or -1.0, reach or 1.0, _ERROR_BINS + 1)
    return {
        "task": "regression",
        "errors": {
            "edges": edges.tolist(),
            "models": {who: _error(error, edges) for who, error in errors.items()},
        },
        "residuals": {
            who: _residuals(holdout.predictions[who], error) for who, error in errors.items()
        },
        "nearer": _nearer(*map(np.abs, errors.values())) if len(errors) == _BOTH else None,
    }


def _error(error: Floats, edges: Floats) -> dict[str, Any]:
    """Return one model's errors, prediction less target: their histogram and quantiles."""
    size = np.abs(error)
    # A dot product needs no array of squares.
    squared = float(np.dot(error, error)) / len(error)
    return {
        "counts": np.histogram(error, edges)[0].tolist(),
        "below": int(np.count_nonzero(error < edges[0])),
        "above": int(np.count_nonzero(error > edges[-1])),
        "mean": float(error.mean()),
        "mean_absolute": float(size.mean()),
        "root_mean_square": squared**0.5,
        # Last of all: without a copy the quantiles leave the sizes in another order, and a sum in
        # another order has another last bit.
        "quantiles": dict(
            zip(
                map(str, QUANTILES),
                map(float, np.quantile(size, QUANTILES, overwrite_input=True)),
                strict=True,
            )
        ),
    }


def _residuals(prediction: Floats, error: Floats) -> list[dict[str, float]]:
    """Return the errors by what was predicted, in parts with as many rows each.

    Errors are looked at by prediction and not by target: of a good model's predictions the mean
    error is zero whatever it predicts, while its errors by target lean towards the mean.
    """
    borders = np.unique(np.quantile(prediction, np.linspace(0, 1, _RESIDUAL_BINS + 1)))
    part = np.searchsorted(borders[1:-1], prediction, side="right")
    parts = []
    for index in range(max(len(borders) - 1, 1)):
        chosen = part == index
        inside = error[chosen]
        if len(inside):
            low, high = np.quantile(inside, (0.1, 0.9))
            parts.append(
                {
                    "rows": len(inside),
                    "prediction": float(prediction[chosen].mean()),
                    "mean": float(inside.mean()),
                    "low": float(low),
                    "high": float(high),
                }
            )
    return parts


def _nearer(challenger: Floats, champion: Floats) -> dict[str, int]:
    """Return on how many rows which model was nearer to the target."""
    return {
        "challenger": int(np.count_nonzero(challenger < champion)),
        "equal": int(np.count_nonzero(challenger == champion)),
        "champion": int(np.count_nonzero(champion < challenger)),
    }


SHOWN_BELOW: Final = 1e140
"""Numbers of this size and above are left out of the pictures: sums of their squares overflow."""
_LOOKED_AT: Final = 1 << 16
"""Rows by which numbers are told from classes that are written as numbers."""


def summary_of(challenger: Predictions, champion: Predictions | None) -> dict[str, Any]:
    """Return the summary of a holdout, as JSON values.

    Every row counts once, whatever its weight. Rows for which a model predicts nothing that can be
    shown (no finite number, one of ``SHOWN_BELOW`` or more, no probability) are left out and
    counted. Models that cannot be compared have no pictures.

    Args:
        challenger: Its predictions.
        champion: Its predictions; None where there is no champion, or none that was scored.
    """
    if blockers(challenger, champion):
        return empty(len(challenger))
    pair = paired(challenger, champion)
    rows = {CHALLENGER: pair.challenger}
    if pair.champion is not None:
        rows[CHAMPION] = pair.champion
    return summarise(_classes(rows) if _classified(rows) else _numbers(rows))


def _classified(rows: Mapping[str, Rows]) -> bool:
    """Return whether classes are predicted: by their names or probabilities, or as numbers.

    Classes that are written as numbers are known by predictions that are nothing but targets.
    """
    challenger = rows[CHALLENGER]
    if not challenger.source.target.is_number or any(
        one.source.probabilities for one in rows.values()
    ):
        return bool(challenger.labels)
    known = np.unique(challenger.truth[:_LOOKED_AT])
    return all(bool(np.isin(one.guess[:_LOOKED_AT], known).all()) for one in rows.values())


def _numbers(rows: Mapping[str, Rows]) -> NumberPredictions:
    target = rows[CHALLENGER].truth
    # False for NaN, too.
    kept = np.abs(target) < SHOWN_BELOW
    for one in rows.values():
        kept &= np.abs(one.guess) < SHOWN_BELOW
    predictions = {who: _kept(one.guess, kept) for who, one in rows.items()}
    return NumberPredictions(_kept(target, kept), predictions, int(len(kept) - kept.sum()))


def _classes(rows: Mapping[str, Rows]) -> ClassPredictions:
    challenger = rows[CHALLENGER]
    kept = challenger.true_class >= 0
    for one in rows.values():
        for column in one.source.probabilities.values():
            kept &= (column >= 0) & (column <= 1)
    guesses = {who: _guess(one, kept) for who, one in rows.items()}
    target = _kept(challenger.true_class, kept)
    return ClassPredictions(challenger.labels, target, guesses, int(len(kept) - kept.sum()))


def _guess(one: Rows, kept: NDArray[np.bool_]) -> Guess:
    codes = _kept(one.guessed_class, kept)
    if not one.source.probabilities:
        return Guess(codes)
    nothing: Floats = np.zeros(len(codes))
    known = {name: _kept(column, kept) for name, column in one.source.probabilities.items()}
    return Guess(codes, tuple(known.get(label, nothing) for label in one.labels))


def _kept(values: NDArray[Any], kept: NDArray[np.bool_]) -> NDArray[Any]:
    """Return the rows that are kept; where these are all, without a copy."""
    return values if kept.all() else values[kept]
