"""Metrics that are functions of means over rows: what to sum per row, and what to make of it.

Such a metric needs the rows once. Whatever is resampled or left out later, only sums change, so
that the bootstrap and the jackknife cost the same for ten thousand rows and for ten million.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum

import numpy as np

from understudy.evaluation.columns import MISSING, Floats
from understudy.evaluation.pairing import Rows


class Shape(Enum):
    """How a metric depends on its means, which decides what inference is exact."""

    MEAN = "mean"
    """It is the mean of a loss per row."""
    ROOT = "root"
    """It is the square root of such a mean."""
    SMOOTH = "smooth"
    """It is another smooth function of several means."""


@dataclass(frozen=True, slots=True)
class Means:
    """A metric as a function of means.

    Attributes:
        shape: How it depends on them.
        per_row: Yields the numbers, one array of rows after another, whose means it is made of.
        value: From the means, shape (..., how many), to the metric, shape (...); NaN where the
            means do not define it.
    """

    shape: Shape
    per_row: Callable[[Rows], Iterator[Floats]]
    value: Callable[[Floats], Floats]


def _mean_of(loss: Callable[[Rows], Floats]) -> Means:
    def per_row(rows: Rows) -> Iterator[Floats]:
        yield loss(rows)

    return Means(Shape.MEAN, per_row, lambda means: means[..., 0])


def _root_of(loss: Callable[[Rows], Floats]) -> Means:
    def per_row(rows: Rows) -> Iterator[Floats]:
        yield loss(rows)

    return Means(Shape.ROOT, per_row, lambda means: np.sqrt(np.maximum(means[..., 0], 0.0)))


def _error(rows: Rows) -> Floats:
    return rows.truth - rows.guess


def _squared(rows: Rows) -> Floats:
    return _error(rows) ** 2


def _log_error(rows: Rows) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        return (np.log1p(rows.truth) - np.log1p(rows.guess)) ** 2


def _percentage(rows: Rows) -> Floats:
    # scikit-learn's own floor: a target of zero gives a huge number and no error.
    return np.asarray(abs(_error(rows)) / np.maximum(abs(rows.truth), np.finfo(np.float64).eps))


def _poisson(rows: Rows) -> Floats:
    truth, guess = rows.truth, rows.guess
    with np.errstate(invalid="ignore", divide="ignore"):
        # The limit of t log t for t towards zero is zero; numpy says NaN.
        logs = np.where(truth > 0, truth * np.log(truth / guess), 0.0)
    return 2 * (logs - truth + guess)


def _gamma(rows: Rows) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        return 2 * (np.log(rows.guess / rows.truth) + rows.truth / rows.guess - 1)


def _hit(rows: Rows) -> Floats:
    return np.asarray(rows.true_class == rows.guessed_class, dtype=np.float64)


def _log_loss(rows: Rows) -> Floats:
    shares = rows.probabilities
    epsilon = np.finfo(shares.dtype).eps
    # Clipped as scikit-learn clips: a probability of zero for what came true costs much, not
    # infinity.
    own = shares[np.arange(len(rows)), rows.true_class]
    return np.asarray(-np.log(np.clip(own, epsilon, 1 - epsilon)))


def _brier(rows: Rows) -> Floats:
    """Return the squared distance from certainty; halved for two classes, as scikit-learn does."""
    # Class by class, so that no second table of rows by classes is in memory.
    total = np.zeros(len(rows))
    for code in range(len(rows.labels)):
        total += ((rows.true_class == code) - rows.probabilities[:, code]) ** 2
    return total / 2 if len(rows.labels) == 2 else total  # noqa: PLR2004 -- two classes


MAE = _mean_of(lambda rows: abs(_error(rows)))
MSE = _mean_of(_squared)
RMSE = _root_of(_squared)
MSLE = _mean_of(_log_error)
RMSLE = _root_of(_log_error)
MAPE = _mean_of(_percentage)
# scikit-learn's default is the median's pinball loss, which is half of the absolute error.
PINBALL = _mean_of(lambda rows: abs(_error(rows)) / 2)
POISSON = _mean_of(_poisson)
GAMMA = _mean_of(_gamma)
ACCURACY = _mean_of(_hit)
ZERO_ONE = _mean_of(lambda rows: 1.0 - _hit(rows))
LOG_LOSS = _mean_of(_log_loss)
BRIER = _mean_of(_brier)


def _r2_rows(rows: Rows) -> Iterator[Floats]:
    # Minus its mean, so that the variance keeps its digits: far from zero the mean of squares and
    # the square of the mean are nearly equal.
    centred = rows.truth - np.average(rows.truth, weights=rows.weight)
    yield _squared(rows)
    yield centred
    yield centred**2


def _r2(means: Floats) -> Floats:
    spread = means[..., 2] - means[..., 1] ** 2
    return 1 - _ratio(means[..., 0], spread, np.nan)


def _explained_rows(rows: Rows) -> Iterator[Floats]:
    yield from _r2_rows(rows)
    yield _error(rows)


def _explained(means: Floats) -> Floats:
    spread = means[..., 2] - means[..., 1] ** 2
    return 1 - _ratio(means[..., 0] - means[..., 3] ** 2, spread, np.nan)


def _ratio(above: Floats, below: Floats, otherwise: float) -> Floats:
    """Return above / below, and ``otherwise`` where below is not greater than zero."""
    # Division happens only where it is defined: no warnings, and no infinity to clean up.
    filled = np.full(np.broadcast(above, below).shape, otherwise)
    return np.asarray(np.divide(above, below, out=filled, where=below > 0))


def _log_loss_skill_rows(rows: Rows) -> Iterator[Floats]:
    yield _log_loss(rows)
    for code in rows.present.tolist():
        yield (rows.true_class == code).astype(np.float64)


def _log_loss_skill(means: Floats) -> Floats:
    """Return 1 minus the log loss by that of the classes' shares (their entropy)."""
    shares = means[..., 1:]
    logs = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
    return 1 - _ratio(means[..., 0], -(shares * logs).sum(axis=-1), np.nan)


