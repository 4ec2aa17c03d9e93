"""What the pages say, made of what was read. Pure: neither Airflow nor MLflow."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import takewhile
from typing import Final
from urllib.parse import quote

from understudy.contract import Outcome, Tag
from understudy.registry.history import Entry, MoveCause, Scope, State
from understudy.report.drawing import (
    CHALLENGER,
    CHAMPION,
    Dot,
    Picture,
    Scale,
    Table,
    Tick,
    line,
)
from understudy.report.words import number, signed
from understudy.spec.pipeline import Event
from understudy.store.night import alias_said
from understudy.web.state import NightNumbers, NightRow, PipelineState, Production

_RUNNING: Final = "running"
_ENDED: Final = "ended"
_SKIPS: Final = 7
"""Skipped nights in a row that are too many; what a pipeline says of its own is not in MLflow."""
_DATES: Final = 5
"""Dates below a picture."""
_POINTS: Final = 45
"""Nights up to which the champion's line has points."""
_MOVES: Final = 20
"""Moves that the page shows before one has to ask for the others."""
GOOD, LOOK, BAD = "good", "look", "bad"

_CAUSES: Final = {
    MoveCause.NIGHT: "a night\u2019s verdict",
    MoveCause.PERSON: "a person\u2019s answer",
    MoveCause.ROLLBACK: "rolled back",
    MoveCause.OUTSIDE: "moved outside of Understudy",
    MoveCause.REPAIR: "repaired",
}
_HELD_OFF: Final = {
    Scope.VERSION: "version {0} and what is trained from the same code and data",
    Scope.COMMIT: "version {0} and whatever is trained from its commit",
    Scope.MODEL: "any night\u2019s model",
}
_LATE: Final = {"right": "was right", "wrong": "was wrong", "undecided": "cannot be told"}


@dataclass(frozen=True, slots=True)
class Mark:
    """A night of the strip.

    Attributes:
        kind: Its outcome in lower case, ``running``, or ``ended`` where it has none.
        word: The outcome as people read it.
        day: The date of its data.
        moment: Date and time.
        reason: Why it ended so.
        moved: What became of the alias, as ``1 -> 2``; '' where it stayed.
        address: Of its page, from the address of all pages.
    """

    kind: str
    word: str
    day: str
    moment: str
    reason: str
    moved: str
    address: str


@dataclass(frozen=True, slots=True)
class Part:
    """One finding of a pipeline's health: how bad, one word, and a sentence."""

    level: str
    word: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Standing:
    """What is in production, on one line.

    Attributes:
        model: The registered model.
        version: The champion's; None for none.
        since: ISO time (UTC) of the move; '' where nobody noted it.
        by: Who moved it.
        cause: Why, in few words.
        why: The reason.
        address: Of the night that decided; '' for none.
    """

    model: str
    version: str | None
    since: str = ""
    by: str = ""
    cause: str = ""
    why: str = ""
    address: str = ""


@dataclass(frozen=True, slots=True)
class MoveRow:
    """A move of the alias in the history's table.

    Attributes:
        number: Its place in the history.
        at: ISO time (UTC).
        before, after: Versions; '' for none.
        cause: Why, in few words.
        by: Who.
        why: The reason.
        ending: '' where it was made, else what became of it.
        held_off: What a rollback keeps from coming back; '' for nothing.
        address: Of the night that decided; '' for none.
        returns: Whether the page offers to go back to the version.
    """

    number: int
    at: str
    before: str
    after: str
    cause: str
    by: str
    why: str
    ending: str
    held_off: str
    address: str
    returns: bool


@dataclass(frozen=True, slots=True)
class Late:
    """What later labels said of a night's verdict."""

    day: str
    verdict: str
    choice: str
    word: str
    reason: str
    address: str


@dataclass(frozen=True, slots=True)
class Plot:
    """A metric over nights: the picture, and the table behind it."""

    metric: str
    picture: Picture
    table: Table


