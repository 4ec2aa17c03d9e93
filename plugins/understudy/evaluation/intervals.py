"""From a metric's values on resampled rows to an interval of the gain.

* BCa for smooth functions of means: it corrects for bias and skewness, which ratios such as f1
  have (Efron, "Better bootstrap confidence intervals", JASA 82, 1987).
* The percentile interval, widened for the number of units, for any other metric: BCa's
  acceleration needs the jackknife, which is wrong for quantiles. The widening is Hesterberg's
  ("What Teachers Should Know About the Bootstrap", The American Statistician 69, 2015).
* Student's with the standard error of the resamples or of the jackknife where there are few units,
  or where fewer than ``TAIL`` resamples lie beyond the error rate: a thousand resamples know
  nothing about one in a million.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from scipy import special

from understudy.evaluation.columns import Floats
from understudy.evaluation.dependence import long_run
from understudy.evaluation.inference import Draw, Inferred, Margin, Spread, enough, too_few
from understudy.gate.verdict import Interval

TAIL: Final = 10
FEWEST_UNITS: Final = 40
"""Units below which quantiles of resamples are not trusted."""
_UNDEFINED: Final = 0.01
"""Share of resamples that may leave a metric undefined; they are set aside."""


@dataclass(frozen=True, eq=False)
class ResampledMetric:
    """A metric of challenger and champion, on all rows and on versions of them.

    Attributes:
        full: On all rows.
        count: How many units, or groups of them, the versions are made of.
        drawn: On each resample; None where none was drawn.
        left_out: On all rows but those of one unit, for each; None where not evaluated.
        rounding: How far apart values are that differ by rounding only.
        days: Of units in the order of time, on how many days they are; None where each is
            independent of the others.
    """

    full: tuple[float, float]
    count: int
    drawn: tuple[Floats, Floats] | None = None
    left_out: tuple[Floats, Floats] | None = None
    rounding: float = 1e-12
    days: int | None = None

    def of(self, margin: Margin) -> Gains:
        """Return by how much the margin is exceeded, on all rows and on each version."""
        estimate = float(margin.excess(*(np.asarray(value) for value in self.full)))
        drawn = None if self.drawn is None else margin.excess(*self.drawn)
        left_out = None if self.left_out is None else margin.excess(*self.left_out)
        return Gains(estimate, self.count, drawn, left_out, self.rounding, self.days)


@dataclass(frozen=True, eq=False)
class Gains:
    """One number on all rows, and on versions of them as ``ResampledMetric`` has them."""

    estimate: float
    count: int
    drawn: Floats | None
    left_out: Floats | None
    rounding: float
    days: int | None = None

    def defined(self) -> Gains | None:
        """Return the versions that define the metric; None where too many do not."""
        kept = []
        for values in (self.drawn, self.left_out):
            finite = None if values is None else values[np.isfinite(values)]
            if values is not None and finite is not None:
                lost = 1 - len(finite) / len(values)
                if lost > _UNDEFINED:
                    return None
            kept.append(finite)
        return replace(self, drawn=kept[0], left_out=kept[1])

    @property
    def spread(self) -> Spread:
        """The standard error: of the jackknife where there is one, else of the resamples."""
        if self.left_out is not None:
            changes = self.left_out - self.estimate
            if self.days is not None:
                found = long_run(changes - changes.mean(), self.days)
                error = (self.count - 1) * (found.variance / self.count) ** 0.5
                return Spread(self.estimate, error, found.freedom)
            error = float(((self.count - 1) / self.count * (changes @ changes)) ** 0.5)
        elif self.drawn is not None:
            # n units resampled vary like n - 1: Hesterberg's factor, as in ``Percentile``.
            error = float(np.std(self.drawn, ddof=1) * (self.count / (self.count - 1)) ** 0.5)
        else:
            raise AssertionError(self)
        return Spread(self.estimate, error, self.count - 1)

    def telling(self) -> int:
        """Return how many units change the number when they are left out; all if unknown."""
        if self.left_out is None:
            return self.count
        return int((abs(self.left_out - self.estimate) > self.rounding).sum())


@dataclass(frozen=True, slots=True)
class BCa:
    """Efron's corrections: ``z0`` for the median's bias, ``a`` for the change of the spread.

    Ties with the estimate count half, so that swapping the models swaps the interval's ends.
    """

    z0: float
    a: float
    name: str = "BCa"

    @classmethod
    def of(cls, gains: Gains, drawn: Floats, left_out: Floats) -> BCa:
        """Return the corrections for one estimate."""
        away = left_out.mean() - left_out
        squares = float(away @ away)
        a = float((away**3).sum()) / (6 * squares**1.5) if squares else 0.0
        return cls(_z(drawn, gains.estimate), a)

    def level(self, alpha: float) -> float:
        """Return which quantile of the resamples is the end of an interval."""
        z = self.z0 + float(special.ndtri(alpha))
        stretch = 1 - self.a * z
        return float(special.ndtr(self.z0 + z / stretch)) if stretch > 0 else float(z > 0)

    def alpha(self, z: float) -> float:
        """Return the error rate for which the end of the interval is the z-th quantile."""
        w = z - self.z0
        stretch = 1 + self.a * w
        return float(special.ndtr(w / stretch - self.z0)) if stretch > 0 else float(w > 0)


@dataclass(frozen=True, slots=True)
class Percentile:
    """Hesterberg's widening, since n units resampled vary too little, and not as Student's t."""

    count: int
    name: str = "percentile"

    def level(self, alpha: float) -> float:
        """Return which quantile of the resamples is the end of an interval."""
        return float(special.ndtr(self._widening * special.stdtrit(self.count - 1, alpha)))

    def alpha(self, z: float) -> float:
        """Return the error rate for which the end of the interval is the z-th quantile."""
        return float(special.stdtr(self.count - 1, z / self._widening))

    @property
    def _widening(self) -> float:
        return float((self.count / (self.count - 1)) ** 0.5)


def _z(drawn: Floats, value: float) -> float:
    """Return the normal quantile of the share of resamples below a value.

    It is kept within what that many resamples can know: half of one of them.
    """
    # Ties count half: with few different values a strict count would shift the interval.
    share = ((drawn < value).sum() + (drawn == value).sum() / 2) / len(drawn)
    least = 0.5 / len(drawn)
    return float(special.ndtri(np.clip(share, least, 1 - least)))


@dataclass(frozen=True, slots=True)
class _Ends:
    interval: Interval
    p_value: float
    kind: str


def _ends(gains: Gains, alpha: float) -> _Ends:
    """Return an interval that holds the estimate, with the p-value that belongs to it."""
    found = _by_quantiles(gains, alpha)
    if found is not None:
        return found
    spread = gains.spread
    return _Ends(spread.interval(alpha), spread.p_value(), "t")


def _by_quantiles(gains: Gains, alpha: float) -> _Ends | None:
    """Return the interval between two quantiles of the resamples; None where they are too few."""
    drawn = gains.drawn
    if drawn is None or gains.count < FEWEST_UNITS or alpha * len(drawn) < TAIL:
        return None
    left_out = gains.left_out
    how = Percentile(gains.count) if left_out is None else BCa.of(gains, drawn, left_out)
    levels = how.level(alpha), how.level(1 - alpha)
    # BCa may move an end so far out that it would rest on the one or two most extreme resamples.
    if min(levels[0], 1 - levels[1]) * len(drawn) < TAIL / 2:
        return None
    low, high = (float(end) for end in np.quantile(drawn, levels))
    # Quantiles of strongly skewed resamples may leave out the estimate itself.
    interval = Interval(min(low, gains.estimate), max(high, gains.estimate), 1 - 2 * alpha)
    return _Ends(interval, how.alpha(_z(drawn, 0.0)), how.name)


def inferred(versions: ResampledMetric, margin: Margin, draw: Draw, name: str) -> Inferred:
    """Return what resampled values say about a gain.

    Args:
        versions: The values.
        margin: What the rule requires.
        draw: How they were drawn.
        name: What was done, for a person.
    """
    gain = versions.of(Margin(margin.sign, 0.0, 0.0)).defined()
    excess = versions.of(margin).defined()
    if gain is None or excess is None:
        return Inferred(name, note="too many resamples leave the metric undefined")
    spread, telling = excess.spread, excess.telling()
    what = draw.units.name or "row"
    # No unit tells the two models apart, so that both intervals are a single point.
    if spread.error == 0 and excess.estimate == 0:
        nothing = Interval(0.0, 0.0, 1 - 2 * draw.alpha)
        return Inferred(name, nothing, nothing, note=too_few(0, draw.alpha, what))
    if spread.error == 0 or not enough(telling, draw.alpha):
        return Inferred(name, note=too_few(telling, draw.alpha, what))
    # The excess decides, and its p-value with it; the gain's own interval is for the reader.
    ends = _ends(excess, draw.alpha)
    return Inferred(
        f"{name}, {ends.kind}",
        gain=_ends(gain, draw.alpha).interval,
        excess=ends.interval,
        p_value=ends.p_value,
        smallest_detectable=gain.estimate - excess.estimate + spread.detectable(draw.alpha),
    )
