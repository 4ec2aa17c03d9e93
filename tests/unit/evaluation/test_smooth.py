"""The bootstrap of functions of means: SciPy's answer, in bounded memory, from a seed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from understudy.evaluation import load, means, smooth
from understudy.evaluation.columns import Codes
from understudy.evaluation.inference import Draw, Inferred, Margin
from understudy.evaluation.pairing import Pair, Rows, paired
from understudy.evaluation.units import Units

HIGHER = Margin(1.0, 0.0, 0.0)
F1 = means.binary(means.PER_CLASS["f1"])


@pytest.fixture(scope="module")
def two(
    regression: Callable[..., pd.DataFrame], classification: Callable[..., pd.DataFrame]
) -> Callable[..., Pair]:
    """Return what returns two models on so many rows: of classes, or of numbers."""

    def make(rows: int, *, numbers: bool = False) -> Pair:
        sample = regression if numbers else classification
        return paired(
            *(load(sample(rows, error=error, seed=seed)) for seed, error in ((1, 1.0), (2, 1.1)))
        )

    return make


def both(pair: Pair) -> tuple[Rows, Rows]:
    """Return challenger and champion."""
    assert pair.champion is not None
    return pair.challenger, pair.champion


def inferred(pair: Pair, draw: Draw, made: means.Means = F1, margin: Margin = HIGHER) -> Inferred:
    """Return what is inferred about the gain."""
    return smooth.infer(*both(pair), made, margin, draw)


def f1(truth: Codes, guess: Codes) -> float:
    """Return the textbook formula."""
    return float(2 * (truth & guess).sum() / (truth.sum() + guess.sum()))


def test_the_interval_is_scipys(two: Callable[..., Pair]) -> None:
    """The same BCa interval, up to the noise of drawing."""
    pair = two(300)
    challenger, champion = both(pair)
    truth = challenger.true_class

    def gain(rows: np.ndarray) -> float:
        index = rows.astype(int)
        ours, theirs = challenger.guessed_class[index], champion.guessed_class[index]
        return f1(truth[index], ours) - f1(truth[index], theirs)

    expected = stats.bootstrap(
        (np.arange(300.0),), gain, confidence_level=0.9, n_resamples=400, rng=1, method="BCa",
        vectorized=False,
    ).confidence_interval  # fmt: skip
    found = inferred(pair, Draw(Units.of_rows(300), 0.05, 0))
    assert found.gain is not None
    width = expected.high - expected.low
    assert found.gain.low == pytest.approx(expected.low, abs=0.1 * width)
    assert found.gain.high == pytest.approx(expected.high, abs=0.1 * width)
    assert found.method == "paired bootstrap, B=4000, units=300, BCa"


def test_the_seed_decides(two: Callable[..., Pair]) -> None:
    """The same seed gives the same numbers, another one others."""
    pair, units = two(200), Units.of_rows(200)
    first, again, other = (inferred(pair, Draw(units, 0.05, seed)) for seed in (1, 1, 2))
    assert first == again
    assert first.gain != other.gain


def test_the_p_value_belongs_to_the_interval(two: Callable[..., Pair]) -> None:
    """At an error rate a little above it the interval is above zero, a little below it is not."""
    pair, units = two(200, numbers=True), Units.of_rows(200)
    p_value = inferred(pair, Draw(units, 0.05, 0), means.R2).p_value
    assert p_value is not None
    assert 0.01 < p_value < 0.4
    wider, narrower = (
        inferred(pair, Draw(units, p_value * factor, 0), means.R2).excess for factor in (0.9, 1.1)
    )
    assert wider is not None
    assert narrower is not None
    assert wider.low < 0 < narrower.low


def test_random_groups_of_rows_are_as_good_as_rows(
    two: Callable[..., Pair], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What bounds the memory for ten million rows changes the interval by a few per cent."""
    pair, draw = two(6000, numbers=True), Draw(Units.of_rows(6000), 0.05, 0)
    rows = inferred(pair, draw, means.R2).gain
    monkeypatch.setattr(smooth, "MOST_UNITS", 600)
    grouped = inferred(pair, draw, means.R2)
    assert grouped.method == "paired bootstrap, B=4000, units=600, BCa"
    assert rows is not None
    assert grouped.gain is not None
    assert grouped.gain.high - grouped.gain.low == pytest.approx(rows.high - rows.low, rel=0.1)