@dataclass(frozen=True, slots=True)
class PipelineView:
    """Everything that a pipeline's page shows.

    Attributes:
        name: The Dag's id.
        standing: What is in production.
        health: Its findings, the worst first.
        marks: Its nights, the earliest first.
        tally: Outcomes and how many there are, the most frequent first.
        last: The last night that has ended; None for none.
        plots: The primary metric, then the others.
        moves: The history, the last move first.
        late: What later labels said, the last night first.
        tally_late: How often the gate was right, wrong, and it cannot be told.
        earlier: Where the page with earlier nights begins, in milliseconds since 1970; 0 for none.
        partly: Whether more nights are being read.
        page: Whether these are not the latest nights.
    """

    name: str
    standing: Standing
    health: tuple[Part, ...]
    marks: tuple[Mark, ...]
    tally: tuple[tuple[str, int], ...]
    last: Mark | None
    plots: tuple[Plot, ...]
    moves: tuple[MoveRow, ...]
    late: tuple[Late, ...]
    tally_late: Mapping[str, int]
    earlier: int
    partly: bool = False
    page: bool = False

    @property
    def worst(self) -> Part:
        """The finding that counts."""
        return self.health[0]


def pipeline_view(state: PipelineState, *, page: bool = False) -> PipelineView:
    """Return what the page of a pipeline shows."""
    nights = tuple(reversed(state.nights))
    marks = tuple(mark(night) for night in nights)
    tally = Counter(one.word for one in marks)
    late = tuple(late_of(state.nights))
    return PipelineView(
        name=state.name,
        standing=standing(state),
        health=health(state),
        marks=marks,
        tally=tuple(tally.most_common()),
        last=next((one for one in reversed(marks) if one.kind != _RUNNING), None),
        plots=tuple(_plots(nights)),
        moves=tuple(_moves(state)),
        late=late,
        tally_late=Counter(one.choice for one in late),
        earlier=state.earlier,
        partly=state.partly,
        page=page,
    )


def night_address(name: str, row: NightRow) -> str:
    """Return the address of a night's page, from the address of all pages."""
    dag_run = row.tag(Tag.DAG_RUN_ID)
    asked = f"run_id={quote(dag_run, safe='')}" if dag_run else f"night={quote(row.run_id)}"
    return f"dags/{quote(name, safe='')}/night?{asked}"


def mark(row: NightRow) -> Mark:
    """Return how a night is shown in one place."""
    outcome = row.tag(Tag.OUTCOME)
    known = outcome in set(Outcome)
    kind = _RUNNING if row.running else outcome.lower() if known else _ENDED
    reason = row.tag(Tag.REASON) or row.tag(Tag.ERROR)
    if row.running:
        reason = "it is under way"
    elif not known:
        # Nights that were swept up have no outcome: MLflow's status is all that is known.
        reason = reason or f"MLflow says {row.status}"
    moment = row.moment
    return Mark(
        kind=kind,
        word=kind.upper(),
        day=moment[:10],
        moment=moment[:16].replace("T", " "),
        reason=reason,
        moved=row.moved,
        address=night_address(row.tag(Tag.PIPELINE), row),
    )


def alias_told(row: NightRow) -> str:
    """Return what became of the alias, as a sentence."""
    before, after = row.tag(Tag.CHAMPION_BEFORE), row.tag(Tag.CHAMPION_AFTER)
    if Tag.CHAMPION_BEFORE.value not in row.tags:
        # It ended before it was pinned, or does not run for long.
        return "It has moved no alias."
    # What was swept up did not say what it left.
    if row.running or Tag.CHAMPION_AFTER.value not in row.tags:
        return f"Champion when it began: {f'version {before}' if before else 'none'}."
    return alias_said(before or None, after or None)


def standing(state: PipelineState) -> Standing:
    """Return what is in production, since when, by whom and why."""
    production = state.production
    made = production.history.moves
    last = made[-1].move if made else None
    if last is None or last.after != production.champion:
        return Standing(production.model, production.champion)
    return Standing(
        production.model,
        production.champion,
        since=last.at,
        by=last.actor,
        cause=_CAUSES[last.cause],
        why=last.why,
        address=_decided(state, last.decision_run),
    )


def _decided(state: PipelineState, run_id: str) -> str:
    """Return the address of the night that decided a move."""
    if not run_id:
        return ""
    for row in state.nights:
        if row.run_id == run_id:
            return night_address(state.name, row)
    return f"dags/{quote(state.name, safe='')}/night?night={quote(run_id, safe='')}"


def health(state: PipelineState) -> tuple[Part, ...]:
    """Return what is wrong with a pipeline, the worst first; one good word where nothing is."""
    found = [*_production_health(state.production), *_night_health(state)]
    order = {BAD: 0, LOOK: 1, GOOD: 2}
    if not found and state.partly and not state.nights:
        found = [Part(GOOD, "being read", "Its nights are being read.")]
    if not found:
        found = [Part(GOOD, "healthy", "Its nights end as they should.")]
    return tuple(sorted(found, key=lambda part: order[part.level]))


