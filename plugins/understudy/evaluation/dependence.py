"""How much a mean of rows varies that depend on those before them in time.

The variance is estimated from the slowest cosines of the series, as Lazarus, Lewis, Stock and
Watson recommend ("HAR Inference: Recommendations for Practice", J. Business and Economic
Statistics 36, 2018): with B of them it has B degrees of freedom, and Student's t is its law
(Mueller, "HAC corrections for strongly autocorrelated time series", same journal 32, 2014).

How many there may be is estimated: the slower a cosine is, the less it misses of what the rows
share. A first-order autoregression is fitted, as for the bandwidth of Andrews ("Heteroskedasticity
and autocorrelation consistent covariance matrix estimation", Econometrica 59, 1991), its
coefficient corrected for the bias of short series (Marriott and Pope, "Bias in the estimation of
autocorrelations", Biometrika 41, 1954). So many cosines are taken as miss a tenth of the variance,
and what they miss is added (Andrews and Monahan, "An improved heteroskedasticity and
autocorrelation consistent covariance matrix estimator", Econometrica 60, 1992). None of them
repeats faster than every three days, so that what rows of one day share is seen as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from understudy.evaluation.columns import Floats

MOST_STRETCHES: Final = 2000
"""Stretches of time into which rows are added up: the slow cosines are the same in them."""
MISSED: Final = 0.1
"""Share of the variance that the cosines may miss under the fitted autoregression."""
_FEWEST: Final = 6
"""Cosines that are taken of however short a series, where nothing else forbids it."""
_MOST_DEPENDENT: Final = 0.98


@dataclass(frozen=True, slots=True)
class LongRun:
    """The variance of a series of numbers that depend on each other.

    Attributes:
        variance: Of one of them, with all that it shares with others: n of them have a mean with
            this variance by n.
        freedom: Its degrees of freedom, which is the number of cosines.
    """

    variance: float
    freedom: int


def long_run(series: Floats, days: int) -> LongRun:
    """Return the variance of a series.

    Args:
        series: Numbers in the order of time, whose mean is zero.
        days: On how many days they are.
    """
    count, size = len(series), float(abs(series).max())
    if count < 2 or not size:  # noqa: PLR2004 -- one number does not vary
        return LongRun(0.0, max(count - 1, 1))
    # Divided by the largest, so that squares of very large numbers do not overflow.
    scaled = series / size
    seen = _seen(scaled, days)
    angles = np.pi * (np.arange(count) + 0.5) / count
    waves = np.cos(np.outer(np.arange(1, len(seen) + 1), angles)) @ scaled
    # What the cosines miss under the autoregression is added, as Andrews and Monahan do.
    variance = 2 * float(waves @ waves) / count / float(seen.sum())
    return LongRun(variance * size**2, len(seen))


def _seen(series: Floats, days: int) -> Floats:
    """Return, for each cosine that is taken, the share of the variance that it shows."""
    count = len(series)
    # The first bound is that of Lazarus and others for series of whatever dependence.
    most = min(count - 1, max(_FEWEST, int(0.4 * count ** (2 / 3))))
    # Times that are dates are a series of days already.
    if 2 < days < count:  # noqa: PLR2004 -- of two days none would be left
        most = min(most, 2 * days // 3)
    squares = float(series @ series)
    slope = float(series[1:] @ series[:-1]) / squares if squares else 0.0
    slope = min(slope + (1 + 3 * slope) / count, _MOST_DEPENDENT)
    if slope <= 0:
        return np.ones(most)
    steps = np.arange(1, most + 1)
    # The spectrum of the autoregression at each cosine, by that at zero.
    seen = (1 - slope) ** 2 / (1 - 2 * slope * np.cos(np.pi * steps / count) + slope**2)
    kept = max(1, int((np.cumsum(seen) >= (1 - MISSED) * steps).sum()))
    return np.asarray(seen[:kept])
