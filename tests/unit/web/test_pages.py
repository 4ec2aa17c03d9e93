"""Which nights are asked for anew, and what is said of a pipeline's health."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.fixtures.waiting import eventually

from understudy.registry.history import Entry, History, Move, MoveCause, MoveEnding, State
from understudy.web import views
from understudy.web.reader import Nights
from understudy.web.state import NightRow, PipelineState, Production

pytestmark = pytest.mark.unit
TIME = "2026-01-01T00:00:00.000+00:00"


class Runs:
    """Nights of a server, the latest first, of which is noted how many were asked for."""

    def __init__(self, count: int) -> None:
        self.rows = [night(number) for number in reversed(range(count))]
        self.asked: list[int] = []

    def __call__(self, most: int, also: str = "") -> list[NightRow]:
        """Return the latest ones, as MLflow does for the one condition that is asked for."""
        self.asked.append(most)
        last = int(also.removeprefix("attributes.start_time <= ") or 10**9)
        return [row for row in self.rows if row.started <= last][:most]


def night(number: int, status: str = "FINISHED") -> NightRow:
    """Return a night without tags."""
    return NightRow(f"run {number}", "1", status, number, number + 1, {}, {})


def read_the_others(nights: Nights, key: str, runs: Runs, most: int) -> None:
    """Read what a first page did not wait for, and wait for it."""
    nights.complete(key, runs, most)
    assert eventually(lambda: key not in nights._asking, 10)


def test_all_nights_are_asked_for_once_and_then_the_latest() -> None:
    """New nights, and what has changed in the latest ones, are seen all the same."""
    runs, nights = Runs(50), Nights()
    assert nights.get("wine", runs, 30, 8) == (runs.rows[:30], False)
    runs.rows[2] = night(47, "FAILED")
    runs.rows.insert(0, night(50, "RUNNING"))
    del runs.rows[4]
    assert nights.get("wine", runs, 30, 8) == (runs.rows[:30], False)
    assert nights.get("other", runs, 30, 8) == (runs.rows[:30], False)
    assert runs.asked == [30, 8, 30]


def test_all_are_asked_for_where_the_latest_do_not_tell() -> None:
    """After many new nights; and as long as one that is not among the latest runs."""
    runs, nights = Runs(50), Nights()
    nights.get("wine", runs, 30, 8)
    runs.rows = [night(number) for number in reversed(range(60, 90))]
    runs.rows[20] = night(69, "RUNNING")
    assert nights.get("wine", runs, 30, 8)[0] == runs.rows
    runs.rows[20] = night(69)
    assert nights.get("wine", runs, 30, 8)[0] == runs.rows
    assert runs.asked == [30, 8, 30, 8, 30]


def test_who_comes_first_waits_for_a_part_alone() -> None:
    """The others are read meanwhile, some at a time, and none is lost or given twice."""
    runs, nights = Runs(1000), Nights()
    runs.rows[95:105] = [replace(row, started=900) for row in runs.rows[95:105]]
    # Also where the others are there before the page is: it has not got them.
    assert nights.get("", runs, 100, 40) == (runs.rows[:100], False)
    read_the_others(nights, "", runs, 250)
    assert nights.get("", runs, 100, 40) == (runs.rows[:250], True)
    assert runs.asked == [100, 100, 100, 100, 40]


def test_a_night_that_runs_for_long_costs_no_other() -> None:
    """It is not among those that are asked for anew; nights that are known stay shown."""
    runs, nights = Runs(50), Nights()
    runs.rows[45] = night(4, "RUNNING")
    nights.get("wine", runs, 30, 8)
    read_the_others(nights, "wine", runs, 50)
    assert nights.get("wine", runs, 30, 8) == (runs.rows, True)


def test_older_nights_are_read_again_while_nobody_waits() -> None:
    """What somebody writes to an old night is seen some minutes later."""
    moment = [0.0]
    runs, nights = Runs(50), Nights(lambda: moment[0])
    assert nights.get("wine", runs, 60, 8) == (runs.rows, True)
    runs.rows[25] = night(24, "FAILED")
    moment[0] = 3600
    assert nights.get("wine", runs, 60, 8)[0][25].status == "FINISHED"
    read_the_others(nights, "wine", runs, 60)
    assert nights.get("wine", runs, 60, 8)[0][25].status == "FAILED"


def history(*versions: str | None) -> History:
    """Return moves from each version to the next."""
    moves = [
        Move(number, TIME, before, after, MoveCause.NIGHT)
        for number, (before, after) in enumerate(zip((None, *versions), versions, strict=False))
    ]
    return History("wine", tuple(Entry(one, MoveEnding(State.MOVED, TIME)) for one in moves))


@pytest.mark.parametrize(
    ("champion", "past", "word"),
    [
        ("1", history("1"), "healthy"),
        (None, history(), "no champion yet"),
        (None, history("1"), "no champion"),
        (None, history("1", None), "no champion"),
        ("2", history("1"), "moved outside"),
    ],
)
def test_a_pipeline_without_a_champion_is_not_healthy(
    champion: str | None, past: History, word: str
) -> None:
    """Whether none was promoted yet, or somebody took it away, seen by us already or not."""
    aliases = {"champion": champion} if champion else {}
    state = PipelineState("wine", (night(1),), Production("wine", aliases, past))
    assert views.pipeline_view(state).worst.word == word
