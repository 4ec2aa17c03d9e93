"""The paired bootstrap of smooth functions of means, through sums over units."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from understudy.evaluation.columns import Floats
from understudy.evaluation.dependence import MOST_STRETCHES
from understudy.evaluation.inference import Draw, Inferred, Margin
from understudy.evaluation.intervals import FEWEST_UNITS, TAIL, ResampledMetric, inferred
from understudy.evaluation.means import Means
from understudy.evaluation.pairing import Rows
from understudy.evaluation.units import Units

RESAMPLES: Final = 4000
MOST_UNITS: Final = 20_000
"""Units that are drawn; more are first added up to so many random groups of them."""
_MOST_NUMBERS: Final = 1 << 24
_AT_ONCE: Final = 1 << 21


def infer(challenger: Rows, champion: Rows, made: Means, margin: Margin, draw: Draw) -> Inferred:
    """Return what the rows say about the gain of a smooth function of means.

    Args:
        challenger: Its predictions.
        champion: Its predictions on the same rows.
        made: The metric.
        margin: What the rule requires.
        draw: How to resample.
    """
    ordered = draw.units.order is not None
    units = draw.units.in_time(MOST_STRETCHES) if ordered else draw.units
    sums = _sums(challenger, made, units), _sums(champion, made, units)
    count = len(sums[0])
    drawn = None
    name = f"jackknife over {units.name or 'row'}s{' in its order' if ordered else ''}"
    # Otherwise too few resamples lie beyond the error rate to read a quantile from them; then the
    # jackknife's standard error and Student's t stand in.
    if not ordered and count >= FEWEST_UNITS and draw.alpha * RESAMPLES >= TAIL:
        # Part after part, so that memory stays bounded; both metrics on the same resamples.
        parts = [
            (_value(made, times @ sums[0]), _value(made, times @ sums[1]))
            for times in _times_drawn(draw.seed, count)
        ]
        drawn = np.concatenate([one for one, _ in parts]), np.concatenate([two for _, two in parts])
        name = f"paired bootstrap, B={RESAMPLES}, units={count}"
    versions = ResampledMetric(
        full=(float(_value(made, sums[0].sum(axis=0))), float(_value(made, sums[1].sum(axis=0)))),
        count=count,
        drawn=drawn,
        left_out=(_without_each(made, sums[0]), _without_each(made, sums[1])),
        days=draw.units.days if ordered else None,
    )
    return inferred(versions, margin, draw, name)


def _sums(rows: Rows, made: Means, units: Units) -> Floats:
    """Return, for each unit, its weight and the weighted sums that the metric is made of."""
    weight = np.ones(len(rows)) if rows.weight is None else rows.weight
    # Counted on one row: how many numbers a metric needs may depend on the number of classes.
    columns = sum(1 for _ in made.per_row(rows.take(slice(0, 1))))
    merged = units.merged(min(MOST_UNITS, max(FEWEST_UNITS, _MOST_NUMBERS // (columns + 1))))
    sums = [merged.sums(weight)]
    sums += [merged.sums(values * weight) for values in made.per_row(rows)]
    return np.column_stack(sums)


def _value(made: Means, sums: Floats) -> Floats:
    # A resample without any weight has no means; its NaN is set aside with the undefined ones.
    with np.errstate(invalid="ignore", divide="ignore"):
        return made.value(sums[..., 1:] / sums[..., :1])


def _without_each(made: Means, sums: Floats) -> Floats:
    return _value(made, sums.sum(axis=0) - sums)


def _times_drawn(seed: int, units: int) -> Iterator[Floats]:
    """Yield how often each resample draws each unit, shape (some resamples, units)."""
    # From the stored seed, so that a replay draws the same resamples.
    generator = np.random.default_rng(seed)
    at_once = max(1, min(RESAMPLES, _AT_ONCE // units))
    for start in range(0, RESAMPLES, at_once):
        resamples = min(at_once, RESAMPLES - start)
        drawn = generator.integers(units, size=(resamples, units))
        # Shifted by resample, one count of all draws gives the counts of every resample.
        drawn += np.arange(resamples)[:, None] * units
        times = np.bincount(drawn.ravel(), minlength=resamples * units)
        yield times.reshape(resamples, units).astype(np.float64)
