"""Paired differences of means: Student's t, robust to clusters.

With rows as units this is the paired t-test. With clusters the standard error is the jackknife's
that leaves one cluster out (CV3), with one degree of freedom less than there are clusters: the
choice that MacKinnon, Nielsen and Webb recommend ("Cluster-robust inference: a guide to empirical
practice", J. Econometrics 232, 2023), because it stays honest for few and unequal clusters. With
rows in the order of time it is what ``dependence`` says.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import norm

from understudy.evaluation.columns import Floats
from understudy.evaluation.dependence import MOST_STRETCHES, long_run
from understudy.evaluation.inference import Draw, Inferred, Margin, Spread, enough, too_few
from understudy.evaluation.means import Shape
from understudy.evaluation.units import Units
from understudy.gate.verdict import Interval


@dataclass(frozen=True, eq=False)
class Losses:
    """A metric's per-row numbers of both models.

    Attributes:
        challenger: The number whose mean, or root of the mean, is the challenger's value.
        champion: The champion's.
        weight: Weight of each row; None where all weigh the same.
    """

    challenger: Floats
    champion: Floats
    weight: Floats | None


def infer(losses: Losses, shape: Shape, margin: Margin, draw: Draw) -> Inferred:
    """Return what the rows say about the gain of a mean, or of the root of a mean.

    Args:
        losses: The numbers.
        shape: ``MEAN`` or ``ROOT``.
        margin: What the rule requires.
        draw: What is independent, and the error rate.
    """
    units, alpha = draw.units, draw.alpha
    per_row = _root_rows if shape is Shape.ROOT else _mean_rows
    gain_rows = per_row(losses, Margin(margin.sign, 0.0, 0.0))
    excess_rows = per_row(losses, margin)
    method = "paired mean of losses (t)"
    if units.codes is not None:
        count = units.count
        method = f"cluster-robust mean by {units.name} (t, {count} - 1 degrees of freedom)"
    if not excess_rows.any():
        nothing = Interval(0.0, 0.0, 1 - 2 * alpha)
        return Inferred(method, nothing, nothing, note=too_few(0, alpha, units.name or "row"))
    # Rows on which both models agree are no evidence for either, however many there are.
    apart = units.touched(excess_rows != 0)
    gain, excess = (spread(rows, losses.weight, units) for rows in (gain_rows, excess_rows))
    if gain is None or excess is None or not enough(apart, alpha):
        return Inferred(method, note=too_few(apart, alpha, units.name or "row"))
    if units.order is not None:
        method = (
            f"paired mean of losses in the order of time (t, {excess.freedom} degrees of freedom)"
        )
    return Inferred(
        method,
        gain=gain.interval(alpha),
        excess=excess.interval(alpha),
        p_value=excess.p_value(),
        effect_size=_effect_size(gain_rows, losses.weight),
        smallest_detectable=gain.estimate - excess.estimate + excess.detectable(alpha),
    )


def _mean_rows(losses: Losses, margin: Margin) -> Floats:
    """Return numbers whose mean is the excess: linear, as long as the champion's sign is known."""
    # |champion - best| is linear where the sign is known, so that its mean stays a mean.
    distance = losses.champion - margin.best
    sign = -1.0 if _mean(distance, losses.weight) < 0 else 1.0
    rows = margin.sign * (losses.challenger - losses.champion)
    if margin.share:
        rows -= margin.share * sign * distance
    return rows - margin.amount if margin.amount else rows


def _root_rows(losses: Losses, margin: Margin) -> Floats:
    """Return numbers whose mean is the excess of a root of a mean.

    With b the root that the rule requires, sqrt(mean a) keeps to b exactly where mean a keeps to
    b^2, and their difference is (mean a - b^2) / (sqrt(mean a) + b). So the sign is decided by a
    mean, without approximation; only what an absolute margin adds to b^2 is linear in the
    champion's root near its estimate (delta method).
    """
    challenger, champion = (
        _mean(x, losses.weight) ** 0.5 for x in (losses.challenger, losses.champion)
    )
    factor, shift = 1 + margin.sign * margin.share, margin.sign * margin.amount
    required = factor * champion + shift
    bound = factor**2 * losses.champion
    if shift:
        slope = losses.champion / champion if champion else 0.0
        bound = bound + factor * shift * (slope + champion) + shift**2
    rows = margin.sign * (losses.challenger - bound) / ((challenger + abs(required)) or 1.0)
    # A bound below zero cannot be reached: the distance to it is not that of the squares.
    return rows + margin.sign * (abs(required) - required) if required < 0 else rows


def _mean(values: Floats, weight: Floats | None) -> float:
    return float(np.average(values, weights=weight))


def _effect_size(rows: Floats, weight: Floats | None) -> float | None:
    """Return mean by standard deviation of the gains per row (Cohen's d of paired data)."""
    centre = _mean(rows, weight)
    deviation = (_mean((rows - centre) ** 2, weight) * len(rows) / max(len(rows) - 1, 1)) ** 0.5
    return centre / deviation if deviation else None


def spread(
    rows: Floats, weight: Floats | None, units: Units, freedom: float | None = None
) -> Spread | None:
    """Return the weighted mean of numbers per row with its standard error; None for one unit.

    Leaving unit g out changes the mean by u_g / (W - w_g), where u_g is the sum of its weighted
    residuals, w_g its weight and W that of all. The jackknife variance is (G - 1) / G times the
    sum of the squares; for G single rows that is the sample variance by G.

    Args:
        rows: The numbers.
        weight: Weight of each row; None where all weigh the same.
        units: What is independent.
        freedom: Degrees of freedom, where fewer than units - 1.
    """
    weights = np.ones(len(rows)) if weight is None else weight
    total = float(weights.sum())
    mean = float(rows @ weights) / total if total else 0.0
    if units.order is not None:
        return _in_time(mean, (rows - mean) * weights / total, units, freedom) if total else None
    rest = total - units.sums(weights)
    if units.count < 2 or rest.min() <= 0:  # noqa: PLR2004 -- one unit has no spread
        return None
    changes = units.sums((rows - mean) * weights) / rest
    # The norm, and not the root of a sum of squares, which overflows from 1e154 on.
    error = ((units.count - 1) / units.count) ** 0.5 * float(norm(changes, check_finite=False))
    return Spread(mean, error, (units.count - 1) if freedom is None else freedom)


def _in_time(mean: float, shares: Floats, units: Units, freedom: float | None) -> Spread | None:
    """Return the spread of a mean of rows that depend on each other.

    Args:
        mean: The mean.
        shares: What each row adds to its deviation, which is zero in all.
        units: The order of the rows.
        freedom: Degrees of freedom, where fewer.
    """
    stretches = units.in_time(MOST_STRETCHES)
    if stretches.count < 2:  # noqa: PLR2004 -- one stretch has no spread
        return None
    found = long_run(stretches.sums(shares), units.days)
    error = (stretches.count * found.variance) ** 0.5
    return Spread(mean, error, found.freedom if freedom is None else min(freedom, found.freedom))
