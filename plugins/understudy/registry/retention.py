"""Decides which nights and versions may go. Pure.

A night is one piece: its parent run with all that is nested in it. It goes when it is old, not
among the last ones, and nothing that stays needs it. A version goes by the same three conditions.
What is needed is followed until nothing is added: a version that stays keeps the night that trained
it and the night that decided on it, and a night that stays keeps those whose results it reused.
Nights that the gate counts stay as well: without those that were in shadow a pipeline would be in
shadow again, and with fewer judged on one holdout its tests would seem fewer than they were.
A night whose targets come late stays until it was seen again, with the models that are judged
anew then, and grows old only from the day on which its targets had come.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Annotated, Final

from pydantic import Field

from understudy.spec.declared import declared

KEEP_TAG: Final = "understudy.keep"
"""Tag by which a person pins a run or a version; its value says why."""


@declared
class Keep:
    """What stays whatever else.

    Attributes:
        age: Nights and versions that are younger.
        nights: So many of a pipeline's last nights.
        versions: So many of a model's last versions.
        moves: What so many of a champion's last moves name: versions, and their decisions.

    Raises:
        DeclarationError: naming every field that is wrong.
    """

    age: timedelta = timedelta(days=180)
    nights: Annotated[int, Field(ge=1)] = 60
    versions: Annotated[int, Field(ge=2)] = 10
    moves: Annotated[int, Field(ge=2)] = 20


@dataclass(frozen=True, slots=True)
class OldNight:
    """A night and what is nested in it.

    Attributes:
        run_id: The parent run.
        title: Its name.
        began: When.
        runs: All its runs, the parent among them.
        reused: Runs of other nights whose results it used.
        champions: Versions that were champion when it began and ended.
        holdout: Digest of the rows that it judged on; '' for none.
        shadow: Whether it was in shadow.
        pinned: Why a person keeps it; '' for nobody does.
        alive: Whether one of its runs still says RUNNING.
        delay: How long after it the rows that came after it have their targets; 0 where it will
            not be seen again, because it has no verdict or no such delay.
        matured: Whether it was seen again.
        needed: Versions that are judged anew when it is.
    """

    run_id: str
    title: str
    began: datetime
    runs: frozenset[str]
    reused: frozenset[str] = frozenset()
    champions: frozenset[str] = frozenset()
    holdout: str = ""
    shadow: bool = False
    pinned: str = ""
    alive: bool = False
    delay: timedelta = timedelta(0)
    matured: bool = False
    needed: frozenset[str] = frozenset()

    @property
    def mature(self) -> datetime:
        """When the rows that came after it have their targets: from then on it grows old."""
        return self.began + self.delay

    def is_awaited(self, now: datetime) -> bool:
        """Whether a coming night may still see it again; after twice the delay none does."""
        return not self.matured and bool(self.delay) and now <= self.mature + self.delay


@dataclass(frozen=True, slots=True)
class OldVersion:
    """A version of a registered model.

    Attributes:
        number: Its number.
        made: When it was registered.
        runs: Runs that it needs: training, decision, rehearsal.
        aliases: Those that it holds.
        pinned: Why a person keeps it; '' for nobody does.
        refit_of: The version that is scored in its place, because it was trained on all rows; ''
            for none.
    """

    number: str
    made: datetime
    runs: frozenset[str]
    aliases: frozenset[str] = frozenset()
    pinned: str = ""
    refit_of: str = ""


@dataclass(frozen=True, slots=True)
class Inventory:
    """All that a pipeline has left in MLflow.

    Attributes:
        nights: Its nights.
        versions: Its model's versions.
        named: Versions that the champion's last moves name, with the reason in words.
        decided: Runs that these moves name.
    """

    nights: tuple[OldNight, ...]
    versions: tuple[OldVersion, ...]
    named: Mapping[str, str] = field(default_factory=dict)
    decided: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class RetentionPlan:
    """What goes and what stays, each with its reason.

    Attributes:
        nights: Nights that go.
        versions: Versions that go.
        reasons: Of every night and version, by ``night <run id>`` and ``version <number>``.
    """

    nights: tuple[OldNight, ...]
    versions: tuple[OldVersion, ...]
    reasons: Mapping[str, str]

    def items(self) -> Iterator[tuple[str, bool, str]]:
        """Yield each night and version: its name, whether it goes, and why."""
        gone = {f"night {night.run_id}" for night in self.nights}
        gone |= {f"version {version.number}" for version in self.versions}
        for name, reason in self.reasons.items():
            yield name, name in gone, reason

    def summary_lines(self) -> Iterator[str]:
        """Yield a line for each of them."""
        for name, goes, reason in self.items():
            yield f"{'goes ' if goes else 'stays'}  {name}: {reason}"


def plan(inventory: Inventory, keep: Keep, now: datetime) -> RetentionPlan:
    """Return what may go.

    Args:
        inventory: What there is.
        keep: What stays.
        now: The present time (UTC).
    """
    recent = _Recent.of(inventory, keep, now)
    versions = {
        one.number: _version_stays(one, inventory, recent, now) for one in inventory.versions
    }
    for refit in inventory.versions:
        # Without what was judged no later night could compare with its refit.
        if versions[refit.number] and refit.refit_of in versions:
            reason = f"version {refit.number}, its refit, stays"
            versions[refit.refit_of] = versions[refit.refit_of] or reason
    kept = [one for one in inventory.versions if versions[one.number]]
    nights = {one.run_id: _night_stays(one, inventory, recent, now) for one in inventory.nights}
    for one in inventory.nights:
        for version in kept:
            # A version's runs are its training, its decision and its rehearsal.
            if one.runs & version.runs:
                nights[one.run_id] = nights[one.run_id] or f"version {version.number} needs it"
    _follow_reuse(inventory.nights, nights)
    gone = f"older than {keep.age.days} days, and nothing needs it"
    reasons = {
        **{f"night {name}": reason or gone for name, reason in nights.items()},
        **{f"version {name}": reason or gone for name, reason in versions.items()},
    }
    return RetentionPlan(
        nights=tuple(one for one in inventory.nights if not nights[one.run_id]),
        versions=tuple(one for one in inventory.versions if not versions[one.number]),
        reasons=reasons,
    )


@dataclass(frozen=True, slots=True)
class _Recent:
    """What stays by count: nights, what they compared with and on, and versions."""

    keep: Keep
    nights: frozenset[str]
    champions: frozenset[str]
    holdouts: frozenset[str]
    versions: frozenset[str]
    awaited: tuple[OldNight, ...]

    @classmethod
    def of(cls, inventory: Inventory, keep: Keep, now: datetime) -> _Recent:
        nights = sorted(inventory.nights, key=lambda one: (one.began, one.run_id))[-keep.nights :]
        versions = sorted(inventory.versions, key=lambda one: int(one.number))[-keep.versions :]
        return cls(
            keep,
            nights=frozenset(one.run_id for one in nights),
            champions=frozenset(number for one in nights for number in one.champions),
            holdouts=frozenset(one.holdout for one in nights) - {""},
            versions=frozenset(one.number for one in versions),
            awaited=tuple(one for one in inventory.nights if one.is_awaited(now)),
        )

    def awaits(self, one: OldVersion) -> bool:
        """Return whether a night that will be seen again trained a version, or judges it anew."""
        return any(one.number in night.needed or one.runs & night.runs for night in self.awaited)


def _version_stays(one: OldVersion, inventory: Inventory, recent: _Recent, now: datetime) -> str:
    """Return why a version stays; '' where it may go."""
    keep = recent.keep
    # In the order of what a person would name first: the first reason that holds is shown.
    reasons = {
        f"it is {', '.join(sorted(one.aliases))}": bool(one.aliases),
        f"pinned: {one.pinned}": bool(one.pinned),
        inventory.named.get(one.number, ""): one.number in inventory.named,
        f"it is not older than {keep.age.days} days": now - one.made <= keep.age,
        f"one of the last {keep.versions} versions": one.number in recent.versions,
        f"one of the last {keep.nights} nights compared with it": one.number in recent.champions,
        "a night whose targets come late judges it again": recent.awaits(one),
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


def _night_stays(one: OldNight, inventory: Inventory, recent: _Recent, now: datetime) -> str:
    """Return why a night stays by itself; '' where nothing of its own keeps it."""
    keep = recent.keep
    named = f"one of the last {keep.moves} moves of the champion names it"
    reasons = {
        "it is running": one.alive,
        f"pinned: {one.pinned}": bool(one.pinned),
        named: bool(one.runs & inventory.decided),
        f"its targets come late: it is seen again by {one.mature + one.delay:%Y-%m-%d}": (
            one.is_awaited(now)
        ),
        f"it is not older than {keep.age.days} days": now - one.mature <= keep.age,
        f"one of the last {keep.nights} nights": one.run_id in recent.nights,
        "the gate counts the nights that were in shadow": one.shadow,
        "the gate counts who was judged on the rows of today": one.holdout in recent.holdouts,
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


def _follow_reuse(nights: Iterable[OldNight], stays: dict[str, str]) -> None:
    """Keep every night whose results one that stays has used, and so on."""
    home = {run: night for night in nights for run in night.runs}
    # Transitively: a night may have reused what another one had reused itself.
    waiting = [night for night in nights if stays[night.run_id]]
    while waiting:
        night = waiting.pop()
        for source in {home[run].run_id: home[run] for run in night.reused if run in home}.values():
            if not stays[source.run_id]:
                stays[source.run_id] = f"{night.title} reused its results"
                waiting.append(source)
