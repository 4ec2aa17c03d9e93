"""Error rates that are spent over nights and over rules never add up to more than was asked."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.gate.checks import alpha_of, violations

shares = st.floats(1e-9, 1.0)


def test_what_is_spent_over_all_challengers_is_what_was_asked() -> None:
    """The first hundred thousand come within a hundred-thousandth of all of it, from below."""
    spent = math.fsum(alpha_of(0.05, before) for before in range(100_000))
    assert 0.05 * (1 - 1e-5) < spent < 0.05


def test_a_later_challenger_needs_more() -> None:
    """The second has a quarter of the first's error rate, the tenth a hundredth."""
    assert alpha_of(0.05, 1) == pytest.approx(alpha_of(0.05, 0) / 4)
    assert alpha_of(0.05, 9) == pytest.approx(alpha_of(0.05, 0) / 100)


@pytest.mark.parametrize(
    ("p_values", "expected"),
    [
        ([], ()),
        ([0.05], (True,)),
        ([0.051], (False,)),
        # Holm's own example of steps: 0.05 / 3, then 0.05 / 2, then 0.05.
        ([0.01, 0.02, 0.04], (True, True, True)),
        ([0.04, 0.01, 0.03], (False, True, False)),
        ([0.017, 0.017, 0.017], (False, False, False)),
    ],
)
def test_violations_step_down(p_values: list[float], expected: tuple[bool, ...]) -> None:
    """The smallest must reach alpha / m, the next alpha / (m - 1), and none after a miss."""
    assert violations([(p_value, 0.05) for p_value in p_values]) == expected


@given(st.lists(st.tuples(shares, st.sampled_from([0.01, 0.05, 0.1])), max_size=8))
def test_violations_do_not_depend_on_order_and_are_no_more_than_without_correction(
    evidence: list[tuple[float, float]],
) -> None:
    """Each one that is called violated is so by its own error rate."""
    found = violations(evidence)
    assert violations(evidence[::-1]) == found[::-1]
    for (p_value, alpha), violated in zip(evidence, found, strict=True):
        assert not violated or p_value <= alpha


@given(st.lists(shares, min_size=1, max_size=8), st.integers(0, 7), st.floats(0, 1))
def test_more_evidence_against_one_rule_never_acquits_any(
    p_values: list[float], which: int, factor: float
) -> None:
    """A smaller p-value only adds violations."""
    before = violations([(p, 0.05) for p in p_values])
    p_values[which % len(p_values)] *= factor
    after = violations([(p, 0.05) for p in p_values])
    assert all(now or not then for then, now in zip(before, after, strict=True))
