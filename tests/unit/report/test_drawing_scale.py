"""Axes: every number has its place, and ticks are round."""

from __future__ import annotations

import math
import sys

from hypothesis import example, given
from hypothesis import strategies as st

from understudy.report.drawing import Scale

numbers = st.floats()


@given(st.lists(st.one_of(st.none(), numbers), max_size=20))
@example([-sys.float_info.max, sys.float_info.max])
@example([0.0, 5e-324])
@example([1e16, 1e16 + 2])
@example([1e-310, 2e-310])
def test_any_numbers_fit_on_an_axis(values: list[float | None]) -> None:
    """Places are percent, in the order of the values; ticks lie on the axis and are few."""
    scale = Scale.over(values)
    known = sorted(value for value in values if value is not None and math.isfinite(value))
    places = [scale.at(value) for value in known]
    assert places == sorted(places)
    assert all(0 <= place <= 100 for place in places)
    ticks = scale.ticks()
    assert len(ticks) <= 21
    assert all(0 <= tick.at <= 100 for tick in ticks)


@given(st.floats(allow_nan=False), st.floats(allow_nan=False), numbers)
@example(0.0, 5e-324, 0.0)
@example(-1.7e308, 1.7e308, 1e200)
@example(-math.inf, math.inf, 0.0)
@example(1e140, 1e140, 1e140)
def test_any_two_ends_make_an_axis(one: float, other: float, value: float) -> None:
    """A finding's numbers and a histogram's edges may be of any size."""
    scale = Scale(min(one, other), max(one, other))
    assert scale.low < scale.high
    assert all(0 <= tick.at <= 100 for tick in (*scale.ticks(), *scale.mirrored_ticks()))
    assert math.isnan(value) or 0 <= scale.at(value) <= 100


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_ticks_are_several_and_differ(low: float, width: float) -> None:
    """An axis can be read: two ticks at least, no two with the same label."""
    labels = [tick.label for tick in Scale.over([low, low + width]).ticks()]
    assert len(labels) >= 2
    assert len(set(labels)) == len(labels)


def test_what_lies_beyond_stands_at_the_end() -> None:
    """A value that the axis does not hold is drawn at its nearer end."""
    scale = Scale(0.0, 10.0)
    assert (scale.at(-5), scale.at(2.5), scale.at(99)) == (0, 25, 100)
    assert (scale.up(2.5), scale.holds(99)) == (75, False)
    assert [tick.label for tick in scale.ticks()] == ["0", "2", "4", "6", "8", "10"]
