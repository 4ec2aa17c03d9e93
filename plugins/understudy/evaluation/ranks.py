"""The area under the ROC curve: its exact variance from ranks, without resampling.

DeLong, DeLong and Clarke-Pearson, "Comparing the areas under two or more correlated receiver
operating characteristic curves", Biometrics 44 (1988); for clusters Obuchowski, "Nonparametric
analysis of clustered ROC curve data", Biometrics 53 (1997). With weights and over several classes
(each against the rest) the same per-row influence is used.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from understudy.evaluation.columns import Floats
from understudy.evaluation.inference import Draw, Inferred, Margin, enough, too_few, too_rare
from understudy.evaluation.pairing import Rows
from understudy.evaluation.t_test import spread
from understudy.evaluation.units import Units
from understudy.gate.verdict import Interval

Marks = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Area:
    """An area and the influence of each row on it; the weighted mean of the influences is zero."""

    value: float
    influence: Floats


def area(scores: Floats, positive: Marks, weight: Floats) -> Area:
    """Return the area under the ROC curve of one class.

    Args:
        scores: The higher, the likelier positive.
        positive: Which rows are.
        weight: Weight of each row, not below zero.
    """
    # One sort stands for comparing each positive row with each negative one, as DeLong's formula
    # is written: n log n in the place of n squared.
    order = np.argsort(scores, kind="stable")
    ranked, for_class = scores[order], positive[order]
    weights = weight[order]
    starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
    place = np.repeat(np.arange(len(starts)), np.diff(np.r_[starts, len(ranked)]))
    below = [_below(weights * one, starts, place) for one in (for_class, ~for_class)]
    plus, minus = (float(weights[one].sum()) for one in (for_class, ~for_class))
    # The chance that a row is on the right side of one of the other kind; a tie counts half.
    right = np.where(for_class, below[1] / minus, 1 - below[0] / plus)
    value = float((right * weights)[for_class].sum()) / plus
    scaled = (right - value) * (plus + minus) / np.where(for_class, plus, minus)
    influence = np.empty_like(scaled)
    influence[order] = scaled
    return Area(value, influence)


def _below(weights: Floats, starts: NDArray[np.intp], place: NDArray[np.intp]) -> Floats:
    """Return the weight of what is ranked below each row, what is level with it counting half."""
    level = np.add.reduceat(weights, starts)
    return (np.cumsum(level) - level / 2)[place]


def areas(rows: Rows) -> Area:
    """Return the area of the positive class, or the plain mean over more than two classes."""
    weight = np.ones(len(rows)) if rows.weight is None else rows.weight
    codes = _codes(rows)
    found = [area(rows.probabilities[:, code], rows.true_class == code, weight) for code in codes]
    # The influence of a mean of areas is the mean of their influences, on the same rows.
    influence = sum((one.influence for one in found), np.zeros(len(rows))) / len(found)
    return Area(float(np.mean([one.value for one in found])), influence)


def _codes(rows: Rows) -> range:
    return range(1, 2) if len(rows.labels) == 2 else range(len(rows.labels))  # noqa: PLR2004


def infer(challenger: Rows, champion: Rows, margin: Margin, draw: Draw) -> Inferred:
    """Return what the rows say about the gain of an area.

    Args:
        challenger: Its predictions, on rows that have every class.
        champion: Its predictions on the same rows.
        margin: What the rule requires.
        draw: What is independent, and the error rate.
    """
    units, alpha = draw.units, draw.alpha
    challenger_area, champion_area = areas(challenger), areas(champion)
    rarest = _rarest(champion, units)
    method = "paired ROC areas (DeLong, t)" + (f", clusters: {units.name}" if units.name else "")
    # Two spreads: the gain itself is shown, its excess over the margin decides.
    plain = Margin(margin.sign, 0.0, 0.0)
    gain, excess = (
        # Degrees of freedom by the units of the rarer kind, see ``_rarest``.
        spread(_rows(challenger_area, champion_area, one), champion.weight, units, rarest - 1)
        for one in (plain, margin)
    )
    if gain is None or excess is None or not enough(rarest, alpha):
        return Inferred(method, note=too_rare(rarest, alpha, units.name or "row"))
    if gain.error == 0 and excess.estimate == 0:
        nothing = Interval(0.0, 0.0, 1 - 2 * alpha)
        return Inferred(method, nothing, nothing, note=too_few(0, alpha, "row"))
    if units.order is not None:
        freedom = f"{excess.freedom} degrees of freedom"
        method = f"paired ROC areas in the order of time (DeLong, t, {freedom})"
    return Inferred(
        method,
        gain=gain.interval(alpha),
        excess=excess.interval(alpha),
        p_value=excess.p_value(),
        effect_size=None,
        smallest_detectable=gain.estimate - excess.estimate + excess.detectable(alpha),
    )


def _rows(challenger: Area, champion: Area, margin: Margin) -> Floats:
    """Return numbers per row whose mean is the excess and which vary as it does."""
    # An area is at or above zero and at or below one: the sign of its distance is known.
    sign = -1.0 if champion.value < margin.best else 1.0
    moved = (
        margin.sign * (challenger.influence - champion.influence)
        - margin.share * sign * champion.influence
    )
    excess = margin.sign * (challenger.value - champion.value) - margin.needed(champion.value)
    return moved + excess


def _rarest(rows: Rows, units: Units) -> int:
    """Return how many units hold the class, or the absence of one, that the fewest hold.

    An area is a mean over both kinds of rows: three positives are three pieces of evidence,
    however many negatives there are.
    """
    kinds = [rows.true_class == code for code in _codes(rows)]
    return min(min(units.touched(kind), units.touched(~kind)) for kind in kinds)
