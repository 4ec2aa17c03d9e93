"""Notifies people of how a night ended, through Airflow's notifiers: one message per event.

A notifier of any provider works. Its templates see ``understudy``, a :class:`Notice`; a message
made of ``{{ understudy.title }}`` and ``{{ understudy.text }}`` can be understood without opening
anything.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from understudy.airflow.services import Services
from understudy.contract import Outcome, Tag
from understudy.errors import sentences
from understudy.redact import plain, plain_text
from understudy.spec.pipeline import EVERY_EVENT, Event, Pipeline
from understudy.store.night import Night

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.types import Logger

_BY_OUTCOME: Final = {
    Outcome.PROMOTED: Event.PROMOTED,
    Outcome.HELD: Event.HELD,
    Outcome.REJECTED: Event.REJECTED,
    Outcome.FAILED: Event.FAILED,
}


@dataclass(frozen=True, slots=True)
class Notice:
    """A message about a night or a champion.

    Attributes:
        event: One of ``understudy.spec.pipeline.Event``.
        title: One line.
        text: Some lines: what happened, why, and where to look.
        pipeline: The Dag's id.
        model: The registered model.
        version: Its champion's version; '' for none.
        link: Address of the night in MLflow; '' where it has none.
    """

    event: str
    title: str
    text: str
    pipeline: str
    model: str
    version: str
    link: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "title", plain(self.title))
        object.__setattr__(self, "text", plain_text(self.text))


def of_night(night: Night, outcome: Outcome, facts: Mapping[str, str]) -> Notice | None:
    """Return the notice of a night's end; None for a skipped one.

    Args:
        night: What it pinned.
        outcome: How it ended.
        facts: ``reason``, ``champion`` (version or '') and ``link``.
    """
    if outcome not in _BY_OUTCOME:
        return None
    return Notice(
        event=_BY_OUTCOME[outcome].value,
        title=f"{night.model}: night of {night.as_of[:10]} {ended(night, outcome, facts)}",
        text="\n".join(
            (
                f"{night.pipeline} retrained {night.model} on data as of {night.as_of}.",
                *(f"* {plain(line)}" for line in sentences(facts["reason"])),
                f"Commit {night.commit[:12]} of {night.repository}",
                *filter(None, [facts["link"]]),
            )
        ),
        pipeline=night.pipeline,
        model=night.model,
        version=facts["champion"],
        link=facts["link"],
    )


def ended(night: Night, outcome: Outcome, facts: Mapping[str, str]) -> str:
    """Return a night's outcome and what became of the champion, in some words; see ``of_night``."""
    champion, before = facts["champion"] or "none", night.champion or "none"
    moved = f"champion {before} -> {champion}" if champion != before else f"champion {before}"
    return f"{outcome}, {moved}"


def of_skips(night: Night, skips: int, link: str) -> Notice:
    """Return the notice of so many skipped nights in a row."""
    return Notice(
        event=Event.SKIPPED.value,
        title=f"{night.model}: {skips} nights in a row were skipped",
        text=f"{night.pipeline} has found no new data since {skips} nights, until {night.as_of}."
        f" Is its source still alive? Champion: {night.champion or 'none'}.\n{link}".rstrip(),
        pipeline=night.pipeline,
        model=night.model,
        version=night.champion or "",
        link=link,
    )


def of_stale(night: Night, version: str, since: str, link: str) -> Notice:
    """Return the notice of a champion that has not been replaced for long."""
    return Notice(
        event=Event.STALE.value,
        title=f"{night.model}: version {version} is champion since {since[:10]}",
        text=f"No night of {night.pipeline} has replaced version {version} since {since[:10]}."
        f" Do challengers still learn, or has the data changed?\n{link}".rstrip(),
        pipeline=night.pipeline,
        model=night.model,
        version=version,
        link=link,
    )


