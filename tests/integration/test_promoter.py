"""Moves of the alias on a real MLflow server, killed, raced, late, from outside: none is lost."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from mlflow.tracking import MlflowClient

from understudy.contract import CHALLENGER, CHAMPION, PREVIOUS, Tag
from understudy.registry.history import MoveCause, State
from understudy.registry.history_log import EXPERIMENT, HistoryLog
from understudy.registry.promoter import ChampionChangedError, Promoter
from understudy.store.tracking import RunStore

if TYPE_CHECKING:
    from tests.fixtures.model_registry import RegisteredModel


pytestmark = pytest.mark.integration
Registered = Callable[[int], "RegisteredModel"]


def is_whole(model: RegisteredModel) -> None:
    """Check that record and alias agree, and that each move begins where the one before ended."""
    history = model.history()
    assert history.pending is None
    assert history.champion == model.aliases().get(CHAMPION)
    assert [one.move.number for one in history.entries] == list(range(1, history.next_number))
    assert all(one.move.after == two.move.before for one, two in pairwise(history.moves))
    times = [entry.move.at for entry in history.entries]
    assert times == sorted(times)


def test_a_promotion_moves_champion_and_previous(registered_model: Registered) -> None:
    """The alias moves, the one before is kept, a repeated move does no harm, all is on record."""
    model = registered_model(2)
    assert model.move("1", None)
    model.client.set_registered_model_alias(model.name, CHALLENGER, "2")
    wanted = replace(model.wanted("2", "1"), decision_run="abc", actor="night 2", why="better")
    assert model.promoter().move(wanted)
    assert not model.promoter().move(wanted)
    assert model.aliases() == {CHAMPION: "2", PREVIOUS: "1"}
    assert model.moves() == [(None, "1", MoveCause.NIGHT), ("1", "2", MoveCause.NIGHT)]
    last = model.history().moves[-1].move
    assert (last.actor, last.why, last.decision_run) == ("night 2", "better", "abc")
    assert model.client.get_model_version(model.name, "2").tags[Tag.DECISION_RUN] == "abc"
    is_whole(model)


def test_killed_after_any_call_the_same_attempt_finishes(registered_model: Registered) -> None:
    """Kill -9 after each single call: one complete champion, and the retry makes one move."""
    model = registered_model(30)
    model.move("1", None)
    calls = model.calls_of(model.wanted("2", "1"))
    for number in range(1, calls + 1):
        before, after = str(number + 1), str(number + 2)
        wanted = model.wanted(after, before)
        assert model.killed_after(number, wanted) == -9
        assert model.aliases()[CHAMPION] in {before, after}
        model.promoter().move(wanted)
        assert model.aliases() == {CHAMPION: after, PREVIOUS: before}
        is_whole(model)
    assert len(model.moves()) == calls + 2


def test_killed_after_any_call_somebody_else_cleans_up(registered_model: Registered) -> None:
    """The next mover ends the move as it is, and moves on; the dead one's retry moves nothing."""
    model = registered_model(60)
    model.move("1", None)
    calls = model.calls_of(model.wanted("2", "1"))
    champion = "2"
    for number in range(1, calls + 1):
        theirs, ours = str(2 * number + 1), str(2 * number + 2)
        wanted = model.wanted(theirs, champion)
        assert model.killed_after(number, wanted) == -9
        seen = model.promoter(patience=0).settle(model.name).champion
        assert seen in {champion, theirs}
        is_whole(model)
        assert model.move(ours, seen)
        is_whole(model)
        if seen == theirs:
            assert model.promoter().move(wanted)  # it was made, and others have moved on since
        else:
            with pytest.raises(ChampionChangedError):
                model.promoter().move(wanted)
        assert model.aliases()[CHAMPION] == ours
        champion = ours
    assert {cause for _, _, cause in model.moves()} == {MoveCause.NIGHT}


@pytest.mark.parametrize(
    "part", ["alias", "runs/log-parameter", "runs/create", "set-tag", "model-versions/set-tag"]
)
def test_a_lost_answer_makes_one_move(
    registered_model: Registered,
    losing_first_answer: Callable[[str, str], AbstractContextManager[str]],
    part: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The server did the work, and the client asks again."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_JITTER", "0")
    model = registered_model(1)
    with losing_first_answer(model.uri, part) as address:
        client = MlflowClient(address)
        wanted = replace(model.wanted("1", None), decision_run="abc")
        assert Promoter(client, RunStore(client)).move(wanted)
    assert model.moves() == [(None, "1", MoveCause.NIGHT)]
    is_whole(model)
    assert len(chapters_of(model)) == 1


