"""Simulated years of nights: how often luck is promoted, and how long a better model waits.

Every night brings a challenger. "Asked" is the one-sided error rate alpha, 1 minus the confidence.
Random numbers are seeded and bounds are those that a rate of alpha itself would break once in a
thousand times, so that the tests do not fail by chance and would fail for a rate clearly above.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy import stats

from understudy.evaluation import compare, load
from understudy.evaluation.inference import Draw, Margin
from understudy.evaluation.means import Shape
from understudy.evaluation.t_test import Losses, infer
from understudy.evaluation.units import Units
from understudy.gate import Gate, Metric, Score, Verdict, judge
from understudy.gate.checks import alpha_of

Floats = NDArray[np.float64]
NIGHTS = 365
ALPHA = 0.05
ROWS = 60


def at_most(nights: int, rate: float = ALPHA) -> float:
    """Return how many of some nights a rate exceeds once in a thousand times."""
    return float(stats.binom.ppf(0.999, nights, rate))


def promoted(ours: Floats, theirs: Floats, units: Units, shape: Shape = Shape.MEAN) -> bool:
    """Return whether the interval of the gain is above zero."""
    draw = Draw(units, ALPHA, 0)
    excess = infer(Losses(ours, theirs, None), shape, Margin(-1.0, 0.0, 0.0), draw).excess
    return excess is not None and excess.low > 0


def test_a_year_through_the_whole_gate(regression: Callable[..., pd.DataFrame]) -> None:
    """Equal models on fresh rows each night: predictions in, verdicts out."""
    gate = Gate(Metric("mae", min_gain=0.0, confidence=1 - ALPHA))
    verdicts, better = [], 0
    for night in range(NIGHTS):
        ours, theirs = (
            regression(ROWS, seed=seed).assign(row_id=np.arange(ROWS) + ROWS * night)
            for seed in (2 * night, 2 * night + 1)
        )
        evidence = compare(gate, load(ours), load(theirs), search=False)
        judged = judge(gate, Score("ours", {}), Score("theirs", {}), evidence=evidence)
        verdicts.append(judged.verdict)
        better += (evidence.comparisons[0].gain or 0.0) > 0
    assert verdicts.count(Verdict.PROMOTE) <= at_most(NIGHTS)
    assert verdicts.count(Verdict.REJECT) <= at_most(NIGHTS)
    assert better > 0.4 * NIGHTS  # what the plain comparison would have promoted


@pytest.mark.parametrize(
    "losses",
    [
        pytest.param(lambda rng, size: rng.normal(size=size) ** 2, id="squared errors"),
        pytest.param(lambda rng, size: rng.standard_t(3, size) ** 2, id="heavy tails"),
        pytest.param(lambda rng, size: rng.exponential(size=size), id="skewed"),
        pytest.param(lambda rng, size: (rng.random(size) < 0.1) * 1.0, id="rare errors"),
    ],
)
@pytest.mark.parametrize("shape", [Shape.MEAN, Shape.ROOT])
def test_fresh_rows_each_night(losses: object, shape: Shape) -> None:
    """The rate is what was asked or less, whatever the losses look like."""
    assert callable(losses)
    rng, nights = np.random.default_rng(1), 4 * NIGHTS
    draws = [losses(rng, (nights, ROWS)) for _ in range(2)]
    units = Units.of_rows(ROWS)
    wins = sum(promoted(a, b, units, shape) for a, b in zip(*draws, strict=True))
    assert wins <= at_most(nights)
    plain = (draws[0].mean(axis=1) < draws[1].mean(axis=1)).mean()
    assert plain > 0.35


def test_rows_of_a_day_are_named_as_such() -> None:
    """Rows that err together are no independent evidence: named, the rate is kept; else it is not.

    Ten days of twelve rows, whose differences share half of their variance.
    """
    rng, nights, days = np.random.default_rng(2), 2 * NIGHTS, np.repeat(np.arange(10), 12)
    clustered, as_rows = Units.of_keys(days, "1D"), Units.of_rows(120)
    wins = {"clustered": 0, "rows": 0}
    for _ in range(nights):
        gains = rng.normal(size=120) + rng.normal(size=10)[days]
        wins["clustered"] += promoted(np.zeros(120), gains, clustered)
        wins["rows"] += promoted(np.zeros(120), gains, as_rows)
    assert wins["clustered"] <= at_most(nights)
    assert wins["rows"] > 4 * ALPHA * nights


def years_on_one_holdout(years: int, better_by: float = 0.0) -> tuple[Floats, Floats]:
    """Return gains and one-sided p-values, shape (years, nights), of challengers on one holdout.

    The champion's errors on it stay the same for a year, so its good or bad luck does, too.
    """
    rng = np.random.default_rng(3)
    gains, p_values = np.empty((years, NIGHTS)), np.empty((years, NIGHTS))
    for year in range(years):
        rows = rng.exponential(size=ROWS) - rng.exponential(size=(NIGHTS, ROWS)) + better_by
        gains[year] = rows.mean(axis=1)
        error = rows.std(axis=1, ddof=1) / ROWS**0.5
        p_values[year] = stats.t.sf(gains[year] / error, ROWS - 1)
    return gains, p_values


def test_one_unchanged_holdout_all_year() -> None:
    """The chance of any false promotion within the year is what was asked or less.

    Without paying for repetition it is several times that, and the point comparison promotes luck
    in every year.
    """
    years = 400
    gains, p_values = years_on_one_holdout(years)
    levels = np.array([alpha_of(ALPHA, night) for night in range(NIGHTS)])
    assert (p_values <= levels).any(axis=1).sum() <= at_most(years)
    assert (p_values <= ALPHA).any(axis=1).mean() > 5 * ALPHA
    assert (gains > 0).any(axis=1).mean() > 0.99


def test_the_simulated_p_values_are_those_of_the_gate() -> None:
    """So the shortcut above simulates the product."""
    rng = np.random.default_rng(3)
    theirs, ours = rng.exponential(size=ROWS), rng.exponential(size=(NIGHTS, ROWS))
    _, p_values = years_on_one_holdout(1)
    for night in range(0, NIGHTS, 40):
        losses = Losses(ours[night], theirs, None)
        draw = Draw(Units.of_rows(ROWS), ALPHA, 0)
        found = infer(losses, Shape.MEAN, Margin(-1.0, 0.0, 0.0), draw)
        assert found.p_value == pytest.approx(p_values[0, night])


def nights_waited(better_by: float, rows: int) -> Floats:
    """Return after how many nights with fresh rows a model is promoted, in 300 tries.

    Args:
        better_by: Its gain, in standard deviations of the gain per row.
        rows: Rows of each night.
    """
    rng = np.random.default_rng(4)
    gains = rng.normal(better_by, 1, size=(300, 200, rows))
    t = gains.mean(axis=2) / (gains.std(axis=2, ddof=1) / rows**0.5)
    passed = t > stats.t.ppf(1 - ALPHA, rows - 1)
    assert passed.any(axis=1).all()
    return np.argmax(passed, axis=1) + 1.0


def test_how_long_a_better_model_waits() -> None:
    """One night by the power of the test: 1.25 nights where its gain is the smallest detectable."""
    waits = {d: nights_waited(d, 40).mean() for d in (0.1, 0.2, 0.4)}
    for better_by, nights in waits.items():
        power = stats.nct.sf(stats.t.ppf(1 - ALPHA, 39), 39, better_by * 40**0.5)
        assert nights == pytest.approx(1 / power, rel=0.2)
    detectable = (stats.t.ppf(0.95, 39) + stats.t.ppf(0.8, 39)) / 40**0.5
    assert nights_waited(detectable, 40).mean() == pytest.approx(1.25, abs=0.12)


def test_a_better_model_is_found_on_an_unchanged_holdout_as_well() -> None:
    """Paying for repetition delays a model that is clearly better by nights, not for ever."""
    levels = np.array([alpha_of(ALPHA, night) for night in range(NIGHTS)])
    _, p_values = years_on_one_holdout(100, better_by=0.7)
    found = p_values <= levels
    assert found[:, :30].any(axis=1).mean() > 0.75
