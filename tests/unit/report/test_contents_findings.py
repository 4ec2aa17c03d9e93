"""Findings: what is urgent first, and numbers of one kind beside each other."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.report.contents import found
from understudy.report.document import FindingView


def finding(result: str = "failed", level: str = "warn", **numbers: Any) -> FindingView:
    """Return a finding with some numbers."""
    return FindingView("drift", level, result, "it has moved", numbers)


def test_what_did_not_pass_comes_first() -> None:
    """Within that, what decides comes before what only warns; unknown words come last."""
    order = [("passed", "block"), ("failed", "warn"), ("odd", "odd"), ("failed", "reject")]
    made = found(tuple(finding(*one) for one in order))
    assert [(one.finding.result, one.finding.level) for one in made] == [
        ("failed", "reject"),
        ("failed", "warn"),
        ("passed", "block"),
        ("odd", "odd"),
    ]


def test_measures_become_bars_against_their_limit() -> None:
    """A bar is as long as its number says; those beyond the limit are told apart."""
    numbers = {"columns": 2, "limit": 0.1, "distance: a: b": 0.2, "distance: c": 0.05}
    (made,) = found((finding(**numbers),))
    (bars,) = made.bars
    assert (bars.measure, bars.limit_told) == ("distance", "0.1")
    assert [(bar.name, bar.value, bar.beyond) for bar in bars.bars] == [
        ("a: b", "0.200", True),
        ("c", "0.0500", False),
    ]
    assert bars.limit is not None
    assert bars.bars[0].width > bars.limit > bars.bars[1].width
    assert made.line == "columns 2"


def test_ranked_numbers_become_a_table() -> None:
    """One row for each place, whatever the order of the numbers; what lacks stays empty."""
    numbers = {"searched": 212, "rows_10": 7, "slice_2": "b", "rows_2": 203, "gain_2": -0.05111}
    (made,) = found((finding(**numbers),))
    assert made.table is not None
    assert made.table.head == ("rows", "slice", "gain")
    assert made.table.rows == (("203", "b", "\u22120.05111"), ("7", "", ""))
    assert made.line == "searched 212"


@settings(deadline=None)
@given(st.dictionaries(st.text(), st.one_of(st.none(), st.floats(), st.text())))
def test_any_numbers_can_be_laid_out(numbers: dict[str, Any]) -> None:
    """A guard may say whatever it likes; bars stay within the page."""
    (made,) = found((finding(**numbers),))
    assert all(0 <= bar.width <= 100 for bars in made.bars for bar in bars.bars)