R2 = Means(Shape.SMOOTH, _r2_rows, _r2)
EXPLAINED_VARIANCE = Means(Shape.SMOOTH, _explained_rows, _explained)


def _counted(rows: Rows, codes: list[int]) -> Iterator[Floats]:
    """Yield, class after class: rightly so called, so called, really so."""
    for code in codes:
        truth, guess = rows.true_class == code, rows.guessed_class == code
        # Precision, recall, f1 and the correlations all follow from these three.
        yield (truth & guess).astype(np.float64)
        yield guess.astype(np.float64)
        yield truth.astype(np.float64)


def _every_class(rows: Rows) -> Iterator[Floats]:
    """Count also, as a class of its own, predictions of a class that the holdout does not have."""
    return _counted(rows, list(range(MISSING, len(rows.labels))))


def _present_classes(rows: Rows) -> Iterator[Floats]:
    return _counted(rows, rows.present.tolist())


def _by_class(means: Floats) -> tuple[Floats, Floats, Floats]:
    return means[..., 0::3], means[..., 1::3], means[..., 2::3]


def _precision(means: Floats) -> Floats:
    right, called, _ = _by_class(means)
    return _ratio(right, called, 0.0)


def _recall(means: Floats) -> Floats:
    right, _, real = _by_class(means)
    return _ratio(right, real, 0.0)


def _f1(means: Floats) -> Floats:
    right, called, real = _by_class(means)
    return _ratio(2 * right, called + real, 0.0)


def _jaccard(means: Floats) -> Floats:
    right, called, real = _by_class(means)
    return _ratio(right, called + real - right, 0.0)


def binary(per_class: Callable[[Floats], Floats]) -> Means:
    """Return a per-class score of the positive class, which is the second of two."""
    return Means(
        Shape.SMOOTH, lambda rows: _counted(rows, [1]), lambda means: per_class(means)[..., 0]
    )


def macro(per_class: Callable[[Floats], Floats]) -> Means:
    """Return the plain mean of a per-class score over the classes that the rows have."""
    return Means(Shape.SMOOTH, _present_classes, lambda means: per_class(means).mean(axis=-1))


def weighted(per_class: Callable[[Floats], Floats]) -> Means:
    """Return the mean of a per-class score, each class weighing as much as it has rows."""

    def value(means: Floats) -> Floats:
        real = means[..., 2::3]
        return _ratio((per_class(means) * real).sum(axis=-1), real.sum(axis=-1), np.nan)

    return Means(Shape.SMOOTH, _present_classes, value)


def _balanced(means: Floats) -> Floats:
    """Return the mean recall over classes; a resample without a class goes without it."""
    right, _, real = _by_class(means)
    # As scikit-learn: a class without rows has no recall and does not count as zero.
    here = (real > 0).sum(axis=-1).astype(np.float64)
    return _ratio(_ratio(right, real, 0.0).sum(axis=-1), here, np.nan)


def _mcc(means: Floats) -> Floats:
    """Return Matthews' correlation; Gorodkin's R_K for more than two classes (2004)."""
    right, called, real = _by_class(means)
    covariance = right.sum(axis=-1) - (called * real).sum(axis=-1)
    spreads = (1 - (called**2).sum(axis=-1)) * (1 - (real**2).sum(axis=-1))
    return _ratio(covariance, np.sqrt(np.maximum(spreads, 0.0)), 0.0)


def _kappa(means: Floats) -> Floats:
    right, called, real = _by_class(means)
    by_chance = (called * real).sum(axis=-1)
    return _ratio(right.sum(axis=-1) - by_chance, 1 - by_chance, np.nan)


LOG_LOSS_SKILL = Means(Shape.SMOOTH, _log_loss_skill_rows, _log_loss_skill)
PER_CLASS = {"precision": _precision, "recall": _recall, "f1": _f1, "jaccard": _jaccard}
BALANCED_ACCURACY = Means(Shape.SMOOTH, _present_classes, _balanced)
MCC = Means(Shape.SMOOTH, _every_class, _mcc)
KAPPA = Means(Shape.SMOOTH, _every_class, _kappa)
