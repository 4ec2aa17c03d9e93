"""Any metric: resampled rows, or large groups of rows left out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from understudy.evaluation import load, reevaluated
from understudy.evaluation.catalogue import find
from understudy.evaluation.inference import Draw, Inferred, Margin
from understudy.evaluation.metrics import Definition
from understudy.evaluation.pairing import paired
from understudy.evaluation.units import Units

LOWER = Margin(-1.0, 0.0, 0.0)


@pytest.fixture(scope="module")
def inferred(regression: Callable[..., pd.DataFrame]) -> Callable[..., Inferred]:
    """Return what infers, from so many rows or groups of them, a metric of two models."""

    def infer(name: str, rows: int, *, groups: int = 0, alpha: float = 0.05) -> Inferred:
        two = (load(regression(rows, error=e, seed=s)) for s, e in ((1, 1), (2, 1.3)))
        pair, units = paired(*two), Units.of_rows(rows)
        if groups:
            units = Units.of_keys(np.arange(rows) * groups // rows, "group")
        definition = find(name)
        assert isinstance(definition, Definition)
        assert pair.champion is not None
        draw = Draw(units, alpha, 0)
        return reevaluated.infer(pair.challenger, pair.champion, definition, LOWER, draw)

    return infer


def test_a_median_is_resampled(
    regression: Callable[..., pd.DataFrame], inferred: Callable[..., Inferred]
) -> None:
    """The percentile interval of SciPy's bootstrap, widened as for 150 rows."""
    ours, theirs = (regression(150, error=e, seed=s) for s, e in ((1, 1), (2, 1.3)))
    errors = [abs(f["target"] - f["prediction"]).to_numpy() for f in (ours, theirs)]

    def gain(a: np.ndarray, b: np.ndarray, axis: int) -> np.ndarray:
        return np.median(b, axis=axis) - np.median(a, axis=axis)

    expected = stats.bootstrap(
        errors,
        gain,
        paired=True,
        confidence_level=0.9,
        n_resamples=4000,
        rng=1,
        method="percentile",
    ).confidence_interval
    found = inferred("median_absolute_error", 150)
    assert found.method == "paired bootstrap of rows, B=1000, units=150, percentile"
    assert found.gain is not None
    width = expected.high - expected.low
    assert found.gain.low == pytest.approx(expected.low, abs=0.1 * width)
    assert found.gain.high == pytest.approx(expected.high, abs=0.1 * width)


def test_groups_of_many_rows_are_left_out(
    inferred: Callable[..., Inferred], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thirty evaluations give about the width that many resamples give."""
    resampled = inferred("median_absolute_error", 15_000)
    assert resampled.method == "paired bootstrap of rows, B=266, units=15000, percentile"
    monkeypatch.setattr(reevaluated, "MOST_ROWS", 10_000)
    grouped = inferred("median_absolute_error", 15_000)
    assert grouped.method == "jackknife, groups=30, t"
    assert resampled.gain is not None
    assert grouped.gain is not None
    widths = [gain.high - gain.low for gain in (resampled.gain, grouped.gain)]
    assert widths[1] == pytest.approx(widths[0], rel=0.35)


def test_whole_groups_are_resampled(inferred: Callable[..., Inferred]) -> None:
    """Units that are groups keep their rows together."""
    assert inferred("median_absolute_error", 60, groups=30).method.endswith("units=30, t")


def test_too_few_units(inferred: Callable[..., Inferred]) -> None:
    """Of a metric of which nothing is known, nothing is claimed from nineteen of them."""
    found = inferred("median_absolute_error", 300, groups=19)
    assert found.excess is None
    assert found.note == "19 groups are fewer than 20"


def test_an_extreme_value_has_no_interval(inferred: Callable[..., Inferred]) -> None:
    """The largest of resampled errors is never above the largest error."""
    found = inferred("max_error", 300)
    assert found.excess is None
    assert found.note == "no resampling says how an extreme value varies"