def _production_health(production: Production) -> Iterator[Part]:
    if production.unreadable:
        yield Part(BAD, "history", f"Its history cannot be read: {production.unreadable}.")
        return
    on_record, now = production.history.champion, production.champion
    lost = production.history.lost
    if now is None and lost is not None:
        yield Part(BAD, "no champion", f"Somebody took the alias from version {lost.before}.")
    elif now is None and on_record is None:
        yield Part(LOOK, "no champion yet", "No model has been promoted yet.")
    elif now is None:
        yield Part(BAD, "no champion", f"Somebody took the alias from version {on_record}.")
    elif now != on_record and on_record is not None:
        sentence = f"Version {now} is champion; the history knows of version {on_record}."
        yield Part(LOOK, "moved outside", sentence)
    elif production.history.moves[1:]:
        last = production.history.moves[-1].move
        if last.cause is MoveCause.OUTSIDE:
            sentence = f"Somebody made version {last.after} champion without Understudy."
            yield Part(LOOK, "moved outside", sentence)


def _night_health(state: PipelineState) -> Iterator[Part]:
    over = [row for row in state.nights if not row.running]
    failed = _in_a_row(over, Outcome.FAILED)
    if failed:
        nights = f"The last {failed} nights" if failed > 1 else "The last night"
        yield Part(BAD, "failing", f"{nights} failed.")
    skipped = _in_a_row(over, Outcome.SKIPPED)
    told = any(Event.SKIPPED in row.tag(Tag.NOTIFIED).split() for row in over[:skipped])
    if told or skipped >= _SKIPS:
        yield Part(LOOK, "no new data", f"The last {skipped} nights were skipped.")
    champion = state.production.champion
    if champion and any(row.tag(Tag.STALE) == champion for row in over):
        yield Part(LOOK, "stale", f"Version {champion} has been champion for too long.")


def _in_a_row(rows: Iterable[NightRow], outcome: Outcome) -> int:
    return len(list(takewhile(lambda row: row.tag(Tag.OUTCOME) == outcome, rows)))


def _moves(state: PipelineState) -> Iterator[MoveRow]:
    production = state.production
    offered = {production.champion, None}
    for entry in reversed(production.history.entries):
        move = entry.move
        # Once for each version, at the move that made it champion last.
        returns = entry.moved and move.after not in offered
        if returns:
            offered.add(move.after)
        yield MoveRow(
            number=move.number,
            at=move.at,
            before=move.before or "",
            after=move.after or "",
            cause=_CAUSES[move.cause],
            by=move.actor,
            why=move.why,
            ending=_ending(entry),
            held_off=_held_off(entry),
            address=_decided(state, move.decision_run),
            returns=returns,
        )


def _ending(entry: Entry) -> str:
    if entry.ending is None:
        return "under way"
    if entry.ending.state is State.MOVED:
        return ""
    return f"given up: {entry.ending.why}" if entry.ending.why else "given up"


def _held_off(entry: Entry) -> str:
    block = entry.move.block
    if block is None:
        return ""
    until = f" until {block.until[:16].replace('T', ' ')}" if block.until else ""
    return f"{_HELD_OFF[block.scope].format(block.trained.version)}{until}"


def late_of(rows: Iterable[NightRow]) -> Iterator[Late]:
    """Yield what later labels said of nights that were looked at again."""
    for row in rows:
        choice = row.tag(Tag.MATURED)
        if choice:
            yield Late(
                day=row.moment[:10],
                verdict=row.tag(Tag.VERDICT),
                choice=choice,
                word=_LATE.get(choice, choice),
                reason=row.tag(Tag.MATURED_REASON),
                address=night_address(row.tag(Tag.PIPELINE), row),
            )


def _plots(nights: Sequence[NightRow]) -> Iterator[Plot]:
    """Yield the primary metric of the nights, then whatever else both models were compared by."""
    names = Counter(
        name.removeprefix("challenger_")
        for row in nights
        for name in row.metrics
        if name.startswith("challenger_")
    )
    primary = next((row.tag(Tag.PRIMARY) for row in reversed(nights) if row.tag(Tag.PRIMARY)), "")
    if not primary:
        # Nights of an earlier version do not say which it is; their reasons begin with it.
        told = [row.tag(Tag.VERDICT_REASON) for row in nights]
        primary = max(
            names, key=lambda name: sum(one.startswith(f"{name} ") for one in told), default=""
        )
    for metric in sorted(names, key=lambda name: (name != primary, name)):
        yield _plot(nights, metric)


