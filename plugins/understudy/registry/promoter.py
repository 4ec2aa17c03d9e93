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
        """Return a standing in which record and alias agree.

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
            since=_last_known(alias_state.tail.seen, history),
        )
        run_id = self._aliases.append(alias_state.tail, move)
        if run_id is not None:
            self._aliases.conclude(run_id, move, State.MOVED)

    def _align(self, model: str, alias_state: AliasState) -> None:
        """Let the other two aliases say what is on record, too."""
        previous, aliases = alias_state.history.previous, alias_state.aliases
        if previous is not None and aliases.get(PREVIOUS) != previous:
            self._point_if_there(model, PREVIOUS, previous)
        if alias_state.champion is not None and aliases.get(CHALLENGER) == alias_state.champion:
            self._aliases.unpoint(model, CHALLENGER)

    def _point_if_there(self, model: str, alias: str, version: str) -> None:
        """Set an alias, unless somebody has deleted the version."""
        from mlflow.exceptions import MlflowException

        try:
            self._aliases.point(model, alias, version)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise


def named(version: str | None) -> str:
    """Return a version as a message names it."""
    return "no version" if version is None else f"version {version}"


def _last_known(seen: str, history: History) -> str:
    """Return when the champion on record is known to have been in production for the last time."""
    return max(seen, history.latest) if history.moves else ""


_ROUNDS: Final = 200
"""How often a mover begins anew because others were quicker."""


@dataclass(frozen=True, slots=True)
class MoveRequest:
    """A move that is wanted.

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
        hold: What may not return by itself, after a rollback.
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
    hold: ReturnBlock | None = None


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
        return Lost(gone.before, deleted, _told_lost(model, gone, back, deleted=deleted))

    def move(self, wanted: MoveRequest) -> bool:
        """Move the alias; return False where it was there already.

        Raises:
            ChampionChangedError: when another version became champion since the decision.
            RegistryBusyError: when others were quicker again and again.
        """
        for _ in range(_ROUNDS):
            alias_state = self._settler.settled(wanted.model, wanted.key)
            if alias_state.champion == wanted.version:
                return False
            _refuse_change(alias_state, wanted)
            run_id, move = self._noted(alias_state, wanted)
            if run_id is not None and self._made(wanted.model, run_id, move):
                return True
        raise _busy(wanted)

    def _noted(self, alias_state: AliasState, wanted: MoveRequest) -> tuple[str | None, Move]:
        """Return the run that holds the move, None where another was quicker; and the move."""
        pending = alias_state.history.pending
        if pending is not None:  # ours, from an attempt that was killed
            return alias_state.tail.run_id, pending
        move = _as_move(alias_state.history, wanted)
        return self._aliases.append(alias_state.tail, move), move

    def _made(self, model: str, run_id: str, move: Move) -> bool:
        """Carry out a move that was noted; return False where it came to nothing."""
        from mlflow.exceptions import MlflowException

        try:
            if move.before is not None:
                self._aliases.point(model, PREVIOUS, move.before)
            if not self._is_still_ours(model, move):
                return False
            self._aliases.point(model, CHAMPION, str(move.after))
        except (MlflowException, TrackingRefusedError) as error:
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
        if aliases.get(CHAMPION) != move.after:
            return False  # moved on already: whoever settles next notes both
        self._aliases.tag(model, move)
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
        ours = [one for one in later if one.cause is not MoveCause.OUTSIDE]
        if alias_state.champion != move.after:
            return False
        if not later:
            again = replace(move, number=history.next_number, at=now_text(history.latest))
            run_id = self._aliases.append(alias_state.tail, again)
            return run_id is not None and self._ended(model, run_id, again)
        if ours:
            self._repair(model, move, str(ours[-1].after))
        return False

    def _repair(self, model: str, late: Move, version: str) -> None:
        why = f"version {late.after} was set by move {late.number}, which had been given up"
        repair = MoveRequest(model, version, late.after, f"repair {late.number} {late.key}")
        self.move(replace(repair, cause=MoveCause.REPAIR, actor=late.actor, why=why))


def _told_lost(model: str, gone: Move, back: str | None, *, deleted: bool) -> str:
    """Return what happened to a champion, and what to do.

    Args:
        model: The registered model.
        gone: The move that took it away.
        back: A former champion that is in the registry; None for none.
        deleted: Whether the version is gone.
    """
    when = f"between {gone.since[:16]} and {gone.at[:16]}" if gone.since else f"by {gone.at[:16]}"
    what = (
        f"somebody deleted it in MLflow {when}, and the alias {CHAMPION} with it"
        if deleted
        else f"somebody took the alias {CHAMPION} from it in MLflow {when}"
    )
    if back is None:
        return f"{what}, and no former champion is left: give a version that alias in MLflow"
    return f"{what}: `understudy rollback {model}` makes version {back} champion again"


def _refuse_change(alias_state: AliasState, wanted: MoveRequest) -> None:
    if alias_state.champion != wanted.expected:
        raise ChampionChangedError(
            f"The champion of {wanted.model} is {named(alias_state.champion)}; the decision was"
            f" made against {named(wanted.expected)}",
            allowed="a move while the champion is the one compared with",
            action="nothing: a night judges its challenger again, against the new champion",
        )


def _as_move(history: History, wanted: MoveRequest) -> Move:
    return Move(
        number=history.next_number,
        at=now_text(history.latest),
        before=wanted.expected,
        after=wanted.version,
        cause=wanted.cause,
        actor=wanted.actor,
        why=wanted.why,
        key=wanted.key,
        decision_run=wanted.decision_run,
        rehearsal_run=wanted.rehearsal_run,
        hold=wanted.hold,
    )


def _busy(wanted: MoveRequest) -> RegistryBusyError:
    return RegistryBusyError(
        f"{_ROUNDS} moves of the champion of {wanted.model} were quicker than this one",
        allowed="a moment in which nobody else moves it",
        action="look at `understudy history` who does; this may be run again",
    )
