"""Distances and chances of distributions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.evaluation.guards.drift import ALPHA, chance, credible, distance

pytestmark = pytest.mark.unit

PAIR = (
    st.integers(1, 12)
    .flatmap(
        lambda cells: st.tuples(
            *[st.lists(st.integers(0, 1000), min_size=cells, max_size=cells)] * 2
        )
    )
    .filter(lambda pair: all(map(sum, pair)))
)


@given(pair=PAIR)
def test_a_distance_is_one(pair: tuple[list[int], list[int]]) -> None:
    """Between 0 and 1, the same both ways, 0 for the same shares whatever the number of rows."""
    then, now = map(np.array, pair)
    assert 0 <= distance(then, now) <= 1
    assert math.isclose(distance(then, now), distance(now, then), abs_tol=1e-7)
    assert distance(then, 3 * then) < 1e-7


@given(pair=PAIR)
def test_a_chance_is_one(pair: tuple[list[int], list[int]]) -> None:
    """A number between 0 and 1 for any counts, 1 for the same shares."""
    then, now = map(np.array, pair)
    assert 0 <= chance(then, now) <= 1
    assert chance(then, then) > 1 - 1e-9


@pytest.mark.parametrize("counts", [([0, 0], [1, 2]), ([1, 2], [0, 0])])
def test_nothing_is_at_no_distance(counts: tuple[list[int], list[int]]) -> None:
    """A column without a value is not one that has not changed."""
    with pytest.raises(ValueError, match="rows cannot be compared with"):
        distance(*map(np.array, counts))


def test_half_a_standard_deviation_is_the_default_limit() -> None:
    """0.2 is what the documentation of ``Guards.drift_distance`` says it is."""
    draw = np.random.default_rng(0)
    then, now = draw.normal(size=200_000), draw.normal(0.5, size=200_000)
    edges = np.quantile(then, np.linspace(0, 1, 21)[1:-1])
    counts = [np.bincount(np.searchsorted(edges, x), minlength=20) for x in (then, now)]
    shares = [count / count.sum() for count in counts]
    stability = float(((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum())
    assert distance(*counts) == pytest.approx(0.2, abs=0.01)
    assert stability == pytest.approx(0.25, abs=0.02)


def test_equal_columns_rarely_raise_an_alarm() -> None:
    """Of 100 nights with 20 columns that did not change, at most 1 % say that one did."""
    draw = np.random.default_rng(1)
    alarms = 0
    for _ in range(100):
        pairs = [draw.multinomial(500, np.full(20, 0.05), size=2) for _ in range(20)]
        alarms += any(credible([chance(*pair) for pair in pairs]))
    assert alarms <= 100 * ALPHA


def test_nothing_to_tell() -> None:
    """No column has changed where there is none."""
    assert credible([]) == []
