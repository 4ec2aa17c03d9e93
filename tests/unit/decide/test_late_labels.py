"""Which nights are seen again, and when."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.decide.late_labels import JudgedNight, due

NOW = datetime(2026, 3, 1, tzinfo=UTC)
DELAY = timedelta(days=14)
DAYS = st.integers(-30, 400)
NIGHTS = st.lists(st.tuples(DAYS, st.booleans()), unique_by=lambda night: night[0])


def night(days: int, *, completed: bool = False) -> JudgedNight:
    """Return a night so many days ago."""
    return JudgedNight(NOW - timedelta(days=days), str(days), completed)


def ages(*nights: JudgedNight) -> list[int]:
    """Return how old the nights are that are due among some."""
    return [int(one.run_id) for one in due(nights, NOW, DELAY)]


@pytest.mark.parametrize(
    ("nights", "wanted"),
    [
        pytest.param([], [], id="none"),
        pytest.param([night(13)], [], id="too early"),
        pytest.param([night(14)], [14], id="on the day"),
        pytest.param([night(14, completed=True)], [], id="seen before"),
        pytest.param([night(14), night(16)], [16, 14], id="the earliest first"),
        pytest.param([night(27), night(28), night(90)], [27], id="rows that are out of reach"),
        pytest.param([night(60), night(90)], [60], id="nights that are rare"),
        pytest.param([night(60, completed=True), night(90)], [], id="rare, and seen before"),
        pytest.param([night(age) for age in range(14, 28)], [27, 26, 25, 24], id="a backlog"),
    ],
)
def test_what_is_due(nights: list[JudgedNight], wanted: list[int]) -> None:
    """Nights whose later rows have their targets and may still be in the holdout."""
    assert ages(*nights) == wanted


@given(NIGHTS)
def test_a_night_is_due_once_and_never_early(nights: list[tuple[int, bool]]) -> None:
    """Whatever the history; the order in which it is found does not matter."""
    history = [night(days, completed=completed) for days, completed in nights]
    found = ages(*history)
    assert found == ages(*reversed(history))
    assert found == sorted(found, reverse=True)
    assert len(found) <= 4
    done = {days for days, completed in nights if completed}
    assert all(days >= DELAY.days and days not in done for days in found)


def test_every_night_has_its_turn() -> None:
    """One a day, seen by the nights that follow, none is forgotten."""
    seen: set[int] = set()
    for today in range(60):
        history = [
            JudgedNight(NOW + timedelta(days=day), str(day), day in seen) for day in range(today)
        ]
        seen |= {int(one.run_id) for one in due(history, NOW + timedelta(days=today), DELAY)}
    assert seen == set(range(60 - DELAY.days))
