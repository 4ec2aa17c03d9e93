"""Puts on record what happened to an alias while nobody of ours looked. Touches MLflow."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from understudy.contract import CHALLENGER, PREVIOUS
from understudy.registry.alias_store import Office, Standing
from understudy.registry.history import Cause, Move, State, now_text

if TYPE_CHECKING:
    from understudy.registry.history import History

PATIENCE: Final = 60.0
"""Seconds that a mover has from noting a move to noting its ending, before others give it up."""
_PAUSE: Final = 0.1
_OUTSIDE: Final = "moved by somebody else: MLflow does not say who"
_FOUND: Final = "found when the history began"


class Settler:
    """Leaves no loose ends: ends what movers left halfway, notes what was moved outside.

    Args:
        office: What reads and writes.
        patience: Seconds after which a move without an ending is given up.
    """

    def __init__(self, office: Office, patience: float = PATIENCE) -> None:
        self._office, self._patience = office, patience

    def settled(self, model: str, key: str = "") -> Standing:
        """Return a standing in which record and alias agree.

        Waits for the end of a move that may be alive.

        Args:
            model: The registered model.
            key: Of an attempt; its own move may stay without an ending, for it to go on.
        """
        while True:
            standing = self._office.standing(model)
            pending = standing.history.pending
            if pending is not None:
                if key and pending.key == key and standing.champion == pending.before:
                    return standing
                self._end(model, standing, pending)
            elif standing.champion != standing.history.champion:
                self._note_outside(standing)
            else:
                self._align(model, standing)
                return standing

    def _end(self, model: str, standing: Standing, pending: Move) -> None:
        """End a move that its mover has not ended, unless that may be alive."""
        run_id, now = standing.tail.run_id, standing.champion
        if now == pending.after or pending.cause is Cause.OUTSIDE:
            self._office.tag(model, pending)
            self._office.conclude(run_id, pending, State.MOVED)
        elif now != pending.before:
            why = f"somebody else moved the alias to {named(now)}"
            self._office.conclude(run_id, pending, State.ABANDONED, why)
        elif self._is_over(pending):
            why = "its mover ended without a word before the alias was moved"
            self._office.conclude(run_id, pending, State.ABANDONED, why)
        else:
            time.sleep(_PAUSE)

    def _is_over(self, pending: Move) -> bool:
        """Return whether a mover must be dead; the clocks of two machines may differ."""
        age = datetime.now(UTC) - datetime.fromisoformat(pending.at)
        return abs(age.total_seconds()) > self._patience

    def _note_outside(self, standing: Standing) -> None:
        """Put on record what somebody moved without us; whoever notices first does."""
        history = standing.history
        move = Move(
            number=history.next_number,
            at=now_text(history.latest),
            before=history.champion,
            after=standing.champion,
            cause=Cause.OUTSIDE,
            why=_OUTSIDE if history.entries else _FOUND,
            since=_last_known(standing.tail.seen, history),
        )
        run_id = self._office.append(standing.tail, move)
        if run_id is not None:
            self._office.conclude(run_id, move, State.MOVED)

    def _align(self, model: str, standing: Standing) -> None:
        """Let the other two aliases say what is on record, too."""
        previous, aliases = standing.history.previous, standing.aliases
        if previous is not None and aliases.get(PREVIOUS) != previous:
            self._point_if_there(model, PREVIOUS, previous)
        if standing.champion is not None and aliases.get(CHALLENGER) == standing.champion:
            self._office.unpoint(model, CHALLENGER)

    def _point_if_there(self, model: str, alias: str, version: str) -> None:
        """Set an alias, unless somebody has deleted the version."""
        from mlflow.exceptions import MlflowException

        try:
            self._office.point(model, alias, version)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise


def named(version: str | None) -> str:
    """Return a version as a message names it."""
    return "no version" if version is None else f"version {version}"


def _last_known(seen: str, history: History) -> str:
    """Return when the champion on record is known to have been in production for the last time."""
    return max(seen, history.latest) if history.moves else ""
