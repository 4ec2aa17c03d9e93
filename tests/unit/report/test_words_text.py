"""Text of unknown origin becomes harmless and readable; numbers say as much as they know."""

from __future__ import annotations

import math
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.report.words import (
    LONGEST,
    count,
    number,
    percent,
    probability,
    said_above,
    shown,
    signed,
    stated,
)

JOINERS = {"\u200c", "\u200d"}


@given(st.text(st.characters(codec=None), max_size=50))
def test_nothing_unseen_is_left(text: str) -> None:
    """No control, no direction mark and no half of a character reaches a page."""
    made = shown(text)
    made.encode()
    unseen = {c for c in made if unicodedata.category(c) in {"Cc", "Cs", "Zl", "Zp"}} - {"\n", "\t"}
    assert not unseen
    assert not {c for c in made if unicodedata.bidirectional(c) in BIDI_MARKS} - JOINERS


BIDI_MARKS = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


def test_text_that_turns_around_is_shown_as_it_is_stored() -> None:
    """The right-to-left override of a well-known trick becomes its name."""
    assert shown("exe.\u202efdp") == "exe.[U+202E]fdp"
    assert shown("fam\u200dily") == "fam\u200dily"


@pytest.mark.parametrize("length", [LONGEST, LONGEST + 1, 100_000])
def test_text_that_never_ends_loses_its_middle(length: int) -> None:
    """Beginning and end stay, because names differ at their ends; the gap says its size."""
    text = "a" * (length - 1) + "z"
    made = shown(text)
    assert made.endswith("z")
    assert len(made) < LONGEST + 50
    assert ("more characters" in made) == (length > LONGEST)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "\u2013"),
        (0.0, "0"),
        (0.123456, "0.1235"),
        (-0.05, "\u22120.05000"),
        (59.8535, "59.85"),
        (1234567.0, "1,234,567"),
        (1.5e9, "1.500e+09"),
        (2e-5, "2.000e\u221205"),
        (math.nan, "not a number"),
        (-math.inf, "\u2212infinite"),
    ],
)
def test_numbers(value: float | None, text: str) -> None:
    """Four digits that count; the sign is a minus, not a hyphen."""
    assert number(value) == text


def test_differences_shares_and_p_values() -> None:
    """Each kind of number has its own look."""
    assert signed(0.5) == "+0.5000"
    assert signed(0.0) == "0"
    assert signed(math.inf) == "infinite"
    assert percent(0.4567) == "45.7 %"
    assert count(1234567) == "1,234,567"
    assert stated(0.05) == "0.05"
    assert probability(0.0) == "< 0.0001"
    assert probability(0.0321) == "0.0321"


@given(st.floats())
def test_any_number_can_be_shown(value: float) -> None:
    """There is no number that breaks a page."""
    assert all(f(value) for f in (number, signed, stated))


PLAIN = "With 46 rows, only a gain in rmse of about 6.3 could be told from luck"


@pytest.mark.parametrize(
    ("reason", "above"),
    [
        (f"{PLAIN}; rmse 61; gain 1.4; mae 50", (PLAIN,)),
        (f"{PLAIN}; rmse 61; it saw less", (PLAIN, "it saw less")),
        ("Reject by ann; verdict PROMOTE: rmse 61; gain 1.4", ("Reject by ann",)),
        (f"{PLAIN}; rmse 61; gai", (PLAIN,)),
        ("these tasks failed: train", ("these tasks failed: train",)),
    ],
)
def test_what_the_decision_tells_is_not_told_above_it(reason: str, above: tuple[str, ...]) -> None:
    """The first sentence stays; a tag of MLflow may be cut off."""
    assert said_above(reason, [f"{PLAIN}; rmse 61; gain 1.4", "mae 50"]) == above
