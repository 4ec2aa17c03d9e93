"""Paired means: textbook values with rows as units, the jackknife's with clusters."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from understudy.evaluation.inference import Draw, Inferred, Margin
from understudy.evaluation.means import Shape
from understudy.evaluation.t_test import Losses, infer, spread
from understudy.evaluation.units import Units

Floats = NDArray[np.float64]
LOWER = Margin(-1.0, 0.0, 0.0)
RNG = np.random.default_rng(3)
OURS, THEIRS = RNG.exponential(1.0, 80), RNG.exponential(1.1, 80)


def draw(rows: int, alpha: float = 0.05, groups: int = 0) -> Draw:
    """Return how to infer from rows, or from groups of neighbours."""
    codes = np.arange(rows) % groups if groups else None
    units = Units.of_rows(rows) if codes is None else Units.of_keys(codes, "group")
    return Draw(units, alpha, 0)


def inferred(
    ours: Floats, theirs: Floats, margin: Margin = LOWER, shape: Shape = Shape.MEAN
) -> Inferred:
    """Return what unweighted rows say."""
    return infer(Losses(ours, theirs, None), shape, margin, draw(len(ours)))


def test_rows_give_the_paired_t_test() -> None:
    """Interval, p-value and effect size are those of SciPy's paired test."""
    expected = stats.ttest_rel(THEIRS, OURS, alternative="greater")
    low, high = stats.ttest_rel(THEIRS, OURS).confidence_interval(0.9)
    found = inferred(OURS, THEIRS)
    assert found.excess == found.gain
    assert found.gain is not None
    assert (found.gain.low, found.gain.high) == pytest.approx((low, high))
    assert found.gain.confidence == pytest.approx(0.9)
    assert found.p_value == pytest.approx(expected.pvalue)
    assert found.effect_size == pytest.approx((THEIRS - OURS).mean() / (THEIRS - OURS).std(ddof=1))


def test_a_relative_margin_is_taken_jointly_with_the_champion() -> None:
    """1 % better than the champion is the test of 0.99 times its loss against the challenger's."""
    expected = stats.ttest_rel(0.99 * THEIRS, OURS, alternative="greater")
    found = inferred(OURS, THEIRS, Margin(-1.0, 0.01, 0.0))
    assert found.p_value == pytest.approx(expected.pvalue)


def test_an_absolute_margin_moves_the_interval() -> None:
    """Not worse by more than 0.2."""
    expected = stats.ttest_rel(THEIRS + 0.2, OURS, alternative="greater")
    found = inferred(OURS, THEIRS, Margin(-1.0, 0.0, -0.2))
    assert found.p_value == pytest.approx(expected.pvalue)
    assert found.excess is not None
    assert found.gain is not None
    assert found.excess.low - found.gain.low == pytest.approx(0.2)


@pytest.mark.parametrize("share", [0.0, 0.05, -0.1])
def test_a_root_is_decided_by_its_square(share: float) -> None:
    """Rmse 5 % better is mse 9.75 % better: the same rows, the same p-value."""
    wanted = (1 - share) ** 2 * THEIRS
    expected = stats.ttest_rel(wanted, OURS, alternative="greater")
    found = inferred(OURS, THEIRS, Margin(-1.0, share, 0.0), Shape.ROOT)
    assert found.p_value == pytest.approx(expected.pvalue)
    assert found.excess is not None
    middle = (found.excess.low + found.excess.high) / 2
    assert middle == pytest.approx((1 - share) * THEIRS.mean() ** 0.5 - OURS.mean() ** 0.5)


@pytest.mark.parametrize("amount", [0.0, 0.02, -0.3, 5.0])
def test_a_root_with_an_absolute_margin_is_the_delta_method(amount: float) -> None:
    """Its estimate is exact, its width that of the jackknife of the roots."""
    found = inferred(OURS, THEIRS, Margin(-1.0, 0.0, amount), Shape.ROOT)
    assert found.excess is not None
    roots = THEIRS.mean() ** 0.5 - OURS.mean() ** 0.5
    assert (found.excess.low + found.excess.high) / 2 == pytest.approx(roots - amount)
    if amount < 1:
        left = [
            np.delete(THEIRS, i).mean() ** 0.5 - np.delete(OURS, i).mean() ** 0.5 for i in range(80)
        ]
        error = (79 / 80 * ((np.array(left) - roots) ** 2).sum()) ** 0.5
        half = error * stats.t.ppf(0.95, 79)
        assert (found.excess.high - found.excess.low) / 2 == pytest.approx(half, rel=0.06)


