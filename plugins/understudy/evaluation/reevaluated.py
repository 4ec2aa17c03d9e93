"""Gains of any metric, by computing it anew on resampled rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from understudy.evaluation.columns import Floats, Index
from understudy.evaluation.inference import Draw, Inferred, Margin
from understudy.evaluation.intervals import ResampledMetric, inferred
from understudy.evaluation.metrics import Definition, Input
from understudy.evaluation.pairing import Rows
from understudy.evaluation.units import Units

MOST_RESAMPLES: Final = 1000
FEWEST_RESAMPLES: Final = 200
"""Enough for a standard error (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993)."""
_ROWS_DRAWN: Final = 4_000_000
MOST_ROWS: Final = 20_000
"""Rows beyond which groups of them are left out instead: 30 evaluations.

The delete-a-group jackknife is right for quantiles too where groups have many more rows than
sqrt(rows) (Shao and Wu, "A general theory for jackknife variance estimation", Annals of Statistics
17, 1989).
"""
GROUPS: Final = 30
FEWEST_UNITS: Final = 20
"""Units below which resamples of a metric of unknown form are not trusted."""


def infer(
    challenger: Rows, champion: Rows, definition: Definition, margin: Margin, draw: Draw
) -> Inferred:
    """Return what the rows say about the gain of a metric.

    Args:
        challenger: Its predictions.
        champion: Its predictions on the same rows.
        definition: The metric.
        margin: What the rule requires.
        draw: How to resample.
    """
    if not definition.regular:
        return Inferred("none", note="no resampling says how an extreme value varies")
    # Every resample would copy columns that the metric does not read.
    if definition.reads is not Input.FRAME:
        challenger, champion = challenger.bare(), champion.bare()
    units = draw.units
    full = definition.score(challenger), definition.score(champion)
    both = challenger, champion
    if units.order is not None or len(challenger) > MOST_ROWS:
        ordered = units.order is not None
        units = units.in_time(GROUPS) if ordered else units.merged(GROUPS)
        if units.count < FEWEST_UNITS:
            return _too_few(units)
        left_out = _columns([_scores(definition, both, rows) for rows in _without_each(units)])
        rounding = 1e-12 * max(map(abs, full))
        # Leaving out rows changes even an unchanged value in its last bits, relative to its size.
        days = draw.units.days if ordered else None
        versions = ResampledMetric(
            full, units.count, left_out=left_out, rounding=rounding, days=days
        )
        name = f"jackknife, groups={units.count}{' in the order of time' if ordered else ''}"
        return inferred(versions, margin, draw, name)
    if units.count < FEWEST_UNITS:
        return _too_few(units)
    # A metric of the user's costs what it costs: the more rows, the fewer resamples.
    resamples = max(FEWEST_RESAMPLES, min(MOST_RESAMPLES, _ROWS_DRAWN // len(challenger)))
    drawn_rows = _resamples(units, resamples, draw.seed)
    drawn = _columns([_scores(definition, both, rows) for rows in drawn_rows])
    name = f"paired bootstrap of rows, B={resamples}, units={units.count}"
    return inferred(ResampledMetric(full, units.count, drawn=drawn), margin, draw, name)


def _too_few(units: Units) -> Inferred:
    few = f"{units.count} {units.name or 'row'}s are fewer than {FEWEST_UNITS}"
    return Inferred("none", note=few)


def _scores(definition: Definition, both: tuple[Rows, Rows], rows: Index) -> tuple[float, float]:
    """Return both models' values on some rows; NaN where these do not define the metric."""
    challenger, champion = both[0].take(rows), both[1].take(rows)
    # A resample may lack a class that the whole holdout has. Asked of one model: the targets are
    # the same.
    if definition.undefined(challenger):
        return np.nan, np.nan
    try:
        return definition.score(challenger), definition.score(champion)
    except ValueError:
        return np.nan, np.nan


def _columns(scores: list[tuple[float, float]]) -> tuple[Floats, Floats]:
    values = np.array(scores, dtype=np.float64)
    return values[:, 0], values[:, 1]


def _without_each(units: Units) -> Iterator[Index]:
    for unit in range(units.count):
        times = np.ones(units.count, dtype=np.int64)
        times[unit] = 0
        yield units.expanded(times)


def _resamples(units: Units, resamples: int, seed: int) -> Iterator[Index]:
    # From the stored seed, so that a replay draws the same resamples.
    generator = np.random.default_rng(seed)
    for _ in range(resamples):
        drawn = generator.integers(units.count, size=units.count)
        yield units.expanded(np.bincount(drawn, minlength=units.count))
