"""What counts as one piece of evidence."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from understudy.evaluation import load
from understudy.evaluation.pairing import paired
from understudy.evaluation.units import Units, units_of, unnamed


@pytest.fixture(scope="module")
def of(regression: Callable[..., pd.DataFrame]) -> Callable[..., Units | str]:
    """Return what returns the units of six rows with some columns."""

    def make(cluster: str = "", time_block: str = "", **columns: object) -> Units | str:
        pair = paired(load(regression(6, **columns)), None)
        return units_of(pair, cluster, time_block)

    return make


def test_rows_are_the_default(of: Callable[..., Units | str]) -> None:
    """Each row is one of its own."""
    found = of()
    assert isinstance(found, Units)
    assert (found.count, found.codes) == (6, None)


@pytest.mark.parametrize(
    ("values", "count"),
    [
        (["a", "a", "b", "b", "c", "c"], 3),
        ([1, 1, 1, 2, 2, 2], 2),
        ([1.5, np.nan, np.nan, 2, 2, 2], 3),
        (["a", None, None, "b", "b", "b"], 3),
    ],
)
def test_a_column_says_which_rows_belong_together(
    of: Callable[..., Units | str], values: list[object], count: int
) -> None:
    """Numbers, text; rows without a value are one unit, the careful way."""
    found = of("customer", customer=values)
    assert isinstance(found, Units)
    assert found.count == count
    assert found.sums(np.ones(6)).sum() == 6


@pytest.mark.parametrize(
    ("block", "count"), [("1h", 6), ("12h", 4), ("1D", 3), ("2D", 2), ("1W", 1), ("30m", 6)]
)
@pytest.mark.parametrize("as_text", [False, True])
def test_blocks_of_time(
    of: Callable[..., Units | str], block: str, count: int, *, as_text: bool
) -> None:
    """Counted from the beginning of 1970 in UTC, whatever the zone; 2026-01-02 is a Friday."""
    hours = [0, 6, 18, 24, 30, 54]
    times = pd.Timestamp("2026-01-02 00:30") + pd.to_timedelta(hours, unit="h")
    shown = [time.isoformat() + "+00:00" for time in times] if as_text else times
    found = of("", block, time=shown)
    assert isinstance(found, Units)
    assert found.count == count


@pytest.mark.parametrize(
    ("arguments", "columns", "reason"),
    [
        (("custmer", ""), {"customer": 1}, r"lack the column 'custmer'.*did you mean 'customer'"),
        (("", "1D"), {}, "lack the column 'time' to group by; they have nothing"),
        (("", "1D"), {"time": 5.0}, "the column 'time' holds no times"),
        (("", "1D"), {"time": "yesterday"}, "the column 'time' holds no times"),
    ],
)
def test_units_that_the_rows_do_not_name(
    of: Callable[..., Units | str],
    arguments: tuple[str, str],
    columns: dict[str, object],
    reason: str,
) -> None:
    """The reason says what is there."""
    found = of(*arguments, **columns)
    assert isinstance(found, str)
    assert re.search(reason, found)


def test_random_groups_hold_every_row_once() -> None:
    """Neighbours together, sizes as equal as they can be."""
    merged = Units.of_rows(1003).merged(100)
    sizes = merged.sums(np.ones(1003))
    assert (merged.count, sizes.sum()) == (100, 1003)
    assert set(sizes) == {10, 11}
    clusters = Units.of_keys(np.arange(1003) // 2, "pair").merged(100)
    assert clusters.sums(np.ones(1003)).sum() == 1003


def test_units_of_some_rows() -> None:
    """Units without rows are gone, the others keep their rows together."""
    units = Units.of_keys(np.array([3, 3, 1, 1, 2, 2]), "group")
    taken = units.take(np.array([0, 1, 5]))
    assert (taken.count, taken.rows) == (2, 3)
    np.testing.assert_array_equal(taken.sums(np.ones(3)), [2, 1])
    np.testing.assert_array_equal(units.expanded(np.array([2, 0, 1])), [0, 0, 1, 1, 4, 5])


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        (("customer", ""), ("2 of 6 rows have no 'customer' and count as one piece of evidence",)),
        (("", "1D"), ("1 of 6 rows have no 'time' and count as one piece of evidence",)),
        (("", ""), ()),
        (("region", ""), ()),
        (("nobody", ""), ()),
    ],
)
def test_rows_without_a_unit_are_named(
    regression: Callable[..., pd.DataFrame], rules: tuple[str, str], said: tuple[str, ...]
) -> None:
    """They make the intervals wide, and the reader of the record has to know."""
    times = pd.date_range("2026-01-01", periods=6, freq="D").where(np.arange(6) > 0)
    customer, region = ["a", None, None, "b", "b", "b"], list("uvwxyz")
    frame = regression(6, customer=customer, time=times, region=region)
    assert unnamed(paired(load(frame), None), *rules) == said


def test_a_day_that_never_comes_is_a_day(regression: Callable[..., pd.DataFrame]) -> None:
    """9999-12-31 is too far for nanoseconds; neither it nor the other days are read wrong."""
    days = [dt.date(2026, 1, 1), None, dt.date(9999, 12, 31)] * 2
    column = load(regression(6, until=days, time=days)).others["until"]
    names = {None if pd.isna(name) else name for name in column.as_names().to_pandas()}
    assert names == {"2026-01-01T00:00:00.000000", None, "9999-12-31T00:00:00.000000"}
    pair = paired(load(regression(6, time=days)), None)
    found = units_of(pair, "", "1D")
    assert isinstance(found, Units)
    assert found.count == 3