def test_racing_promoters_lose_no_move(registered_model: Registered) -> None:
    """Four processes promote at once: every move is made once, against the champion it names."""
    model = registered_model(12)
    shares = [[str(version) for version in range(first, 13, 4)] for first in range(1, 5)]
    assert model.race(shares) == [0, 0, 0, 0]
    is_whole(model)
    assert sorted(int(after or 0) for _, after, _ in model.moves()) == list(range(1, 13))


def test_a_whole_move_within_a_look_is_nobody_elses(
    registered_model: Registered, after_answer: Callable[[int, Callable[[], object]], None]
) -> None:
    """Whoever looks at alias and history while another moves notes no move from outside."""
    model, made = registered_model(12), ["1"]
    model.move("1", None)

    def move() -> None:
        made.append(str(len(made) + 1))
        model.move(made[-1], made[-2])

    for number in range(1, 12):
        after_answer(number, move)
        model.promoter().settle(model.name)
        if len(made) == number:
            break  # a look has no further answer
    assert len(made) > 3
    assert model.moves() == [
        (before, after, MoveCause.NIGHT) for before, after in pairwise([None, *made])
    ]
    is_whole(model)


def test_a_move_from_outside_is_noticed_and_respected(registered_model: Registered) -> None:
    """Made by hand in MLflow's UI: on record as such, never overwritten by an older verdict."""
    model = registered_model(3)
    model.move("1", None)
    model.promoter().settle(model.name)
    model.client.set_registered_model_alias(model.name, CHAMPION, "2")
    with pytest.raises(ChampionChangedError, match=r"is version 2; .* against version 1"):
        model.move("3", "1")
    assert model.aliases() == {CHAMPION: "2", PREVIOUS: "1"}
    noticed = model.history().moves[-1].move
    assert (noticed.before, noticed.after, noticed.cause) == ("1", "2", MoveCause.OUTSIDE)
    assert model.history().moves[0].move.at < noticed.since <= noticed.at
    between = datetime.fromisoformat(noticed.since) + timedelta(milliseconds=1)
    assert model.history().at(between, datetime.now(UTC)) in {("1", "2"), ("2",)}
    assert model.history().at(datetime.now(UTC), datetime.now(UTC)) == ("2",)
    model.client.delete_model_version(model.name, "2")
    assert model.promoter().settle(model.name).champion is None
    assert model.moves()[-1] == ("2", None, MoveCause.OUTSIDE)
    is_whole(model)


def _delete_version(model: RegisteredModel) -> None:
    model.client.delete_model_version(model.name, "2")


def _delete_alias(model: RegisteredModel) -> None:
    model.client.delete_registered_model_alias(model.name, CHAMPION)


def _delete_both(model: RegisteredModel) -> None:
    for version in ("1", "2"):
        model.client.delete_model_version(model.name, version)


def _delete_model(model: RegisteredModel) -> None:
    model.client.delete_registered_model(model.name)


LOST = {
    "version": (_delete_version, "somebody deleted it", "makes version 1 champion again"),
    "alias": (_delete_alias, "somebody took the alias champion", "makes version 2 champion again"),
    "versions": (_delete_both, "somebody deleted it", "no former champion is left"),
    "model": (_delete_model, "somebody deleted it", "no former champion is left"),
}


@pytest.mark.parametrize("kind", LOST)
def test_the_history_knows_the_champion_that_somebody_took_away(
    registered_model: Registered, kind: str
) -> None:
    """With its alias, which MLflow drops without a word; and what can be done."""
    take_away, what, advice = LOST[kind]
    model = registered_model(3)
    assert model.promoter().lost(model.name) is None
    model.move("1", None)
    model.move("2", "1")
    assert model.promoter().lost(model.name) is None
    take_away(model)
    for _ in range(2):  # noticed, and known
        lost = model.promoter().lost(model.name)
        assert lost is not None
        assert (lost.version, lost.deleted) == ("2", kind != "alias")
        assert what in lost.reason
        assert advice in lost.reason
    if kind != "model":
        model.move("3", None)
        assert model.promoter().lost(model.name) is None


def test_a_registry_that_others_filled_is_taken_over(registered_model: Registered) -> None:
    """Its champion is found when the history begins."""
    model = registered_model(2)
    model.client.set_registered_model_alias(model.name, CHAMPION, "1")
    model.move("2", "1")
    assert model.moves() == [(None, "1", MoveCause.OUTSIDE), ("1", "2", MoveCause.NIGHT)]
    is_whole(model)


class Late:
    """A mover that stood still after it was asked whether its move is still its own."""

    def __init__(self, model: RegisteredModel, meanwhile: object) -> None:
        self.promoter, self._meanwhile = model.promoter(), meanwhile
        aliases = self.promoter._aliases
        point = aliases.point

        def late(name: str, alias: str, version: str) -> None:
            if alias == CHAMPION:
                aliases.point = point  # type: ignore[method-assign]
                self._meanwhile()  # type: ignore[operator]
            point(name, alias, version)

        aliases.point = late  # type: ignore[method-assign]


