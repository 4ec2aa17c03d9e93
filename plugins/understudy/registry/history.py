"""The moves of one model's alias ``champion``, in order, and what follows from them. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from understudy.errors import RegistryError

_LONGEST: Final = 6000
"""Characters of an entry: MLflow cuts a parameter that is longer, without a word."""
_OUTSIDE: Final = "moved by somebody else: MLflow does not say who"
_FOUND: Final = "found when the history began"


class MoveCause(StrEnum):
    """Why the alias moved."""

    NIGHT = "night"
    """A scheduled night's verdict."""
    PERSON = "person"
    """The verdict of a night that a person started or approved."""
    ROLLBACK = "rollback"
    """A person, back to an earlier version."""
    OUTSIDE = "outside"
    """Somebody else, by MLflow's UI or interface; noticed afterwards."""
    REPAIR = "repair"
    """Ours, to put back the champion that a mover overwrote after others had gone on."""


class State(StrEnum):
    """How a move ended."""

    MOVED = "moved"
    ABANDONED = "abandoned"


class Scope(StrEnum):
    """What may not return by itself after a rollback."""

    VERSION = "version"
    """The version, and any trained from the same code, data and parameters."""
    COMMIT = "commit"
    """Whatever was trained from the version's commit."""
    MODEL = "model"
    """No night's model at all."""


@dataclass(frozen=True, slots=True)
class Trained:
    """What a version was made of; each may be '' for unknown.

    Attributes:
        version: Its number in the registry.
        run_id: The training run.
        commit: The project's commit.
        fingerprint: Of the night's code, data and parameters.
    """

    version: str
    run_id: str = ""
    commit: str = ""
    fingerprint: str = ""


@dataclass(frozen=True, slots=True)
class ReturnBlock:
    """What a rollback keeps from coming back by itself.

    Attributes:
        scope: How much.
        trained: What was rolled back from.
        until: ISO time (UTC) of its end; '' for none.
    """

    scope: Scope
    trained: Trained
    until: str = ""

    def covers(self, other: Trained, now: datetime) -> bool:
        """Return whether a version must not become champion by a night's verdict."""
        if self.until and datetime.fromisoformat(self.until) <= now:
            return False
        if self.scope is Scope.MODEL or other.version == self.trained.version:
            return True
        # An unknown fact ('') is like nothing: two versions of unknown origin are not related.
        alike = ["run_id", "fingerprint", *(["commit"] if self.scope is Scope.COMMIT else [])]
        return any(getattr(self.trained, name) == getattr(other, name) != "" for name in alike)


@dataclass(frozen=True, slots=True)
class Move:
    """A move as it was noted before it was made, or, from outside, when it was noticed.

    Attributes:
        number: Its place in the history, from 1.
        at: ISO time (UTC).
        before: The champion until then; None for none.
        after: The version that becomes champion; None where somebody took the alias away.
        cause: Why it moved.
        actor: Who: a person, or the Dag run.
        why: The reason in words.
        key: Identity of the attempt, so that it knows its own move again; '' from outside.
        decision_run: The MLflow run with the decision record, or ''.
        rehearsal_run: The MLflow run with the rehearsal, or ''.
        since: From outside: ISO time when ``before`` was last seen in production, or ''.
        block: What may not return, after a rollback.
    """

    number: int
    at: str
    before: str | None
    after: str | None
    cause: MoveCause
    actor: str = ""
    why: str = ""
    key: str = ""
    decision_run: str = ""
    rehearsal_run: str = ""
    since: str = ""
    block: ReturnBlock | None = None

    def to_json(self) -> str:
        """Return the move as one line of JSON, without its number and without empty fields."""
        facts = {name: fact for name, fact in asdict(self).items() if fact not in ("", None)}
        # The number is the name of the parameter that holds the text.
        del facts["number"]
        text = json.dumps(facts, ensure_ascii=False)
        if len(text) <= _LONGEST:
            return text
        return replace(self, why=f"{self.why[: len(self.why) // 2]}...").to_json()

    @classmethod
    def of_json(cls, number: int, text: str) -> Move:
        """Return the move that ``to_json`` wrote."""
        facts: dict[str, Any] = {"before": None, "after": None, **json.loads(text)}
        facts["cause"] = MoveCause(facts["cause"])
        # 0.1 stored it under another name.
        if block := facts.pop("hold", None) or facts.get("block"):
            facts["block"] = ReturnBlock(
                Scope(block["scope"]), Trained(**block["trained"]), block["until"]
            )
        return cls(number, **facts)


@dataclass(frozen=True, slots=True)
class MoveEnding:
    """How a move ended, when (ISO time, UTC) that was known, and why, if not as planned."""

    state: State
    at: str
    why: str = ""

    def to_json(self) -> str:
        """Return the ending as one line of JSON."""
        return json.dumps({name: fact for name, fact in asdict(self).items() if fact})

    @classmethod
    def of_json(cls, text: str) -> MoveEnding:
        """Return the ending that ``to_json`` wrote."""
        facts = json.loads(text)
        return cls(State(facts["state"]), facts["at"], facts.get("why", ""))


@dataclass(frozen=True, slots=True)
class Entry:
    """A move and its ending; None while it is under way, or was killed."""

    move: Move
    ending: MoveEnding | None

    @property
    def moved(self) -> bool:
        """Whether the alias moved."""
        return self.ending is not None and self.ending.state is State.MOVED


