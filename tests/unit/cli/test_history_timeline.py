"""The drawing below ``understudy history``: who was champion when, to scale."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from understudy.cli.history import timeline
from understudy.registry.history import Entry, Move, MoveCause, MoveEnding, State

pytestmark = pytest.mark.unit

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def entry(number: int, day: float, after: str | None, state: State = State.MOVED) -> Entry:
    """Return a move of a day."""
    at = (BEGIN + timedelta(days=day)).isoformat()
    return Entry(Move(number, at, None, after, MoveCause.NIGHT), MoveEnding(state, at))


def test_reigns_are_as_long_as_they_were() -> None:
    """One that came to nothing is none; one without a champion is drawn, too."""
    entries = [
        entry(1, 0, "1"),
        entry(2, 10, "9", State.ABANDONED),
        entry(3, 30, "2"),
        entry(4, 90, None),
    ]
    _, bar, days = timeline(entries, BEGIN + timedelta(days=100), 60).splitlines()
    assert len(bar) <= 60
    reigns = [one.count("=") for one in bar.strip("|").split("|")]
    assert bar.startswith("|1 =")
    assert [one.split()[0] for one in bar.strip("|").split("|")] == ["1", "2", "-"]
    assert reigns == [15, 30, 5]
    assert days.split() == ["2026-01-01", "2026-04-11"]
    assert len(days) == len(bar)


def test_many_short_reigns_are_all_named() -> None:
    """Also where the line has no room for their lengths."""
    entries = [entry(number, number / 1000, str(number)) for number in range(1, 21)]
    text = timeline(entries, BEGIN + timedelta(days=100), 40)
    assert all(f"|{number} " in text for number in range(1, 21))


def test_nothing_is_drawn_without_a_champion() -> None:
    """Neither is a move that nobody finished."""
    assert timeline([], BEGIN, 60) == ""
    assert timeline([entry(1, 0, "1", State.ABANDONED)], BEGIN, 60) == ""
