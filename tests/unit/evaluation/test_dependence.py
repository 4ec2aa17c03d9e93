"""Rows in the order of time: error rates under the null, and what else the record says of it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from scipy import signal, special, stats

from understudy.evaluation import compare, load
from understudy.evaluation.columns import Floats
from understudy.evaluation.dependence import long_run
from understudy.evaluation.units import Units
from understudy.gate import Gate, Metric

pytestmark = pytest.mark.unit
SERIES, DAY = 600, 24


def autoregression(slope: float) -> Callable[[np.random.Generator, int], Floats]:
    """Return what draws series, shape (SERIES, rows), of numbers that depend on the last one."""

    def drawn(rng: np.random.Generator, rows: int) -> Floats:
        steps = rng.normal(size=(SERIES, rows + 200))
        return np.asarray(signal.lfilter([1.0], [1.0, -slope], steps)[:, 200:])

    return drawn


def days_in_common(rng: np.random.Generator, rows: int) -> Floats:
    """Return series of which the rows of a day share half of their variance."""
    shared = rng.normal(size=(SERIES, rows // DAY)).repeat(DAY, axis=1)
    return np.asarray(rng.normal(size=(SERIES, rows)) + shared)


def season(rng: np.random.Generator, rows: int) -> Floats:
    """Return series with the same swing each day, and dependence beside it."""
    return autoregression(0.8)(rng, rows) + 2 * np.sin(2 * np.pi * np.arange(rows) / DAY)


def rate(gains: Floats, alpha: float) -> float:
    """Return the share of series whose mean is called above zero."""
    count = gains.shape[1]
    called = 0
    for row in gains:
        found = long_run(row - row.mean(), count // DAY)
        t = row.mean() / (found.variance / count) ** 0.5
        called += t > special.stdtrit(found.freedom, 1 - alpha)
    return called / len(gains)


@pytest.mark.parametrize("days", [7, 21])
@pytest.mark.parametrize(
    "drawn",
    [
        pytest.param(autoregression(0.0), id="independent"),
        pytest.param(autoregression(0.5), id="0.5"),
        pytest.param(autoregression(0.8), id="0.8"),
        pytest.param(autoregression(0.95), id="0.95"),
        pytest.param(days_in_common, id="days in common"),
        pytest.param(season, id="a daily season"),
    ],
)
def test_the_error_rates_are_those_asked_for(
    drawn: Callable[[np.random.Generator, int], Floats], days: int
) -> None:
    """Under the null, within what 600 series say; a test of independent rows is far outside."""
    gains = drawn(np.random.default_rng(5), days * DAY)
    for alpha in (0.3, 0.05):
        # A quarter more is forgiven: the dependence is estimated from the same few days.
        most = stats.binom.ppf(0.999, SERIES, 1.25 * alpha) / SERIES
        assert rate(gains, alpha) <= most


def test_rows_taken_as_independent_would_break_them() -> None:
    """So the test above is able to fail."""
    gains = autoregression(0.95)(np.random.default_rng(5), 7 * DAY)
    t = gains.mean(axis=1) / stats.sem(gains, axis=1)
    assert (t > stats.t.ppf(0.95, 7 * DAY - 1)).mean() > 0.3


def test_of_independent_rows_hardly_anything_is_lost() -> None:
    """The variance is that of the sample, on average."""
    rng = np.random.default_rng(6)
    found = [long_run(row - row.mean(), 1) for row in rng.normal(size=(SERIES, 200))]
    assert np.mean([one.variance for one in found]) == pytest.approx(1.0, rel=0.1)
    assert np.median([one.freedom for one in found]) >= 10


def timed(regression: Callable[..., pd.DataFrame], rows: int, seed: int) -> pd.DataFrame:
    """Return predictions of one row an hour."""
    times = pd.date_range("2026-01-01", periods=rows, freq="h")
    return regression(rows, seed=seed).assign(time=times)


@pytest.mark.parametrize("name", ["mae", "rmse", "r2", "median_absolute_error"])
def test_the_record_says_how(regression: Callable[..., pd.DataFrame], name: str) -> None:
    """By default where rows have a time; not where something else is declared."""
    ours, theirs = (load(timed(regression, 240, seed)) for seed in (1, 2))
    (found,) = compare(Gate(Metric(name)), ours, theirs).comparisons
    assert "order" in found.method
    assert found.excess is not None
    for gate in (Gate(Metric(name), time_block=""), Gate(Metric(name), time_block="1h")):
        (other,) = compare(gate, ours, theirs).comparisons
        assert "order" not in other.method


def test_areas_are_taken_in_the_order_of_time(
    classification: Callable[..., pd.DataFrame],
) -> None:
    """By the influence of each row."""
    times = pd.date_range("2026-01-01", periods=240, freq="h")
    ours, theirs = (load(classification(240, seed=seed).assign(time=times)) for seed in (1, 2))
    (found,) = compare(Gate(Metric("roc_auc")), ours, theirs).comparisons
    assert "in the order of time" in found.method


def test_too_few_times_say_nothing_of_dependence(
    regression: Callable[..., pd.DataFrame],
) -> None:
    """Rows are independent then, and a note says so."""
    frames = [regression(40, seed=seed).assign(time=pd.Timestamp("2026-01-01")) for seed in (1, 2)]
    evidence = compare(Gate(Metric("mae")), *map(load, frames))
    assert "order" not in evidence.comparisons[0].method
    assert any("fewer than 5 different times" in note for note in evidence.notes)


def test_rows_of_one_time_stay_together() -> None:
    """Whatever their number, and the order is that of time, not of the rows."""
    units = Units.of_times(np.array([30, 10, 20, 10, 30]), np.zeros(5, dtype=np.int64))
    assert units.order is not None
    assert units.order.tolist() == [2, 0, 1, 0, 2]
    assert units.in_time(2).sums(np.ones(5)).sum() == 5
    assert units.take(np.array([0, 2])).order is None, "two times say nothing of dependence"
