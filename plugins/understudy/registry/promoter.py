"""The one way to move the alias ``champion``. Touches MLflow's registry and the log.

A move is noted, made, looked at, and its ending noted, in this order::

    settle      put on record what others left halfway or moved outside
    note        the move, as the next number of the log: of several movers one gets it
    previous    the alias ``previous``, to the champion of now
    look        right before: nobody has moved anything, nobody has given us up
    champion    the alias ``champion``: the one call that counts
    verify      right after
    end         the ending, in the log

Killed between any two, the old version or the new one is champion, and the next one who looks ends
the move: as made, where the alias shows it; else as abandoned. The same attempt, made again, goes
on where it was. A mover who finds another's move under way waits for its end, for at most
``PATIENCE``. One that was given up and wakes up afterwards is refused its ending, and
puts right what it did.

What no client of MLflow can rule out: a move from outside between "look" and "champion", in the
time of one call, is overwritten without being seen.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from understudy.contract import CHALLENGER, CHAMPION, PREVIOUS
from understudy.errors import RegistryError, TrackingRefusedError
from understudy.registry.alias_store import AliasState, AliasStore
from understudy.registry.history import History, Move, MoveCause, ReturnBlock, State, now_text
from understudy.store.tracking import RunStore

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

    from understudy.registry.history import History


PATIENCE: Final = 60.0
"""Seconds that a mover has from noting a move to noting its ending, before others give it up."""
_PAUSE: Final = 0.1
_OUTSIDE: Final = "moved by somebody else: MLflow does not say who"
_FOUND: Final = "found when the history began"


class Reconciler:
    """Leaves no loose ends: ends what movers left halfway, notes what was moved outside.

    Args:
        aliases: What reads and writes.
        patience: Seconds after which a move without an ending is given up.
    """

    def __init__(self, aliases: AliasStore, patience: float = PATIENCE) -> None:
        self._aliases, self._patience = aliases, patience

    def settled(self, model: str, key: str = "") -> AliasState:
        """Return a state in which record and alias agree.

        Waits for the end of a move that may be alive.

        Args:
            model: The registered model.
            key: Of an attempt; its own move may stay without an ending, for it to go on.
        """
        while True:
            alias_state = self._aliases.alias_state(model)
            pending = alias_state.history.pending
            if pending is not None:
                if key and pending.key == key and alias_state.champion == pending.before:
                    return alias_state
                self._end(model, alias_state, pending)
            elif alias_state.champion != alias_state.history.champion:
                self._note_outside(alias_state)
            else:
                self._align(model, alias_state)
                return alias_state

    def _end(self, model: str, alias_state: AliasState, pending: Move) -> None:
        """End a move that its mover has not ended, unless that may be alive."""
        run_id, now = alias_state.tail.run_id, alias_state.champion
        # The alias is the truth: where it shows the move, the move was made, whoever wrote it down
        # or did not. One from outside is noted after the fact and has nothing left to be done.
        if now == pending.after or pending.cause is MoveCause.OUTSIDE:
            self._aliases.tag(model, pending)
            self._aliases.conclude(run_id, pending, State.MOVED)
        elif now != pending.before:
            why = f"somebody else moved the alias to {named(now)}"
            self._aliases.conclude(run_id, pending, State.ABANDONED, why)
        elif self._is_over(pending):
            why = "its mover ended without a word before the alias was moved"
            self._aliases.conclude(run_id, pending, State.ABANDONED, why)
        else:
            time.sleep(_PAUSE)

    def _is_over(self, pending: Move) -> bool:
        """Return whether a mover must be dead; the clocks of two machines may differ."""
        age = datetime.now(UTC) - datetime.fromisoformat(pending.at)
        return abs(age.total_seconds()) > self._patience

    def _note_outside(self, alias_state: AliasState) -> None:
        """Put on record what somebody moved without us; whoever notices first does."""
        history = alias_state.history
        move = Move(
            number=history.next_number,
            at=now_text(history.latest),
            before=history.champion,
            after=alias_state.champion,
            cause=MoveCause.OUTSIDE,
            why=_OUTSIDE if history.entries else _FOUND,
            # When the champion on record is known to have been in production for the last time.
            since=max(alias_state.tail.seen, history.latest) if history.moves else "",
        )
        # None: another observer noted the same change first, and one entry is enough.
        run_id = self._aliases.append(alias_state.tail, move)
        if run_id is not None:
            self._aliases.conclude(run_id, move, State.MOVED)

    def _align(self, model: str, alias_state: AliasState) -> None:
        """Make the aliases ``previous`` and ``challenger`` agree with the record, too."""
        from mlflow.exceptions import MlflowException

        previous, aliases = alias_state.history.previous, alias_state.aliases
        if previous is not None and aliases.get(PREVIOUS) != previous:
            try:
                self._aliases.point(model, PREVIOUS, previous)
            except MlflowException as error:
                # Somebody deleted that version in MLflow: there is nothing to point at.
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
        if alias_state.champion is not None and aliases.get(CHALLENGER) == alias_state.champion:
            self._aliases.unpoint(model, CHALLENGER)


def named(version: str | None) -> str:
    """Return a version as a message names it."""
    return "no version" if version is None else f"version {version}"


_ROUNDS: Final = 200
"""How often a mover begins anew because others were quicker."""


@dataclass(frozen=True, slots=True)
class MoveRequest:
    """A requested move.

    Attributes:
        model: The registered model.
        version: The version to be champion.
        expected: The champion that the decision was made against; None for "there is none".
        key: Identity of the attempt: made again with the same key, it is the same move.
        cause: Why.
        actor: Who: a person, or a Dag run.
        why: The reason in words.
        decision_run: The MLflow run that holds the decision record, or ''.
        rehearsal_run: The MLflow run that holds the rehearsal, or ''.
        block: What may not return by itself, after a rollback.
    """

    model: str
    version: str
    expected: str | None
    key: str
    cause: MoveCause = MoveCause.NIGHT
    actor: str = ""
    why: str = ""
    decision_run: str = ""
    rehearsal_run: str = ""
    block: ReturnBlock | None = None


@dataclass(frozen=True, slots=True)
class Lost:
    """A champion that somebody took away, so that a model has none.

    Attributes:
        version: Its version.
        deleted: Whether it is gone, and not its alias alone.
        reason: What happened and what to do, in words.
    """

    version: str
    deleted: bool
    reason: str


class ChampionChangedError(RegistryError):
    """The champion is not the one that the decision was made against."""


class RegistryBusyError(RegistryError):
    """Others move the same alias all the time."""

    retryable = True


class Promoter:
    """Moves the alias ``champion``, and notices who else does.

    Args:
        client: Of the tracking server with the registry.
        runs: Of the same.
        patience: Seconds after which another's move without an ending is given up.

    Raises:
        TrackingUnavailableError: from every method, when the server does not answer.
    """

    def __init__(self, client: MlflowClient, runs: RunStore, patience: float = PATIENCE) -> None:
        self._aliases = AliasStore(client, runs)
        self._settler = Reconciler(self._aliases, patience)

    def history(self, model: str) -> History:
        """Return the whole history of a model, as it is on record."""
        return self._aliases.history(model)

    def look(self, model: str) -> AliasState:
        """Return what is in production, after what happened meanwhile was put on record."""
        alias_state = self._settler.settled(model)
        self._aliases.saw(alias_state)
        return alias_state

    def lost(self, model: str) -> Lost | None:
        """Return the champion that somebody took away; None where there is one, or never was."""
        history = self.look(model).history
        gone = history.lost
        if gone is None or gone.before is None:
            return None
        deleted = not self._aliases.has(model, gone.before)
        back = next((one for one in history.former if self._aliases.has(model, one)), None)
        when = (
            f"between {gone.since[:16]} and {gone.at[:16]}" if gone.since else f"by {gone.at[:16]}"
        )
        # MLflow deletes a version without asking whether it is champion, and drops its aliases
        # silently (3.17): only the history still knows that there was one.
        what = (
            f"somebody deleted it in MLflow {when}, and the alias {CHAMPION} with it"
            if deleted
            else f"somebody took the alias {CHAMPION} from it in MLflow {when}"
        )
        next_step = (
            ", and no former champion is left: give a version that alias in MLflow"
            if back is None
            else f": `understudy rollback {model}` makes version {back} champion again"
        )
        return Lost(gone.before, deleted, what + next_step)

    def move(self, request: MoveRequest) -> bool:
        """Move the alias; return False where it was there already.

        Raises:
            ChampionChangedError: when another version became champion since the decision.
            RegistryBusyError: when others were quicker again and again.
        """
        for _ in range(_ROUNDS):
            alias_state = self._settler.settled(request.model, request.key)
            if alias_state.champion == request.version:
                return False
            # MLflow's alias call has no compare-and-swap (3.17): it overwrites whatever is there.
            # The comparison is made here, and again right before the call, in `_is_still_ours`.
            if alias_state.champion != request.expected:
                raise ChampionChangedError(
                    f"The champion of {request.model} is {named(alias_state.champion)};"
                    f" the decision was made against {named(request.expected)}",
                    allowed="a move while the champion is the one compared with",
                    action="nothing: a night judges its challenger again, against the new champion",
                )
            run_id, move = self._noted(alias_state, request)
            if run_id is not None and self._made(request.model, run_id, move):
                return True
        raise RegistryBusyError(
            f"{_ROUNDS} moves of the champion of {request.model} were quicker than this one",
            allowed="a moment in which nobody else moves it",
            action="look at `understudy history` who does; this may be run again",
        )

    def _noted(self, alias_state: AliasState, request: MoveRequest) -> tuple[str | None, Move]:
        """Return the run that holds the move, None where another was quicker; and the move."""
        history = alias_state.history
        # Every other unfinished move was settled: this one is of the same key, left by an attempt
        # that was killed, and is carried on instead of being written a second time.
        if history.pending is not None:
            return alias_state.tail.run_id, history.pending
        move = Move(
            number=history.next_number,
            at=now_text(history.latest),
            before=request.expected,
            after=request.version,
            cause=request.cause,
            actor=request.actor,
            why=request.why,
            key=request.key,
            decision_run=request.decision_run,
            rehearsal_run=request.rehearsal_run,
            block=request.block,
        )
        return self._aliases.append(alias_state.tail, move), move

    def _made(self, model: str, run_id: str, move: Move) -> bool:
        """Carry out a move that was noted; return False where it came to nothing."""
        from mlflow.exceptions import MlflowException

        try:
            # `previous` first: killed in between, both aliases name the version that is still in
            # production; killed afterwards, neither lags behind.
            if move.before is not None:
                self._aliases.point(model, PREVIOUS, move.before)
            if not self._is_still_ours(model, move):
                return False
            self._aliases.point(model, CHAMPION, str(move.after))
        except (MlflowException, TrackingRefusedError) as error:
            # A refusal is final, so that the ending is known. No answer at all is not caught: the
            # call may have arrived, and who settles next reads from the alias whether it did.
            why = f"MLflow refused: {str(error)[:500]}"
            self._aliases.conclude(run_id, move, State.ABANDONED, why)
            raise
        return self._ended(model, run_id, move)

    def _is_still_ours(self, model: str, move: Move) -> bool:
        alias_state = self._aliases.alias_state(model)
        pending = alias_state.history.pending
        same = pending is not None and (pending.number, pending.key) == (move.number, move.key)
        return same and alias_state.champion == move.before

    def _ended(self, model: str, run_id: str, move: Move) -> bool:
        """Verify, and note the ending; return whether the move stands."""
        aliases = self._aliases.aliases(model)
        # Moved on already: whoever settles next notes both.
        if aliases.get(CHAMPION) != move.after:
            return False
        self._aliases.tag(model, move)
        # The first ending that is written stands. ABANDONED here means that this mover was so slow
        # that others had given it up, and may have acted on that.
        if self._aliases.conclude(run_id, move, State.MOVED).state is State.ABANDONED:
            return self._late(model, move)
        if aliases.get(CHALLENGER) == move.after:
            self._aliases.unpoint(model, CHALLENGER)
        return True

    def _late(self, model: str, move: Move) -> bool:
        """Put right a move that was made after others had given it up; return whether it stands."""
        alias_state = self._aliases.alias_state(model)
        history = alias_state.history
        later = [one.move for one in history.entries if one.move.number > move.number]
        decided = [one for one in later if one.cause is not MoveCause.OUTSIDE]
        if alias_state.champion != move.after:
            return False
        # Nobody decided anything since: the move is noted anew, under a number that is not ended.
        if not later:
            again = replace(move, number=history.next_number, at=now_text(history.latest))
            run_id = self._aliases.append(alias_state.tail, again)
            return run_id is not None and self._ended(model, run_id, again)
        # Others moved on in the meantime, and this late call overwrote their champion: it is put
        # back by a move of its own, so that the history says what happened.
        if decided:
            repair = MoveRequest(
                model,
                version=str(decided[-1].after),
                expected=move.after,
                key=f"repair {move.number} {move.key}",
                cause=MoveCause.REPAIR,
                actor=move.actor,
                why=f"version {move.after} was set by move {move.number}, which had been given up",
            )
            self.move(repair)
        return False
