"""What is kept of rows: small, complete through JSON, and without values that name somebody."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.errors import DecisionError
from understudy.evaluation.guards import Profile, profile_of
from understudy.evaluation.guards.profile import LEVELS, ColumnProfile
from understudy.evaluation.guards.table import ValueKind

pytestmark = pytest.mark.unit

NUMBERS = st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), max_size=80)


@given(then=NUMBERS, now=NUMBERS)
def test_every_value_is_counted_once(then: list[float], now: list[float]) -> None:
    """Whatever the values were then, all that is known now falls somewhere."""
    column = ColumnProfile.of(pd.Series(then, dtype="float64"), ValueKind.NUMBER)
    assert sum(column.counts) == len(then)
    again = column.like(pd.Series([*now, np.nan], dtype="float64"))
    assert (sum(again.counts), again.missing, again.rows) == (len(now), 1, len(now) + 1)
    assert len(again.counts) == len(column.counts)


def test_bins_hold_equal_shares_and_what_lies_outside() -> None:
    """Twenty bins of the rows themselves; other rows beyond them are counted apart."""
    column = ColumnProfile.of(pd.Series(np.linspace(0, 1, 1001)), ValueKind.NUMBER)
    assert (column.counts[0], column.counts[-1]) == (0, 0)
    assert set(column.counts[1:-1]) <= {49, 50, 51}  # a value on an edge
    outside = column.like(pd.Series([-1.0, 0.0, 1.0, 2.0]))
    assert (outside.counts[0], outside.counts[-1]) == (1, 1)


def test_few_numbers_are_counted_one_by_one() -> None:
    """Hours are no quantiles."""
    column = ColumnProfile.of(pd.Series([0.0, 1.0, 2.0] * 10), ValueKind.NUMBER)
    assert (column.levels, column.counts) == (("0", "1", "2"), (10, 10, 10, 0))


def test_rare_texts_are_not_kept() -> None:
    """A value of fewer than five rows may be somebody's name."""
    rare = ["Ada Lovelace"] * 4 + [f"someone {n}" for n in range(50)]
    column = ColumnProfile.of(pd.Series(["north"] * 60 + rare), ValueKind.TEXT)
    assert column.levels == ("north",)
    few = ColumnProfile.of(pd.Series(["north"] * 600 + rare[:20]), ValueKind.TEXT)
    assert (few.levels, few.counts) == (("north",), (600, 20))


def test_many_texts_are_counted_where_they_were_not_chosen() -> None:
    """About half the rows; a text that is listed need not be frequent among these."""
    texts = pd.Series([f"street {n % 90}" for n in np.random.default_rng(1).permutation(1800)])
    column = ColumnProfile.of(texts, ValueKind.TEXT)
    assert len(column.levels) == LEVELS
    assert 800 < sum(column.counts) < 1000
    assert (column.rows, column.missing) == (1800, 0)
    whole = column.like(texts)
    assert sum(whole.counts) == 1800
    assert whole.counts[-1] == (90 - LEVELS) * 20


def test_through_json(
    frame: Callable[..., pd.DataFrame], night: Callable[..., Path], tmp_path: Path
) -> None:
    """It comes back whole, and is small."""
    profile = profile_of(night(tmp_path, frame(20_000), frame(200, seed=2)))
    document = profile.to_json()
    again = Profile.from_json(document)
    assert again.to_json() == document
    assert again.columns == profile.columns
    assert again.content.limit < 2**64
    assert len(document) < 200_000


@pytest.mark.parametrize(
    "document",
    ["", "[]", "{}", json.dumps({"schema": "understudy/profile/9"}), '{"schema": {}}'],
)
def test_what_is_no_profile(document: str) -> None:
    """It is refused in one sentence."""
    with pytest.raises(DecisionError, match="Found no profile of rows"):
        Profile.from_json(document)
