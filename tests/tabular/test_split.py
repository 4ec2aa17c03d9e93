"""Which training rows are set aside to be scored."""

from __future__ import annotations

import pandas as pd
import pytest

from shared.errors import DataError
from tabular.split import ROW_ID, set_aside, unseen, with_row_ids

pytestmark = pytest.mark.unit

ROWS = with_row_ids(pd.DataFrame({"x": range(400)}), ["x"])[0].assign(
    time=pd.date_range("2026-01-01", periods=400, freq="h", tz="UTC")
)


def test_a_row_stays_where_it_is() -> None:
    """By hash: about the share that was asked for, the same rows when others come."""
    aside = set_aside(ROWS, "", 0.25)
    assert 70 < aside.sum() < 130
    fewer = set_aside(ROWS.iloc[50:], "", 0.25)
    assert fewer.equals(aside.iloc[50:])
    assert set(ROWS[set_aside(ROWS, "", 0.1)][ROW_ID]) < set(ROWS[aside][ROW_ID])


def test_the_newest_rows_are_aside_where_rows_have_a_time() -> None:
    """Nothing that was fitted is later than what is scored."""
    aside = set_aside(ROWS, "time", 0.25)
    assert aside.sum() == 100
    assert ROWS[~aside]["time"].max() < ROWS[aside]["time"].min()


def test_none_or_too_few() -> None:
    """0 sets nothing aside; a part too small to say anything is an error."""
    assert not set_aside(ROWS, "", 0.0).any()
    with pytest.raises(DataError, match=r"0\.01 of 400 training rows leaves"):
        set_aside(ROWS, "", 0.01)


@pytest.mark.parametrize("time", ["", "time"])
def test_what_no_trial_sees(time: str) -> None:
    """Of many rows the share, of few at least ten, of very few none; equal ones stay together."""
    assert unseen(ROWS, time, 0.1).sum() == 40
    assert unseen(ROWS.head(60), time, 0.1).sum() == 10
    for rows, fraction in ((ROWS.head(39), 0.1), (ROWS, 0.0)):
        assert not unseen(rows, time, fraction).any()
    whose = pd.Series(range(400)) // 8
    grouped, _ = with_row_ids(pd.DataFrame({"patient": whose, "x": range(400)}), ["patient"])
    grouped["time"] = ROWS["time"].iloc[whose].to_numpy()
    aside = unseen(grouped, time, 0.1)
    assert 40 <= aside.sum() < 48
    assert not set(whose[aside]) & set(whose[~aside])
    assert not unseen(grouped.assign(row_id="0" * 16 + "-0", time=ROWS["time"][0]), time, 0.1).any()