@dataclass(frozen=True, slots=True)
class History:
    """Moves of one model's alias, the earliest first; possibly only the last ones.

    Attributes:
        model: The registered model.
        entries: The moves; only the last may be without an ending.
    """

    model: str
    entries: tuple[Entry, ...] = ()

    @property
    def moves(self) -> tuple[Entry, ...]:
        """The moves that were made."""
        return tuple(entry for entry in self.entries if entry.moved)

    @property
    def champion(self) -> str | None:
        """The version in production, as far as is on record."""
        moves = self.moves
        return moves[-1].move.after if moves else None

    @property
    def former(self) -> tuple[str, ...]:
        """The versions that were in production and are not now, the last one first."""
        left = [entry.move.before for entry in reversed(self.moves)]
        known = dict.fromkeys(version for version in left if version is not None)
        return tuple(version for version in known if version != self.champion)

    @property
    def previous(self) -> str | None:
        """The last version in production that is not the present one."""
        return next(iter(self.former), None)

    @property
    def lost(self) -> Move | None:
        """The move by which somebody took the champion away, and no other came; None for none."""
        moves = self.moves
        return moves[-1].move if moves and moves[-1].move.after is None else None

    def replaced(self, version: str) -> str | None:
        """Return the version that was in production before a version last came there, or None."""
        arrivals = (entry.move for entry in reversed(self.moves) if entry.move.after == version)
        return next((move.before for move in arrivals), None)

    @property
    def pending(self) -> Move | None:
        """The move that is under way or was left halfway."""
        last = self.entries[-1] if self.entries else None
        return last.move if last is not None and last.ending is None else None

    @property
    def next_number(self) -> int:
        """The number of the next move."""
        return self.entries[-1].move.number + 1 if self.entries else 1

    @property
    def latest(self) -> str:
        """ISO time (UTC) of the last thing on record; '' for none."""
        if not self.entries:
            return ""
        last = self.entries[-1]
        return last.ending.at if last.ending else last.move.at

    def since(self, number: int) -> tuple[Entry, ...]:
        """Return the moves that were made after the one of that number."""
        return tuple(entry for entry in self.moves if entry.move.number > number)

    def has_made(self, key: str, before: str | None) -> bool:
        """Return whether an attempt's move from that champion was made."""
        made = (entry.move for entry in self.moves)
        return any((move.key, move.before) == (key, before) for move in made)

    def outside(self, champion: str | None, at: str, seen: str = "") -> Move:
        """Return the move that nobody put on record, though the alias shows it.

        Args:
            champion: What the alias shows.
            at: ISO time (UTC) of now.
            seen: The same, when the champion on record was last seen; '' for never.
        """
        given_up = [
            one.move.number
            for one in self.entries
            if one.move.after == champion and one.ending and not one.moved
        ]
        why = _OUTSIDE if self.entries else _FOUND
        if given_up:
            why += f"; or late by move {given_up[-1]}, which had been given up"
        since = min(max(seen, self.latest), at) if self.moves else ""
        cause = MoveCause.OUTSIDE
        return Move(self.next_number, at, self.champion, champion, cause, why=why, since=since)

    def as_seen(self, champion: str | None, at: str, seen: str = "") -> History:
        """Return the history with what the alias shows and nobody has put on record yet."""
        entries, pending = self.entries, self.pending
        if pending is not None:
            if champion == pending.before and pending.cause is not MoveCause.OUTSIDE:
                return self
            made = champion == pending.after or pending.cause is MoveCause.OUTSIDE
            state = State.MOVED if made else State.ABANDONED
            entries = (*entries[:-1], Entry(pending, MoveEnding(state, at)))
        known = History(self.model, entries)
        if champion == known.champion:
            return known
        move = known.outside(champion, at, seen)
        return History(self.model, (*entries, Entry(move, MoveEnding(State.MOVED, at))))

    def at(self, moment: datetime, now: datetime) -> tuple[str | None, ...]:
        """Return what was in production then: one version or None, or both of a move under way.

        Of a move from outside only two moments are known, between which it was made. The order is
        that of the numbers: a time after that of a later move, or after ``now``, was told by a
        clock that was ahead, and counts as that one.

        Args:
            moment: Then.
            now: The present time.

        Raises:
            RegistryError: when the history begins later.
        """
        moment = min(moment, now)
        for entry in reversed(self.moves):
            ended = now if entry.ending is None else min(now, _time(entry.ending.at))
            now = min(ended, _time(entry.move.since or entry.move.at))
            if now <= moment < ended:
                return (entry.move.before, entry.move.after)
            if ended <= moment:
                return (entry.move.after,)
        first = self.moves[0].move.at if self.moves else "nowhere: it is empty"
        raise RegistryError(
            f"{moment.isoformat()} is before the history of {self.model}, which begins {first}",
            allowed="a moment since the first promotion that Understudy made or noticed",
            action="ask for a later moment",
        )

    def blocked(self, trained: Trained, now: datetime) -> Entry | None:
        """Return the rollback that keeps a version from becoming champion by itself, or None.

        It does so until a person, or somebody outside, makes the version champion again.
        """
        for entry in reversed(self.moves):
            block = entry.move.block
            if block is None or not block.covers(trained, now):
                continue
            # A night cannot have made it champion again, so whoever did knew what they did.
            later = (one.move for one in self.moves if one.move.number > entry.move.number)
            if all(move.after != block.trained.version for move in later):
                return entry
        return None


def joined(model: str, parts: Iterable[History]) -> History:
    """Return one history of several that follow each other."""
    return History(model, tuple(entry for part in parts for entry in part.entries))


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