def test_whole_clusters_are_drawn(two: Callable[..., Pair]) -> None:
    """Twenty copies of each row are no more evidence than the row."""
    pair = two(100)
    copied = pair.take(np.repeat(np.arange(100), 20))
    once = inferred(pair, Draw(Units.of_rows(100), 0.05, 0))
    units = Units.of_keys(np.repeat(np.arange(100), 20), "row")
    again = inferred(copied, Draw(units, 0.05, 0))
    assert once.gain is not None
    assert again.gain is not None
    assert again.gain.low == pytest.approx(once.gain.low)


@pytest.mark.parametrize(("rows", "alpha"), [(80, 1e-4), (39, 0.05)])
def test_tails_and_few_units_get_students_interval(
    two: Callable[..., Pair], rows: int, alpha: float
) -> None:
    """Resamples do not reach that far; the error is the jackknife's, written out."""
    pair = two(rows)
    challenger, champion = both(pair)
    found = inferred(pair, Draw(Units.of_rows(rows), alpha, 0))
    assert found.method == "jackknife over rows, t"

    def gain(keep: np.ndarray) -> float:
        truth = challenger.true_class[keep]
        ours, theirs = challenger.guessed_class[keep], champion.guessed_class[keep]
        return f1(truth, ours) - f1(truth, theirs)

    full = gain(np.arange(rows))
    left = np.array([gain(np.delete(np.arange(rows), row)) for row in range(rows)])
    error = ((rows - 1) / rows * ((left - full) ** 2).sum()) ** 0.5
    assert found.gain is not None
    assert found.gain.low == pytest.approx(full + error * stats.t.ppf(alpha, rows - 1))


def test_a_relative_margin_is_resampled_with_the_champion(two: Callable[..., Pair]) -> None:
    """The bound moves with the champion's value in each resample."""
    pair, draw = two(300, numbers=True), Draw(Units.of_rows(300), 0.05, 0)
    plain = inferred(pair, draw, means.R2)
    relative = inferred(pair, draw, means.R2, Margin(1.0, 0.1, 0.0))
    assert plain.excess is not None
    assert relative.excess is not None
    assert relative.gain == plain.gain
    width, moved = (e.high - e.low for e in (plain.excess, relative.excess))
    assert moved != pytest.approx(width, rel=1e-3)


def test_identical_models_and_units_without_say(
    classification: Callable[..., pd.DataFrame],
) -> None:
    """No difference has no p-value; one that no row changes has no interval."""
    one = paired(*(load(classification(60)) for _ in range(2)))
    same = inferred(one, Draw(Units.of_rows(60), 0.05, 0))
    assert same.excess is not None
    assert (same.excess.low, same.excess.high, same.p_value) == (0.0, 0.0, None)
    frame = classification(60).assign(target=["b"] * 3 + ["a"] * 57)
    never, always = frame.assign(prediction="a"), frame.assign(prediction=frame["target"])
    recall = means.binary(means.PER_CLASS["recall"])
    found = inferred(paired(load(always), load(never)), Draw(Units.of_rows(60), 0.05, 0), recall)
    assert found.excess is None
    assert found.note == "no row tells the two models apart"


def test_resamples_that_leave_a_metric_undefined(regression: Callable[..., pd.DataFrame]) -> None:
    """Explained variance of a target that is the same in almost all rows."""
    frame = regression(60).assign(target=[1.0] + [0.0] * 59)
    other = frame.assign(prediction=frame["prediction"] + 1)
    pair = paired(load(frame), load(other))
    found = inferred(pair, Draw(Units.of_rows(60), 0.05, 0), means.R2)
    assert found.excess is None
    assert found.note == "too many resamples leave the metric undefined"
