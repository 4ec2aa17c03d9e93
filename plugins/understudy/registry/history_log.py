"""Keeps histories in MLflow so that no entry can be changed, lost or written twice.

MLflow has one thing that is written once: a run's parameter. The server refuses another value under
the same name (its table has a unique key), takes the same value again without harm, and so decides
between any number of writers. A model's history is therefore the parameters of a run: ``00000017``
is the 17th move, ``00000017.ended`` how it ended, and whoever writes a number first has it. A run
holds ``CHAPTER`` moves; the parameter ``next`` names the run with the following ones.

The runs are in the experiment ``understudy history``, apart from what trains: whoever may edit that
experiment may move champions. A tag of the registered model names its last chapter; it is a hint
that saves a search, and no more.

Reading changes nothing. A chapter in MLflow's trash is read there, and brought back by whoever
writes; of several runs that may hold a first move, the one that does is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from understudy.contract import Kind, Tag, key_of
from understudy.errors import RegistryError, TrackingRefusedError
from understudy.registry.history import (
    Entry,
    History,
    Move,
    MoveCause,
    MoveEnding,
    State,
    joined,
)
from understudy.store.tracking import RunStore, tracking_errors

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

EXPERIMENT: Final = "understudy history"
# A chapter ends because all of a run's parameters come with every read of it.
CHAPTER: Final = 250
"""Moves of one run: a few tenths of a second to read on a busy machine."""
_NEXT, _ENDED, _UNUSED = "next", ".ended", "unused"


@dataclass(frozen=True, slots=True)
class Tail:
    """The end of a model's history.

    Attributes:
        history: The last chapter, and those before it as far as need be to know the champion.
        run_id: The run of the last chapter; '' where there is no history.
        chapter: Which chapter that is, from 0.
        hint: The run that was named as the last chapter; '' for none.
        seen: ISO time (UTC) when somebody last saw the champion that is on record; '' for never.
        trashed: Its runs that are in MLflow's trash, as far as they were read.
    """

    history: History
    run_id: str = ""
    segment: int = 0
    hint: str = ""
    seen: str = ""
    trashed: tuple[Run, ...] = ()


class OvertakenError(Exception):
    """Somebody else wrote that number first: read again."""


class HistoryLog:
    """The histories on one tracking server.

    Raises:
        TrackingUnavailableError: from every method, when the server does not answer.
    """

    def __init__(self, client: MlflowClient, runs: RunStore) -> None:
        self._client, self._runs = client, runs

    def tail(self, model: str, hint: str = "", *, whole: bool = False) -> Tail:
        """Return the end of a model's history; changes nothing.

        Args:
            model: The registered model.
            hint: Run of a chapter, the last one if possible; '' to search.
            whole: Whether to read all of the history.
        """
        last = self._last_chapter(model, hint)
        if last is None:
            return Tail(History(model))
        # A chapter may hold nothing but moves that were abandoned: who is champion then stands in
        # the one before.
        runs, segments = [last], [entries(model, last)]
        for run in self._earlier(last):
            if not whole and any(segment.moves for segment in segments):
                break
            runs.append(run)
            segments.insert(0, entries(model, run))
        tags = last.data.tags
        return Tail(
            joined(model, segments),
            run_id=str(last.info.run_id),
            segment=int(tags[Tag.HISTORY_CHAPTER.value]),
            hint=hint,
            seen=tags.get(Tag.HISTORY_SEEN.value, ""),
            trashed=tuple(run for run in runs if run.info.lifecycle_stage == "deleted"),
        )

    def append(self, tail: Tail, move: Move) -> str:
        """Write a move as the next one; return the run of its chapter.

        Raises:
            OvertakenError: when that number is taken.
            TrackingRefusedError: when this user may not; a move of ours is given up then.
        """
        # The text is compared whole: a retry after a lost answer finds its own line and has won,
        # while the same number with any other text is somebody else's move.
        run_id, line = self._chapter_of(tail, move.number), move.to_json()
        if self._write_once(run_id, _name(move.number), line) != line:
            raise OvertakenError
        if run_id != tail.hint:
            try:
                self._open(tail.history.model, run_id)
            except TrackingRefusedError as error:
                # Who may not tag the model may not move its alias either, so this move will not be
                # made. What was moved outside is a fact, and stays noted.
                if move.cause is not MoveCause.OUTSIDE:
                    why = f"MLflow refused: {str(error)[:500]}"
                    self.conclude(run_id, move.number, MoveEnding(State.ABANDONED, move.at, why))
                raise
        return run_id

    def conclude(self, run_id: str, number: int, ending: MoveEnding) -> MoveEnding:
        """Write how a move ended; return the ending that stands: this one, or an earlier one."""
        name = f"{_name(number)}{_ENDED}"
        return MoveEnding.of_json(self._write_once(run_id, name, ending.to_json()))

    def saw(self, tail: Tail, at: str) -> None:
        """Note when the champion on record was seen in production."""
        if tail.run_id:
            self._runs.tag(tail.run_id, {Tag.HISTORY_SEEN: at})

    def restore(self, tail: Tail) -> None:
        """Bring back chapters that somebody deleted in MLflow's UI."""
        for run in tail.trashed:
            self._revive(run)

    def _revive(self, run: Run) -> None:
        # A deleted run takes no parameter, and `mlflow gc` would remove the history with it.
        if run.info.lifecycle_stage == "deleted":
            with tracking_errors():
                self._client.restore_run(run.info.run_id)

    def _last_chapter(self, model: str, hint: str) -> Run | None:
        run = self._runs.found(hint) if hint else None
        # The tag is a hint that anybody may have changed: a run that is no chapter of this very
        # model counts as none.
        if run is None or run.data.tags.get(Tag.MODEL.value) != model:
            run = next(
                (one for one in self._candidates(model) if _name(1) in one.data.params), None
            )
        # The hint is written after the chapter is begun, so that it may lag behind.
        while run is not None and _NEXT in run.data.params:
            run = self._runs.get(run.data.params[_NEXT])
        return run

    def _first_chapter(self, model: str) -> str:
        """Return the run to write the first move into.

        Nothing makes a run unique while it is created, so there may be several. All but the one in
        use, else the one with the smallest id, are shut by taking their first number; that fails
        where somebody was quicker to use it. Who creates one looks afterwards, so that of any two
        one creator has seen both.

        Raises:
            OvertakenError: when another move is the first.
        """
        if not self._candidates(model):
            self._begin(model, 0, "")
        first, *others = self._candidates(model)
        # Shut before deleted: a creator that has not looked yet may still try to write its move 1
        # there, and must be refused by the parameter, which decides, and not by the deletion.
        for run in others:
            run_id = str(run.info.run_id)
            self._revive(run)
            if self._write_once(run_id, _name(1), _UNUSED) != _UNUSED:
                raise OvertakenError
            self._runs.delete(run_id)
        if _name(1) in first.data.params:
            raise OvertakenError
        self._revive(first)
        return str(first.info.run_id)

    def _candidates(self, model: str) -> list[Run]:
        """Return the runs that may hold the first chapter, one that does first.

        Raises:
            RegistryError: when several do.
        """
        found = self._chapters(model, 0)
        open_ = [run for run in found if run.data.params.get(_name(1)) != _UNUSED]
        used = [run for run in open_ if _name(1) in run.data.params]
        # Two chapters with a move 1 cannot come of the protocol: somebody copied or edited a run.
        if len(used) > 1:
            raise RegistryError(
                f"The model {model} has {len(used)} histories: {[run.info.run_id for run in used]}",
                allowed=f"one first chapter in the experiment {EXPERIMENT!r}",
                action=f"change the tag {Tag.KEY.value} of the one that is not its history",
            )
        unused = [run for run in open_ if run not in used]
        return [*used, *sorted(unused, key=lambda run: str(run.info.run_id))]

    def _chapters(self, model: str, segment: int) -> list[Run]:
        with tracking_errors():
            experiment = self._client.get_experiment_by_name(EXPERIMENT)
        if experiment is None:
            return []
        tags = {Tag.KIND: Kind.HISTORY.value, Tag.KEY: _key(model, segment)}
        return self._runs.search(str(experiment.experiment_id), tags, deleted=True)

    def _chapter_of(self, tail: Tail, number: int) -> str:
        """Return the run that takes a number; begins a chapter where the last one is full."""
        model, segment = tail.history.model, (number - 1) // CHAPTER
        if not tail.run_id:
            return self._first_chapter(model)
        if segment == tail.segment:
            return tail.run_id
        # Several writers may begin the same chapter. The parameter `next` of the full one is
        # written once, so it names the winner; the runs of the others hold nothing and go.
        begun = self._begin(model, segment, tail.run_id)
        stands = self._write_once(tail.run_id, _NEXT, begun)
        for run in self._chapters(model, segment):
            if run.info.run_id != stands and run.info.lifecycle_stage == "active":
                self._runs.delete(run.info.run_id)
        return stands

    def _begin(self, model: str, segment: int, before: str) -> str:
        tags = {
            Tag.KIND.value: Kind.HISTORY.value,
            Tag.KEY.value: _key(model, segment),
            Tag.MODEL.value: model,
            Tag.HISTORY_CHAPTER.value: str(segment),
            Tag.HISTORY_BEFORE.value: before,
            Tag.DESCRIPTION.value: f"Every move of the alias champion of {model}. Keep it.",
        }
        name = f"{model} from move {segment * CHAPTER + 1}"
        experiment = self._runs.experiment(EXPERIMENT)
        with tracking_errors():
            run = self._client.create_run(experiment, tags=tags, run_name=name)
        return str(run.info.run_id)

    def _open(self, model: str, run_id: str) -> None:
        """Let the registered model name a chapter as its last; no run of ours stays RUNNING.

        Where somebody has deleted the model there is nothing to name it: it is searched for then.
        """
        from mlflow.exceptions import MlflowException

        with tracking_errors():
            self._client.update_run(run_id, status="FINISHED")
            try:
                self._client.set_registered_model_tag(model, Tag.HISTORY.value, run_id)
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise

    def _earlier(self, run: Run) -> Iterator[Run]:
        while before := run.data.tags.get(Tag.HISTORY_BEFORE.value):
            run = self._runs.get(before)
            yield run

    def _write_once(self, run_id: str, name: str, value: str) -> str:
        """Write a parameter unless it is written; return the value that it has now."""
        from mlflow.exceptions import MlflowException

        with tracking_errors():
            try:
                self._client.log_param(run_id, name, value)
            except MlflowException as error:
                # MLflow's answer to another value under a name that is taken. The same code means
                # other things too (a name or value that it does not allow): then nothing stands
                # there, and the error is a real one.
                if error.error_code != "INVALID_PARAMETER_VALUE":
                    raise
                stands: str | None = self._client.get_run(run_id).data.params.get(name)
                if stands is None:
                    raise
                return stands
        return value


def entries(model: str, run: Run) -> History:
    """Return the part of a history that a chapter holds."""
    params: Mapping[str, str] = run.data.params
    numbers = sorted(int(name) for name in params if name.isdecimal() and params[name] != _UNUSED)
    entries = []
    for number in numbers:
        ended = params.get(f"{_name(number)}{_ENDED}")
        move = Move.of_json(number, params[_name(number)])
        entries.append(Entry(move, MoveEnding.of_json(ended) if ended else None))
    return History(model, tuple(entries))


def _name(number: int) -> str:
    return f"{number:08}"


def _key(model: str, segment: int) -> str:
    return key_of("history", model, segment)
