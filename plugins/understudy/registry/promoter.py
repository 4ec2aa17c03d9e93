"""The one way to move the alias ``champion``. Touches MLflow's registry and the log.

A move is noted, made, looked at, and its ending noted, in this order::

    settle      end what others left halfway, put on record what was moved outside
    note        the move, as the next number of the log: of several movers one gets it
    previous    the alias ``previous``, to the champion of now
    look        right before: nobody has given us up, nobody has moved anything
    champion    the alias ``champion``: the one call that counts
    verify      right after: ours is the last move of the log, and the alias shows it
    end         the ending, in the log

The log decides. A number is written once, the next one not before it has an ending, and an ending
is written once: so of all movers one at a time may move the alias. Killed between any two steps,
the old version or the new one is champion, and the next mover ends the move: as made, where the
alias shows it; else as given up, when it has itself seen the move unchanged for ``PATIENCE`` by
its monotonic clock. The same attempt, made again, goes on where it was. No wall clock decides
anything: times are for people, and are those of the tracking server.

MLflow has no call that moves an alias only if it still is where it was (3.17), so a call for the
alias that takes effect late cannot be refused. What holds:

* Who is told "yes" has its move on record as made, once; who is told "no" has none. This needs the
  log alone, and holds whatever stalls, dies or is lost.
* As long as no mover stalls for longer than ``PATIENCE`` between "look" and the effect of
  "champion", a mover overwrites only what it has looked at, except a move from outside that falls
  between these two, the time of one call. That one is overwritten without being seen.
* A mover that stalled longer finds at "verify" that the log went on without it. If nothing was made
  meanwhile, its move stands and is noted anew; else it puts back the champion that it overwrote.
  Only a champion that was on record as made is put back.
* If such a mover dies between these two calls, or the server carries its call out after it is
  dead, its version stays champion, and is on record as a move from outside that may have been its.

Looking changes nothing in MLflow: what is not on record yet is shown as it will be noted.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from understudy.contract import CHALLENGER, CHAMPION, PREVIOUS
from understudy.errors import RegistryError, TrackingRefusedError
from understudy.registry.alias_store import AliasState, AliasStore
from understudy.registry.history import Move, MoveCause, ReturnBlock, State
from understudy.store.tracking import RunStore

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

    from understudy.registry.history import History


PATIENCE: Final = 60.0
"""Seconds for which a mover watches another's move, unchanged, before it gives that up."""
_PAUSE: Final = 0.1


