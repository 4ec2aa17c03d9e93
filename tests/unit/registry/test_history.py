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
    now_text,
)

pytestmark = pytest.mark.unit
DAY = datetime(2026, 1, 1, tzinfo=UTC)


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
        empty.at(DAY)


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
    assert history.at(DAY + timedelta(days=day)) == versions


def test_before_the_history_nothing_is_known() -> None:
    """The message says when it begins."""
    with pytest.raises(RegistryError, match=r"which begins 2026-01-02T"):
        of(entry(1, None, "1")).at(DAY)


TRAINED = Trained("3", run_id="run", commit="c0ffee", fingerprint="f")
NOW = DAY + timedelta(days=10)


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


def test_times_never_go_back() -> None:
    """A mover whose clock is slow does not upset the order."""
    assert now_text("2999-01-01T00:00:00.000+00:00") == "2999-01-01T00:00:00.000+00:00"
    assert now_text() > "2026"


def test_parts_are_joined_in_order() -> None:
    """Chapters become one history."""
    whole = joined("wine", [of(entry(1, None, "1")), of(entry(2, "1", "2"))])
    assert [one.move.number for one in whole.entries] == [1, 2]
