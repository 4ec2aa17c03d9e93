"""The replay: rows arrive once, evenly, never on Sundays, and stay."""

from __future__ import annotations

import datetime as dt

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import DataError
from shared.replay import SUNDAY, Replay
from tabular.identity import arrival_positions, fingerprints
from tabular.replay import arrived

pytestmark = pytest.mark.unit

ROWS = pd.DataFrame({"id": range(3000)})
FIRST = dt.date(2026, 1, 1)


def as_of(day: dt.date) -> dt.datetime:
    """Return midnight of the day, UTC."""
    return dt.datetime.combine(day, dt.time(), dt.UTC)


@given(st.integers(0, 20), st.integers(0, 20))
@settings(max_examples=25, deadline=None)
def test_a_later_date_only_adds_rows(early: int, late: int) -> None:
    """What has arrived stays."""
    early, late = sorted((early, late))
    sets = [
        set(arrived(ROWS, ["id"], Replay(), as_of(FIRST + dt.timedelta(days=n)))[0]["id"])
        for n in (early, late)
    ]
    assert sets[0] <= sets[1]


def test_the_first_part_is_there_at_once_and_the_rest_comes_evenly() -> None:
    """Four tenths on the first day; every later day brings about the same."""
    places = arrival_positions(fingerprints(ROWS, ["id"]))
    totals = [Replay().arrived(places, day).sum() for day in Replay().arrivals()]
    assert 0.36 < totals[0] / len(ROWS) < 0.44
    rest = pd.Series(totals).diff().dropna()
    assert rest.min() > 0.7 * rest.mean()
    assert rest.max() < 1.3 * rest.mean()


def test_nothing_arrives_on_sundays() -> None:
    """Sunday's rows are Saturday's, down to the newest day."""
    assert all(day.weekday() != SUNDAY for day in Replay(days=60).arrivals())
    saturday, sunday = dt.date(2026, 1, 3), dt.date(2026, 1, 4)
    before, newest_before = arrived(ROWS, ["id"], Replay(), as_of(saturday))
    after, newest_after = arrived(ROWS, ["id"], Replay(), as_of(sunday))
    pd.testing.assert_frame_equal(before, after)
    assert newest_before == newest_after == saturday


def test_in_the_end_all_rows_are_there() -> None:
    """The last delivery day completes the set."""
    last = Replay().arrivals()[-1]
    assert len(arrived(ROWS, ["id"], Replay(), as_of(last))[0]) == len(ROWS)


def test_the_time_of_day_does_not_matter() -> None:
    """As of a moment means its whole day."""
    noon = dt.datetime(2026, 1, 5, 12, tzinfo=dt.UTC)
    midnight = as_of(noon.date())
    assert len(arrived(ROWS, ["id"], Replay(), noon)[0]) == len(
        arrived(ROWS, ["id"], Replay(), midnight)[0]
    )


def test_before_the_first_day_there_is_nothing() -> None:
    """The message names the first day."""
    with pytest.raises(DataError, match=r"2025-12-31 nothing has arrived.*2026-01-01 or later"):
        arrived(ROWS, ["id"], Replay(), as_of(dt.date(2025, 12, 31)))
