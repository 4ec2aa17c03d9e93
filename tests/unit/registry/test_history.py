"""What follows from a list of moves."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.errors import RegistryError
from understudy.registry.history import (
    Entry,
    History,
    Move,
    MoveCause,
    MoveEnding,
    ReturnBlock,
    Scope,
    State,
    Trained,
    joined,
)

pytestmark = pytest.mark.unit
DAY = datetime(2026, 1, 1, tzinfo=UTC)
NOW = DAY + timedelta(days=10)


def time(day: float) -> str:
    """Return a time as the ledger has it."""
    return (DAY + timedelta(days=day)).isoformat(timespec="milliseconds")


def entry(number: int, before: str | None, after: str | None, **facts: object) -> Entry:
    """Return a move that was made in no time, on the day of its number."""
    move = Move(number, time(number), before, after, MoveCause.NIGHT)
    return Entry(replace(move, **facts), MoveEnding(State.MOVED, time(number)))  # type: ignore[arg-type]


def of(*entries: Entry) -> History:
    """Return a history."""
    return History("wine", entries)


def test_a_champion_that_was_taken_away_is_lost_until_another_comes() -> None:
    """It is the first of the former ones, each of which is named once."""
    history = of(entry(1, None, "1"), entry(2, "1", "2"), entry(3, "2", "1"), entry(4, "1", None))
    assert history.lost == history.entries[-1].move
    assert (history.champion, history.previous, history.former) == (None, "1", ("1", "2"))
    again = of(*history.entries, entry(5, None, "2"))
    assert (again.lost, again.previous, again.former) == (None, "1", ("1",))
    assert of().lost is None


def test_an_empty_history_knows_nothing() -> None:
    """No champion, no move under way, and the first number is 1."""
    empty = History("wine")
    assert (empty.champion, empty.previous, empty.pending, empty.next_number) == (None,) * 3 + (1,)
    with pytest.raises(RegistryError, match="Allowed: a moment since the first"):
        empty.at(DAY, NOW)


def test_champion_and_previous_follow_the_moves_that_were_made() -> None:
    """Abandoned moves count for nothing, and a move under way only as such."""
    abandoned = Entry(entry(3, "2", "9").move, MoveEnding(State.ABANDONED, time(3)))
    history = of(entry(1, None, "1"), entry(2, "1", "2"), abandoned)
    assert (history.champion, history.previous, history.pending) == ("2", "1", None)
    under_way = of(*history.entries, Entry(entry(4, "2", "5").move, None))
    assert (under_way.champion, under_way.next_number) == ("2", 5)
    assert under_way.pending is not None
    assert under_way.pending.after == "5"


def test_what_a_version_replaced_is_known_for_ever() -> None:
    """Of a version that came twice, the last time; what was abandoned replaced nothing."""
    abandoned = Entry(entry(4, "1", "9").move, MoveEnding(State.ABANDONED, time(4)))
    history = of(entry(1, None, "1"), entry(2, "1", "2"), entry(3, "2", "1"), abandoned)
    found = [history.replaced(version) for version in ("1", "2", "9", "unknown")]
    assert found == ["2", "1", None, None]


def test_previous_is_never_the_champion_itself() -> None:
    """There and back again, and an alias that was taken away meanwhile."""
    back = of(entry(1, None, "1"), entry(2, "1", "2"), entry(3, "2", "1"))
    assert back.previous == "2"
    gap = of(entry(1, None, "1"), entry(2, "1", None), entry(3, None, "1"))
    assert gap.previous is None


@pytest.mark.parametrize(
    ("day", "versions"),
    [(1, ("1",)), (1.5, ("1",)), (2, ("2",)), (2.5, ("2", "7")), (3, ("7",)), (99, ("7",))],
)
def test_what_was_in_production_at_a_moment(day: float, versions: tuple[str, ...]) -> None:
    """Of a move from outside it is only known between which moments it was made."""
    outside = entry(3, "2", "7", cause=MoveCause.OUTSIDE, since=time(2.2))
    history = of(entry(1, None, "1"), entry(2, "1", "2"), outside)
    assert history.at(DAY + timedelta(days=day), NOW) == versions


def test_before_the_history_nothing_is_known() -> None:
    """The message says when it begins."""
    with pytest.raises(RegistryError, match=r"which begins 2026-01-02T"):
        of(entry(1, None, "1")).at(DAY, NOW)


@pytest.mark.parametrize(
    ("day", "version"), [(1, "1"), (2, "2"), (4, "2"), (5, "4"), (9.9, "4"), (10, "5"), (400, "5")]
)
def test_a_clock_that_was_ahead_moves_no_other_move(day: float, version: str) -> None:
    """The order is that of the numbers: no move is later than the next one, or than now."""
    history = of(
        entry(1, None, "1"),
        entry(2, "1", "2"),
        Entry(replace(entry(3, "2", "3").move, at=time(365)), MoveEnding(State.MOVED, time(365))),
        Entry(replace(entry(4, "3", "4").move, at=time(5)), MoveEnding(State.MOVED, time(5))),
        Entry(replace(entry(5, "4", "5").move, at=time(365)), MoveEnding(State.MOVED, time(366))),
    )
    assert history.at(DAY + timedelta(days=day), NOW) == (version,)


def test_what_nobody_put_on_record_is_seen() -> None:
    """A move by somebody else, or one whose mover died right after it: as they will be noted."""
    history = of(entry(1, None, "1"))
    assert history.as_seen("1", time(3)) == history
    seen = history.as_seen("2", time(3), time(2))
    assert (seen.champion, seen.moves[-1].move.since) == ("2", time(2))
    pending = of(*history.entries, Entry(entry(2, "1", "5").move, None))
    assert pending.as_seen("1", time(3)) == pending
    assert pending.as_seen("5", time(3)).champion == "5"
    assert [one.moved for one in pending.as_seen("7", time(3)).entries] == [True, False, True]
    gone = of().as_seen("4", time(3)).moves[-1].move
    assert (gone.why, gone.since) == ("found when the history began", "")


def test_who_may_have_been_late_is_named() -> None:
    """A version that a move wanted which was given up may have come by that move, too."""
    given_up = Entry(entry(2, "1", "2").move, MoveEnding(State.ABANDONED, time(2)))
    history = of(entry(1, None, "1"), given_up)
    assert "or late by move 2, which had been given up" in history.outside("2", time(3)).why
    assert "late" not in history.outside("3", time(3)).why


TRAINED = Trained("3", run_id="run", commit="c0ffee", fingerprint="f")


@pytest.mark.parametrize(
    ("block", "other", "blocked"),
    [
        (ReturnBlock(Scope.VERSION, TRAINED), Trained("3"), True),
        (ReturnBlock(Scope.VERSION, TRAINED), Trained("4", run_id="run"), True),
        (ReturnBlock(Scope.VERSION, TRAINED), Trained("4", fingerprint="f"), True),
        (ReturnBlock(Scope.VERSION, TRAINED), Trained("4", commit="c0ffee"), False),
        (ReturnBlock(Scope.VERSION, Trained("3")), Trained("4"), False),
        (ReturnBlock(Scope.COMMIT, TRAINED), Trained("4", commit="c0ffee"), True),
        (ReturnBlock(Scope.COMMIT, TRAINED), Trained("4", commit="beef"), False),
        (ReturnBlock(Scope.MODEL, TRAINED, time(11)), Trained("4"), True),
        (ReturnBlock(Scope.MODEL, TRAINED, time(9)), Trained("3"), False),
    ],
)
def test_what_a_rollback_keeps_from_returning(
    block: ReturnBlock, other: Trained, *, blocked: bool
) -> None:
    """By version, what it was made of, commit or date; what is better may come."""
    history = of(entry(1, "2", "3"), entry(2, "3", "2", cause=MoveCause.ROLLBACK, block=block))
    assert (history.blocked(other, NOW) is not None) == blocked


def test_a_block_ends_when_somebody_brings_the_version_back() -> None:
    """A later move to it says that it is wanted."""
    block = ReturnBlock(Scope.VERSION, TRAINED)
    history = of(
        entry(1, "3", "2", cause=MoveCause.ROLLBACK, block=block),
        entry(2, "2", "3", cause=MoveCause.OUTSIDE),
    )
    assert history.blocked(TRAINED, NOW) is None


texts = st.text(max_size=200)
versions = st.none() | st.integers(1, 10**6).map(str)
blocks = st.builds(
    ReturnBlock,
    st.sampled_from(Scope),
    st.builds(Trained, st.just("3"), texts, texts, texts),
    st.sampled_from(["", time(3)]),
)


@given(
    st.builds(
        Move,
        st.integers(1, 10**6),
        st.just(time(1)),
        versions,
        versions,
        st.sampled_from(MoveCause),
        actor=texts,
        why=texts,
        key=texts,
        since=texts,
        block=st.none() | blocks,
    )
)
def test_a_move_is_read_as_it_was_written(move: Move) -> None:
    """Every field survives the ledger."""
    assert Move.of_json(move.number, move.to_json()) == move


def test_a_rollback_that_0_1_wrote_blocks_all_the_same() -> None:
    """It called what may not return ``hold``."""
    move = replace(entry(1, "3", "2").move, block=ReturnBlock(Scope.COMMIT, TRAINED, time(11)))
    former = json.loads(move.to_json())
    former["hold"] = former.pop("block")
    assert Move.of_json(1, json.dumps(former)) == move


def test_a_long_reason_is_cut_before_mlflow_cuts_the_entry() -> None:
    """MLflow would leave half a JSON document."""
    move = replace(entry(1, None, "1").move, why='"' * 20_000)
    text = move.to_json()
    assert len(text) <= 6000
    assert Move.of_json(1, text).why.endswith("...")


def test_parts_are_joined_in_order() -> None:
    """Chapters become one history."""
    whole = joined("wine", [of(entry(1, None, "1")), of(entry(2, "1", "2"))])
    assert [one.move.number for one in whole.entries] == [1, 2]