def test_a_late_move_that_was_given_up_is_noted_again(registered_model: Registered) -> None:
    """Nobody else moved since: it stands, and the record says what happened."""
    model = registered_model(2)
    model.move("1", None)
    late = Late(model, lambda: model.promoter(patience=0).settle(model.name))
    assert late.promoter.move(model.wanted("2", "1"))
    endings = [entry.ending.state for entry in model.history().entries if entry.ending]
    assert endings == [State.MOVED, State.ABANDONED, State.MOVED]
    is_whole(model)


def test_a_late_move_takes_itself_back_where_another_was_made(registered_model: Registered) -> None:
    """The other mover's champion is restored, and each step is on record."""
    model = registered_model(3)
    model.move("1", None)
    late = Late(model, lambda: model.move("3", "1", patience=0))
    with pytest.raises(ChampionChangedError):
        late.promoter.move(model.wanted("2", "1"))
    assert model.aliases()[CHAMPION] == "3"
    assert model.moves()[1:] == [
        ("1", "3", MoveCause.NIGHT),
        ("3", "2", MoveCause.OUTSIDE),
        ("2", "3", MoveCause.REPAIR),
    ]
    is_whole(model)


def test_a_version_that_is_not_there_leaves_no_loose_end(registered_model: Registered) -> None:
    """MLflow refuses; the move is ended at once, and the champion stays."""
    model = registered_model(1)
    model.move("1", None)
    with pytest.raises(Exception, match="Model Version"):
        model.move("9", "1")
    assert model.aliases()[CHAMPION] == "1"
    is_whole(model)
    ending = model.history().entries[-1].ending
    assert ending is not None
    assert "MLflow refused" in ending.why


def test_chapters_follow_each_other(
    registered_model: Registered, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full chapter is followed by another; one deleted in MLflow's UI is read, and comes back."""
    monkeypatch.setattr("understudy.registry.history_log.CHAPTER", 2)
    model = registered_model(5)
    for version in range(1, 6):
        model.move(str(version), str(version - 1) if version > 1 else None)
    client, segments = model.client, chapters_of(model)
    assert len(segments) == 3
    for run_id in segments:
        client.delete_run(run_id)
    assert [entry.move.number for entry in model.history().entries] == [1, 2, 3, 4, 5]
    assert not chapters_of(model)
    model.promoter().settle(model.name)
    is_whole(model)
    assert chapters_of(model) == segments
    assert {client.get_run(run_id).info.status for run_id in segments} == {"FINISHED"}


def test_killed_while_a_chapter_begins(
    registered_model: Registered, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kill -9 after each call of the move that needs a new chapter: numbers go on, none twice."""
    monkeypatch.setattr("understudy.registry.history_log.CHAPTER", 1)
    model = registered_model(40)
    model.move("1", None)
    calls = model.calls_of(model.wanted("2", "1"))
    for number in range(4, 13):
        before = model.promoter(patience=0).settle(model.name).champion
        wanted = model.wanted(str(number + 10), before)
        assert model.killed_after(number, wanted, segment=1) == -9
        model.promoter().move(wanted)
        is_whole(model)
    assert calls > 12
    assert len(chapters_of(model)) == len(model.history().entries)


def test_many_who_begin_a_history_agree_on_one(registered_model: Registered) -> None:
    """Nothing in MLflow makes a run unique: the one that is used stays the history."""
    model = registered_model(2)
    history_log = HistoryLog(model.client, RunStore(model.client))
    begun = {history_log._begin(model.name, 0, "") for _ in range(3)}
    assert model.move("1", None)
    (used,) = chapters_of(model)
    assert used in {min(begun), *chapters_of(model)}
    for _ in range(3):
        history_log._begin(model.name, 0, "")
    model.client.delete_registered_model_tag(model.name, Tag.HISTORY)
    assert model.move("2", "1")
    assert len(model.history().entries) == 2
    assert used in chapters_of(model)
    is_whole(model)


def test_racing_beginners_make_one_history(registered_model: Registered) -> None:
    """Eight who notice the same champion of a new model at once note it once."""
    model = registered_model(1)
    model.client.set_registered_model_alias(model.name, CHAMPION, "1")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: model.promoter().settle(model.name), range(8)))
    assert model.moves() == [(None, "1", MoveCause.OUTSIDE)]
    assert len(chapters_of(model)) == 1
    is_whole(model)


def chapters_of(model: RegisteredModel) -> set[str]:
    """Return the runs that hold a model's history."""
    client = model.client
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    wanted = f"tags.`{Tag.MODEL}` = '{model.name}'"
    found = client.search_runs([experiment.experiment_id], wanted)
    return {str(run.info.run_id) for run in found}
