"""What is in production and what is on record, and the calls that change either. Touches MLflow."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from understudy.contract import CHAMPION, Tag
from understudy.registry.history import History, Move, MoveEnding, State
from understudy.registry.history_log import HistoryLog, OvertakenError, Tail
from understudy.registry.versions import registered, version_of
from understudy.store.tracking import RunStore, server_time, tracking_errors

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

_DRIFT: Final = timedelta(seconds=5)
"""How far this machine's clock may be from the server's, whose clock counts beyond that."""


@dataclass(frozen=True, slots=True)
class AliasState:
    """One moment of a model's alias.

    Attributes:
        tail: The end of the history.
        aliases: The registered model's aliases: versions by name.
    """

    tail: Tail
    aliases: Mapping[str, str]

    @property
    def history(self) -> History:
        """The end of the history."""
        return self.tail.history

    @property
    def champion(self) -> str | None:
        """The version in production."""
        return self.aliases.get(CHAMPION)


class AliasStore:
    """Reads and writes a model's aliases and its history, one call at a time.

    Raises:
        TrackingUnavailableError: from every method, when the server does not answer.
    """

    def __init__(self, client: MlflowClient, runs: RunStore) -> None:
        self._client, self._log = client, HistoryLog(client, runs)
        self._begun: tuple[datetime, float] | None = None

    def now(self) -> datetime:
        """Return the time (UTC): this machine's, the tracking server's where that is another."""
        # Asked once: from then on the monotonic clock counts, which nobody sets.
        if self._begun is None:
            own, server = datetime.now(UTC), server_time(self._client)
            is_off = server is not None and abs(server - own) > _DRIFT
            self._begun = (server if server is not None and is_off else own, time.monotonic())
        begun, at = self._begun
        return begun + timedelta(seconds=time.monotonic() - at)

    def now_text(self) -> str:
        """Return ``now`` as the history has it: ISO, with milliseconds."""
        return self.now().isoformat(timespec="milliseconds")

    def alias_state(self, model: str, hint: str = "", *, whole: bool = False) -> AliasState:
        """Return a model's aliases and the end of its history; changes nothing.

        Args:
            model: The registered model.
            hint: A run of the history, if one is known.
            whole: Whether to read all of the history.
        """
        # The history before the aliases. Where somebody's whole move falls between the two, an
        # alias newer than the history looks like a move from outside, and the log refuses that
        # note as overtaken; a history newer than the alias would be noted as a move back, which
        # nobody made.
        tail = self._log.tail(model, hint or self._registered(model)[1], whole=whole)
        return AliasState(tail, self.aliases(model))

    def seen(self, model: str, *, whole: bool = False) -> AliasState:
        """Return the same, with what the alias shows and nobody has put on record in the history.

        Changes nothing.
        """
        before = None
        while True:
            alias_state = self.alias_state(model, whole=whole)
            tail, champion = alias_state.tail, alias_state.champion
            seen = tail.history.as_seen(champion, self.now_text(), tail.seen)
            # Read again where the two differ: somebody's whole move may have fallen between them.
            if seen == tail.history or before == (tail.history, champion):
                return replace(alias_state, tail=replace(tail, history=seen))
            before = (tail.history, champion)

    def restore(self, alias_state: AliasState) -> None:
        """Bring back runs of the history that somebody deleted in MLflow's UI."""
        self._log.restore(alias_state.tail)

    def aliases(self, model: str) -> Mapping[str, str]:
        """Return the versions that have an alias, by its name; none where there is no model."""
        return self._registered(model)[0]

    def has(self, model: str, version: str) -> bool:
        """Return whether a version is in the registry."""
        return version_of(self._client, model, version) is not None

    def append(self, tail: Tail, move: Move) -> str | None:
        """Note a move; return the run that holds it, or None where another one was quicker."""
        try:
            return self._log.append(tail, move)
        except OvertakenError:
            return None

    def conclude(self, run_id: str, move: Move, state: State, why: str = "") -> MoveEnding:
        """Note how a move ended; return the ending that stands."""
        return self._log.conclude(run_id, move.number, MoveEnding(state, self.now_text(), why))

    def saw(self, alias_state: AliasState) -> None:
        """Note that the champion on record was seen in production just now."""
        self._log.saw(alias_state.tail, self.now_text())

    def point(self, model: str, alias: str, version: str) -> None:
        """Set an alias."""
        with tracking_errors():
            self._client.set_registered_model_alias(model, alias, version)

    def unpoint(self, model: str, alias: str) -> None:
        """Remove an alias."""
        with tracking_errors():
            self._client.delete_registered_model_alias(model, alias)

    def tag(self, model: str, move: Move) -> None:
        """Let the version's page in MLflow name the decision that made it champion."""
        if move.decision_run and move.after is not None:
            with tracking_errors():
                self._client.set_model_version_tag(
                    model, move.after, Tag.DECISION_RUN.value, move.decision_run
                )

    def _registered(self, model: str) -> tuple[Mapping[str, str], str]:
        """Return the model's aliases and the run that it names as its history."""
        # From the model, not from its versions: `search_model_versions` returns no aliases
        # (MLflow 3.17), and one call gives the tag with the history's run as well.
        found = registered(self._client, model)
        if found is None:
            return {}, ""
        aliases = {name: str(version) for name, version in found.aliases.items()}
        return aliases, found.tags.get(Tag.HISTORY.value, "")
