"""Which training rows are set aside to be scored."""

from __future__ import annotations

import pandas as pd
import pytest

from shared.errors import DataError
from tabular.split import ROW_ID, set_aside, with_row_ids

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