class Reconciler:
    """Leaves no loose ends: ends what movers left halfway, notes what was moved outside.

    Args:
        aliases: What reads and writes.
        patience: Seconds for which a move without an ending is watched before it is given up.
    """

    def __init__(self, aliases: AliasStore, patience: float = PATIENCE) -> None:
        self._aliases, self._patience = aliases, patience

    def settled(self, model: str, key: str = "") -> AliasState:
        """Return a state in which record and alias agree.

        Args:
            model: The registered model.
            key: Of an attempt; its own move may stay without an ending, for it to go on.
        """
        while True:
            alias_state = self.ended(model, key)
            if alias_state.history.pending is not None:
                return alias_state
            if alias_state.champion == alias_state.history.champion:
                self._align(model, alias_state)
                return alias_state
            self._note_outside(alias_state)

    def ended(self, model: str, key: str = "") -> AliasState:
        """Return a state in which no move is under way; wait for the end of one that may be alive.

        Args:
            model: The registered model.
            key: Of an attempt; its own move may stay without an ending, for it to go on.
        """
        watched: tuple[int, float] | None = None
        while True:
            alias_state = self._aliases.alias_state(model)
            self._aliases.restore(alias_state)
            pending, champion = alias_state.history.pending, alias_state.champion
            if pending is None or (key == pending.key != "" and champion == pending.before):
                return alias_state
            if watched is None or watched[0] != pending.number:
                watched = (pending.number, time.monotonic())
            run_id = alias_state.tail.run_id
            # The alias is the truth: where it shows the move, the move was made, whoever wrote it
            # down or did not. One from outside is noted after the fact and has nothing left to do.
            if champion == pending.after or pending.cause is MoveCause.OUTSIDE:
                self._aliases.tag(model, pending)
                self._aliases.conclude(run_id, pending, State.MOVED)
            elif key == pending.key != "":
                why = f"somebody else moved the alias to {named(champion)}"
                self._aliases.conclude(run_id, pending, State.ABANDONED, why)
            elif time.monotonic() - watched[1] >= self._patience:
                why = f"it was watched for {self._patience:g} s, and its mover did not go on"
                self._aliases.conclude(run_id, pending, State.ABANDONED, why)
            else:
                time.sleep(_PAUSE)

    def _note_outside(self, alias_state: AliasState) -> None:
        """Put on record what somebody moved without us; whoever notices first does."""
        tail, champion = alias_state.tail, alias_state.champion
        move = tail.history.outside(champion, self._aliases.now_text(), tail.seen)
        # None: another observer noted the same change first, and one entry is enough.
        run_id = self._aliases.append(tail, move)
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
        patience: Seconds for which another's move without an ending is watched before it is given
            up.

    Raises:
        TrackingUnavailableError: from every method, when the server does not answer.
    """

    def __init__(self, client: MlflowClient, runs: RunStore, patience: float = PATIENCE) -> None:
        self._aliases = AliasStore(client, runs)
        self._settler = Reconciler(self._aliases, patience)

    def look(self, model: str) -> AliasState:
        """Return what is in production, and the end of the history up to that; changes nothing."""
        return self._aliases.seen(model)

    def history(self, model: str) -> History:
        """Return the whole history of a model, up to what is in production; changes nothing."""
        return self._aliases.seen(model, whole=True).history

    def settle(self, model: str) -> AliasState:
        """Return what is in production, after what happened meanwhile was put on record."""
        # All of it, once: `mlflow gc` would remove for good what lies in the trash.
        self._aliases.restore(self._aliases.alias_state(model, whole=True))
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
            # By an earlier try of the same attempt; others have moved on since.
            if alias_state.history.has_made(request.key, request.expected):
                return True
            # MLflow's alias call has no compare-and-swap (3.17): it overwrites whatever is there.
            # The comparison is made here, and again right before the call, in `_is_next`.
            if alias_state.champion != request.expected:
                raise _changed(request.model, alias_state.champion, request.expected)
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
            at=self._aliases.now_text(),
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
            if not self._is_next(model, run_id, move):
                return False
            self._aliases.point(model, CHAMPION, str(move.after))
        except (MlflowException, TrackingRefusedError) as error:
            # A refusal is final, so that the ending is known. No answer at all is not caught: the
            # call may have arrived, and who settles next reads from the alias whether it did.
            why = f"MLflow refused: {str(error)[:500]}"
            self._aliases.conclude(run_id, move, State.ABANDONED, why)
            raise
        return self._verified(model, run_id, move)

    def _is_next(self, model: str, run_id: str, move: Move) -> bool:
        """Return whether nobody has given the move up, or moved anything since it was noted."""
        alias_state = self._aliases.alias_state(model, run_id)
        pending = alias_state.history.pending
        is_ours = pending is not None and pending.number == move.number
        return is_ours and alias_state.champion == move.before

    def _verified(self, model: str, run_id: str, move: Move) -> bool:
        """Note the ending of a move whose call was answered; return whether it was made.

        Raises:
            ChampionChangedError: when somebody else moved the alias right afterwards.
        """
        alias_state = self._aliases.alias_state(model, run_id)
        if alias_state.history.next_number != move.number + 1:
            return self._late(model, run_id, move)
        if alias_state.champion == move.after:
            self._aliases.tag(model, move)
            # The first ending that is written stands. ABANDONED here means that this mover was so
            # slow that others had given it up.
            if self._aliases.conclude(run_id, move, State.MOVED).state is State.ABANDONED:
                return self._late(model, run_id, move)
            if alias_state.aliases.get(CHALLENGER) == move.after:
                self._aliases.unpoint(model, CHALLENGER)
            return True
        why = f"somebody else moved the alias to {named(alias_state.champion)} right afterwards"
        if self._aliases.conclude(run_id, move, State.ABANDONED, why).state is State.MOVED:
            return True
        # Not made again: whoever moved it right after us saw our version, and wanted another one.
        raise _changed(model, alias_state.champion, move.after)

    def _late(self, model: str, run_id: str, move: Move) -> bool:
        """Put right a call that may have come after others had gone on; return whether it stands.

        The log has further moves, or others had given this one up.
        """
        # It has an ending, which this asks for: the first one stands.
        made = self._aliases.conclude(run_id, move, State.ABANDONED).state is State.MOVED
        while True:
            alias_state = self._settler.ended(model)
            history, since = alias_state.history, alias_state.history.since(move.number)
            if alias_state.champion != move.after:
                return made
            if history.champion == move.after:
                break
            # Nobody made another move since: it is noted anew, under a number that has no ending.
            if not since:
                again = replace(move, number=history.next_number, at=self._aliases.now_text())
                noted = self._aliases.append(alias_state.tail, again)
                return noted is not None and self._verified(model, noted, again)
            self._settler.settled(model)
        *others, last = [entry.move for entry in since] or [move]
        if others and last.cause is MoveCause.OUTSIDE and last.before is not None:
            # Another's champion was overwritten: it is put back by a move of its own, so that the
            # history says what happened. Where somebody has moved on, there is nothing to put back.
            with suppress(ChampionChangedError):
                self.move(
                    MoveRequest(
                        model,
                        version=last.before,
                        expected=move.after,
                        key=f"repair {last.number} {move.key}",
                        cause=MoveCause.REPAIR,
                        actor=move.actor,
                        why=f"version {move.after} was set late, by move {move.number}",
                    )
                )
        return made


def _changed(model: str, champion: str | None, expected: str | None) -> ChampionChangedError:
    return ChampionChangedError(
        f"The champion of {model} is {named(champion)};"
        f" the decision was made against {named(expected)}",
        allowed="a move while the champion is the one compared with",
        action="nothing: a night judges its challenger again, against the new champion",
    )
