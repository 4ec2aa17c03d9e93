"""The interval plot shows what decides: the interval of the excess, on the axis of the gain."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.report.document import CheckView, IntervalView
from understudy.report.pictures import deciding, panels, rule_in_words

CHECK = CheckView(
    metric="mae",
    rule="min_gain",
    slice="",
    result="passed",
    reason="mae is better",
    bound=0.1,
    needed=0.1,
    challenger=0.5,
    champion=0.8,
    gain=0.3,
    interval=IntervalView(0.2, 0.4, 0.9),
    excess=IntervalView(0.1, 0.3, 0.9),
    rows=100,
    groups=100,
    p_value=0.001,
    effect_size=0.4,
    smallest_detectable=0.2,
    method="paired mean (t)",
    note="",
    mcnemar={},
)
ABSOLUTE = replace(CHECK, rule="at_least", interval=None, excess=None, gain=None)
RELATIVE = {"mae": "%"}
numbers = st.one_of(st.none(), st.floats())
intervals = st.one_of(
    st.none(),
    st.tuples(st.floats(allow_nan=False), st.floats(allow_nan=False)).map(
        lambda ends: IntervalView(*sorted(ends), 0.9)
    ),
)


def test_an_absolute_bound_shows_the_gains_own_interval() -> None:
    """Moved back by what is needed, the excess is the gain again."""
    found = deciding(CHECK)
    assert found is not None
    assert (found.low, found.high) == pytest.approx((0.2, 0.4))


def test_a_relative_bound_shows_what_is_not_known_of_the_champion() -> None:
    """The interval that decides is wider than that of the gain, and it is the one drawn."""
    found = deciding(replace(CHECK, excess=IntervalView(-0.05, 0.45, 0.9)))
    assert found is not None
    assert (found.low, found.high) == pytest.approx((0.05, 0.55))


@pytest.mark.parametrize(("low", "differs"), [(0.1, False), (-0.05, True)])
def test_a_bar_that_is_not_the_gains_interval_is_explained_where_it_is_seen(
    low: float, *, differs: bool
) -> None:
    """The reasons name the interval of the gain; the bar may hold more."""
    (panel,) = panels([replace(CHECK, excess=IntervalView(low, 0.3, 0.9))], RELATIVE)
    assert ("hold that, too" in panel.note) == differs


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, "must be better than the champion\u2019s by at least 0.1"),
        ({"bound": 0.0}, "must not be worse than the champion\u2019s"),
        ({"rule": "max_loss"}, "may be worse than the champion\u2019s by at most 0.1"),
        ({"rule": "at_least"}, "must be at least 0.1"),
        ({"rule": "at_most", "bound": 12.5}, "must be at most 12.5"),
    ],
)
def test_rules_in_words(change: dict[str, Any], words: str) -> None:
    """A rule is the rest of a sentence that begins with the metric."""
    assert rule_in_words(replace(CHECK, **change), relative="") == words


def test_relative_rules_are_told_in_percent() -> None:
    """Only of bounds that compare: an absolute one of the same metric stays as it is."""
    assert rule_in_words(CHECK, relative="%").endswith("at least 10 %")
    assert rule_in_words(ABSOLUTE, relative="%") == "must be at least 0.1"


def test_one_panel_for_each_rule_in_the_order_of_the_record() -> None:
    """Slices of one rule share an axis; another bound of the same metric has its own."""
    north = replace(CHECK, slice="region=north")
    found = panels([CHECK, ABSOLUTE, north], {})
    assert [len(panel.rows) for panel in found] == [2, 1]
    assert [row.name for row in found[0].rows] == ["all rows", "region=north"]
    assert found[0].axis.startswith("gain in mae")
    assert found[1].axis == "mae of the challenger"


def test_the_side_that_passes() -> None:
    """It is right of the bound, of ``at_most`` left of it."""
    (panel,), (other,) = (panels([one], {}) for one in (CHECK, replace(ABSOLUTE, rule="at_most")))
    assert panel.rows[0].allowed == (panel.rows[0].bound, 100)
    assert other.rows[0].allowed == (0, other.rows[0].bound)
    assert other.rows[0].champion is not None


def test_one_vast_interval_does_not_hide_the_others() -> None:
    """It is cut, which shows; the others keep a width that can be seen."""
    vast = replace(CHECK, slice="few", excess=IntervalView(-500.0, 500.0, 0.9))
    (panel,) = panels([CHECK, CHECK, vast], {})
    first, _, last = panel.rows
    assert last.cut == {"low", "high"}
    assert not first.cut
    assert first.high is not None
    assert first.low is not None
    assert first.high - first.low > 10


def test_a_check_without_numbers_says_why() -> None:
    """There is no axis where nothing can stand on it."""
    nothing = dict.fromkeys(("gain", "interval", "excess", "needed"))
    (panel,) = panels([replace(CHECK, **nothing)], RELATIVE)  # type: ignore[arg-type]
    assert panel.ticks == ()
    assert (panel.rows[0].told, panel.rows[0].numbers) == ("mae is better", "")


@settings(deadline=None)
@given(st.lists(st.tuples(numbers, numbers, numbers, intervals), min_size=1, max_size=6))
def test_any_numbers_can_be_drawn(
    many: list[tuple[float | None, float | None, float | None, IntervalView | None]],
) -> None:
    """Whatever a record holds, every place is within the panel, and low is left of high."""
    checks = [
        replace(CHECK, gain=gain, needed=needed, champion=champion, excess=excess)
        for gain, needed, champion, excess in many
    ]
    for rule in ("min_gain", "at_most"):
        for panel in panels([replace(one, rule=rule) for one in checks], RELATIVE):
            for row in panel.rows:
                places = (row.point, row.low, row.high, row.bound, row.champion)
                known = [place for place in places if place is not None]
                assert all(math.isfinite(place) and 0 <= place <= 100 for place in known)
                assert row.low is None or row.high is None or row.low <= row.high