def alerts(
    services: Services, night: Night, outcome: Outcome, link: str, log: Logger
) -> Iterator[Notice]:
    """Yield what a night says beside its own end; each is logged as an error, too."""
    spec, nights = night.spec, services.nights
    skips = nights.skips_in_a_row(night) + 1 if outcome is Outcome.SKIPPED else 0
    # At every multiple: reminded, but not each night.
    if skips and skips % spec.alert_after_skips == 0:
        found = of_skips(night, skips, link)
        log.error("%s", found.title)
        yield found
    moves = services.promoter.look(night.model).history.moves
    if spec.alert_after_age is None or not moves or moves[-1].move.after is None:
        return
    version, since = moves[-1].move.after, moves[-1].move.at
    if datetime.now(UTC) - datetime.fromisoformat(since) > spec.alert_after_age:
        found = of_stale(night, version, since, link)
        log.error("%s", found.title)
        # Told once for each champion.
        if nights.first_to_find_stale(night, version):
            yield found


def of_no_night(pipeline: Pipeline, dag_run: str, reason: str) -> Notice:
    """Return the notice of a night that failed before it was pinned."""
    return Notice(
        event=Event.FAILED.value,
        title=f"{pipeline.model}: a night FAILED before it began",
        text=f"{pipeline.name}, {dag_run}: {plain(reason)}. The log of the task says why.",
        pipeline=pipeline.name,
        model=pipeline.model,
        version="",
        link="",
    )


def of_after_promotion(pipeline: Pipeline, version: str, why: str, link: str) -> Notice:
    """Return the notice of a champion that could not be handed on.

    Args:
        pipeline: What the pipeline file declares.
        version: The champion's; '' where it is not known.
        why: What went wrong.
        link: Address of the attempt in MLflow; '' where there is none.
    """
    dag, which = pipeline.after_promotion_dag, f"version {version}" if version else "a version"
    return Notice(
        event=Event.FAILED.value,
        title=f"{pipeline.model}: {which} is champion, and {dag} FAILED",
        text=f"{which.capitalize()} is champion of {pipeline.model} and stays it, but {dag} could"
        f" not hand it on: {plain(why)}\nMend the cause, then trigger the Dag {dag}."
        f"\n{link}".rstrip(),
        pipeline=pipeline.name,
        model=pipeline.model,
        version=version,
        link=link,
    )


class Messenger:
    """Hands notices to the notifiers that a pipeline names for their events.

    Args:
        notifiers: By event; those under ``"*"`` get every one.
        log: Takes the complaint about a notifier that fails, which never fails a night.
    """

    def __init__(self, notifiers: Mapping[str, Sequence[Any]], log: Logger) -> None:
        self._notifiers, self._log = notifiers, log

    def tell(self, context: Context, services: Services, night: Night, notice: Notice) -> None:
        """Send a notice, unless this night has sent one of that event."""
        if not (notifiers := self._notifiers_of(notice.event)):
            return
        sent = services.runs.get(night.run_id).data.tags.get(Tag.NOTIFIED.value, "").split()
        if notice.event in sent:
            return
        # Noted after it was sent: killed in between it is sent twice, the other way round never.
        self._send(context, notifiers, notice)
        services.runs.tag(night.run_id, {Tag.NOTIFIED: " ".join([*sent, notice.event])})

    def tell_unrecorded(self, context: Context, notice: Notice) -> None:
        """Send a notice of a night that MLflow knows nothing of."""
        self._send(context, self._notifiers_of(notice.event), notice)

    def _notifiers_of(self, event: str) -> list[Any]:
        return [*self._notifiers.get(event, ()), *self._notifiers.get(EVERY_EVENT, ())]

    def _send(self, context: Context, notifiers: Iterable[Any], notice: Notice) -> None:
        for notifier in notifiers:
            values: Any = {**context, "understudy": notice}
            # A copy: a notifier renders its own templates in place, and may serve several events.
            try:
                copy.copy(notifier)(values)
            except Exception:  # noqa: BLE001 -- whatever it raises, a night is not the worse for it
                self._log.exception("The notice %r was not sent", notice.title)