def _plot(nights: Sequence[NightRow], metric: str) -> Plot:
    found = [NightNumbers.of(row, metric) for row in nights]
    scale = Scale.over(value for one in found for value in one.values)
    days = [row.moment[:10] for row in nights]
    places = [round(100 * (index + 0.5) / len(nights), 2) for index in range(len(nights))]
    dots = tuple(_dots(found, places, scale))
    champions = [
        (x, scale.up(one.champion))
        for one, x in zip(found, places, strict=True)
        if one.champion is not None
    ]
    step = max(1, math.ceil(len(nights) / _DATES))
    picture = Picture(
        title=f"{metric} of both models, night by night",
        alternative=f"{metric} of challenger and champion over {len(nights)} nights; the table"
        " below has the numbers",
        across=f"data as of, {days[0][:4]}" if days[0][:4] == days[-1][:4] else "data as of",
        upwards=metric,
        across_ticks=tuple(
            Tick(x, _short(day, days))
            for x, day in list(zip(places, days, strict=True))[step // 2 :: step]
        ),
        upwards_ticks=scale.mirrored_ticks(),
        shapes=(line(CHAMPION, champions),) if len(champions) > 1 else (),
        dots=dots,
    )
    return Plot(metric, picture, _table(nights, found, days))


def _short(day: str, days: Sequence[str]) -> str:
    """Return a date without the year that all of them have."""
    known = date.fromisoformat(day)
    return f"{known.day} {known:%b}{'' if days[0][:4] == days[-1][:4] else f' {known:%y}'}"


def _dots(found: Sequence[NightNumbers], places: Sequence[float], scale: Scale) -> Iterator[Dot]:
    for one, x in zip(found, places, strict=True):
        # Of many nights the line is enough, and the page stays small.
        if one.champion is not None and len(found) <= _POINTS:
            y = scale.up(one.champion)
            yield Dot(CHAMPION, x, y, y, y)
        if one.challenger is not None:
            y = scale.up(one.challenger)
            top = y if one.high is None else scale.up(one.high)
            bottom = y if one.low is None else scale.up(one.low)
            yield Dot(CHALLENGER, x, y, top, bottom)


def _table(nights: Sequence[NightRow], found: Sequence[NightNumbers], days: Sequence[str]) -> Table:
    rows = tuple(
        (
            day,
            mark(row).word,
            number(one.challenger),
            number(one.champion),
            signed(one.gain),
            ""
            if one.gain_low is None or one.gain_high is None
            else f"{signed(one.gain_low)} to {signed(one.gain_high)}",
        )
        for row, one, day in zip(nights, found, days, strict=True)
    )
    head = ("data as of", "outcome", "challenger", "champion", "gain", "interval of the gain")
    return Table("", head, tuple(reversed(rows)))


@dataclass(frozen=True, slots=True)
class StepRow:
    """A task of a night with its MLflow run."""

    task: str
    entry_point: str
    status: str
    seconds: float | None
    reused: str
    error: str
    run_id: str
    experiment_id: str


def steps(rows: Iterable[NightRow]) -> tuple[StepRow, ...]:
    """Return the tasks of a night that made runs in MLflow."""
    return tuple(
        StepRow(
            task=row.task,
            entry_point=row.tag(Tag.ENTRY_POINT),
            status=row.status.lower(),
            seconds=(row.ended - row.started) / 1000 if row.ended else None,
            reused=row.tag(Tag.REUSED_FROM),
            error=row.tag(Tag.ERROR),
            run_id=row.run_id,
            experiment_id=row.experiment_id,
        )
        for row in rows
    )


_PINNED: Final = (
    ("data as of", Tag.AS_OF),
    ("registered model", Tag.MODEL),
    ("repository", Tag.REPOSITORY),
    ("folder", Tag.SUBDIRECTORY),
    ("version asked for", Tag.VERSION),
    ("commit", Tag.COMMIT),
    ("Git\u2019s id of its files", Tag.TREE),
    ("Dag run", Tag.DAG_RUN_ID),
)


def pinned(row: NightRow) -> tuple[tuple[str, str], ...]:
    """Return what a night pinned, as pairs of a label and a text."""
    return tuple((label, row.tag(tag)) for label, tag in _PINNED if row.tag(tag))


def first_moves(rows: Sequence[MoveRow]) -> tuple[Sequence[MoveRow], Sequence[MoveRow]]:
    """Return the moves that are shown at once, and the others."""
    return rows[:_MOVES], rows[_MOVES:]