def test_a_perfect_champion_cannot_be_beaten() -> None:
    """Its root has no slope at zero, and nothing is divided by it."""
    found = inferred(OURS, np.zeros(80), Margin(-1.0, 0.01, 0.0), Shape.ROOT)
    assert found.p_value is not None
    assert found.p_value > 0.99


@given(st.integers(2, 20), st.integers(0, 2**32 - 1))
def test_clusters_are_left_out_one_at_a_time(groups: int, seed: int) -> None:
    """The error is the jackknife's, written out, for any sizes and weights of clusters."""
    rng = np.random.default_rng(seed)
    rows, weight = rng.normal(size=60), rng.uniform(0.1, 2, 60)
    keys = np.concatenate([np.arange(groups), rng.integers(0, groups, 60 - groups)])
    full = np.average(rows, weights=weight)
    left = [np.average(rows[keys != g], weights=weight[keys != g]) for g in range(groups)]
    found = spread(rows, weight, Units.of_keys(keys, "group"))
    assert found is not None
    expected = ((groups - 1) / groups * ((np.array(left) - full) ** 2).sum()) ** 0.5
    assert found.error == pytest.approx(expected)
    assert found.estimate == pytest.approx(full)
    assert found.freedom == groups - 1


def test_rows_that_belong_together_are_worth_less() -> None:
    """Ten copies of each row are no more evidence than the row."""
    rows = np.repeat(OURS - THEIRS, 10)
    single = spread(OURS - THEIRS, None, Units.of_rows(80))
    copied = spread(rows, None, Units.of_keys(np.repeat(np.arange(80), 10), "row"))
    assert single is not None
    assert copied is not None
    assert copied.error == pytest.approx(single.error)


def test_one_unit_has_no_spread() -> None:
    """Neither has one that holds all the weight."""
    assert spread(OURS, None, Units.of_keys(np.zeros(80, dtype=np.int64), "group")) is None
    assert spread(OURS, np.eye(80)[0], Units.of_rows(80)) is None


@pytest.mark.parametrize("rows", [2, 3, 4])
def test_few_rows_that_agree_are_no_proof(rows: int) -> None:
    """Four rows that all favour the challenger do so by chance in one of sixteen cases."""
    found = inferred(np.zeros(rows), np.ones(rows))
    assert found.excess is None
    assert (
        found.note == f"only {rows} rows tell the two models apart; it takes 5 at this confidence"
    )


def test_rows_on_which_both_are_alike_do_not_count() -> None:
    """Three rows of a thousand tell the two apart: as good as three rows."""
    ours, theirs = np.ones(1000), np.ones(1000)
    theirs[:3] = 5.0
    assert inferred(ours, theirs).excess is None


def test_identical_models() -> None:
    """The gain is zero, without a p-value, which says that nothing was tested."""
    found = inferred(OURS, OURS)
    assert found.excess is not None
    assert (found.excess.low, found.excess.high, found.p_value) == (0.0, 0.0, None)
    assert found.note == "no row tells the two models apart"


def test_the_smallest_detectable_gain_is_found_four_times_in_five() -> None:
    """Power of 80 %: a model that is better by just that passes in 80 % of holdouts."""
    rng, passed, nights = np.random.default_rng(5), 0, 1500
    for _ in range(nights):
        noise = rng.normal(size=60)
        detectable = inferred(noise, noise - rng.normal(size=60)).smallest_detectable
        assert detectable is not None
        again = inferred(np.zeros(60), rng.normal(size=60) + 0.3244).excess
        passed += again is not None and again.low > 0
    # (t(0.95, 59) + t(0.8, 59)) / sqrt(60) = 0.3244
    assert passed / nights == pytest.approx(0.8, abs=0.03)
    assert detectable == pytest.approx(0.3244, rel=0.4)
