"""Rows of a span of time are found among all, whatever their times are written as."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.evaluation import load
from understudy.evaluation.units import within

FIRST = datetime(2026, 1, 1, tzinfo=UTC)
HOURS = 48
TIMES = [FIRST + timedelta(hours=hour) for hour in range(HOURS)]
PLAIN = [time.replace(tzinfo=None) for time in TIMES]


def at(hour: float) -> str:
    """Return a moment so many hours after the first row."""
    return (FIRST + timedelta(hours=hour)).isoformat()


@given(ends=st.tuples(*[st.floats(-5, HOURS + 5)] * 2).map(sorted), seed=st.randoms())
def test_exactly_the_rows_of_the_span_are_left(
    regression: Callable[..., pd.DataFrame], ends: list[float], seed: object
) -> None:
    """Whatever their order; the first end is open, the last one closed."""
    frame = regression(HOURS, time=PLAIN)
    order = list(range(HOURS))
    seed.shuffle(order)  # type: ignore[attr-defined]
    found = within(load(frame.iloc[order]), at(ends[0]), at(ends[1]))
    after, until = (datetime.fromisoformat(at(end)) for end in ends)
    inside = [after < time <= until for time in TIMES]
    wanted = frame[inside]
    assert len(found) == len(wanted)
    if len(wanted):
        assert found.rows_sha256 == load(wanted).rows_sha256
        assert not found.problems
    else:
        assert "no row has a time after" in found.problems[0]


@pytest.mark.parametrize(
    "times",
    [
        pa.array(TIMES, pa.timestamp("us", "UTC")),
        pa.array(TIMES, pa.timestamp("ms", "Asia/Tokyo")),
        pa.array(PLAIN, pa.timestamp("ns")),
        pa.array([time.isoformat() for time in TIMES]),
        pa.array([time.isoformat() for time in PLAIN]),
    ],
)
def test_times_of_every_kind(
    regression: Callable[..., pd.DataFrame], times: pa.Array, tmp_path: Path
) -> None:
    """With zones, without, and as text."""
    table = pa.Table.from_pandas(regression(HOURS)).append_column("time", times)
    pq.write_table(table, tmp_path / "predictions.parquet")
    found = within(load(tmp_path / "predictions.parquet"), at(0), at(24))
    assert (len(found), found.problems) == (24, ())


@pytest.mark.parametrize(
    ("columns", "why"),
    [
        ({}, "lack a column 'time'"),
        ({"time": range(HOURS)}, "lack a column 'time' with the times"),
        ({"time": ["soon"] * HOURS}, "lack a column 'time' with the times"),
        ({"time": np.full(HOURS, "NaT", "datetime64[ns]")}, "none has a time"),
    ],
)
def test_rows_whose_time_nobody_knows(
    regression: Callable[..., pd.DataFrame], columns: dict[str, object], why: str
) -> None:
    """They are compared with nothing, and the reason says so."""
    frame = regression(HOURS, **columns)
    (problem,) = within(load(frame), at(0), at(24)).problems
    assert why in problem


def test_only_what_is_wrong_inside_the_span_counts(regression: Callable[..., pd.DataFrame]) -> None:
    """A target that has not come yet is no matter where its row is not looked at."""
    frame = regression(HOURS, time=PLAIN, weight=np.arange(HOURS) - 20.0)
    frame.loc[frame.index[-10:], "target"] = np.nan
    whole = load(frame)
    assert len(whole.problems) == 2
    assert not within(whole, at(20), at(30)).problems
    assert len(within(whole, at(10), at(30)).problems) == 1


def test_rows_without_a_time_are_named(regression: Callable[..., pd.DataFrame]) -> None:
    """They are in no span, and it is said how many there are."""
    frame = regression(HOURS, time=PLAIN)
    frame.loc[frame.index[:3], "time"] = None
    found = within(load(frame), at(0), at(24))
    assert (len(found), found.problems) == (22, ())
    assert found.notes == ("3 of 48 rows have no 'time' and are left out",)
