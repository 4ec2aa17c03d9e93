"""What a page says, section by section, gathered from a record and a summary. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from understudy.report import pictures, words
from understudy.report.document import Check, Model, Record, finite
from understudy.report.drawing import Picture, Table
from understudy.report.findings import Found, found
from understudy.report.intervals import Panel, panels
from understudy.report.text import count, signed, stated

T = TypeVar("T")

_LONG_PANEL: Final = 12
"""Checks from which a panel may be broken over two printed pages."""
_MOST_METRICS: Final = 8
_CONTEXT: Final = {
    "pipeline": "pipeline",
    "model": "registered model",
    "night": "night",
    "as_of": "data as of",
    "repository": "repository",
    "commit": "commit",
}
_EVIDENCE: Final = {
    "rows": "rows compared",
    "judged_before": "challengers judged on them before",
}
_IDENTITY: Final = {"rows_sha256": "digest of the rows compared", "seed": "seed"}
_FACTS: Final = {
    "holdout_sha256": "holdout that its validation names",
    "predictions: run_id": "run of its predictions",
    "predictions: path": "its predictions",
    "predictions: sha256": "digest of its predictions",
    "predictions: size": "size of its predictions",
}


@dataclass(frozen=True, slots=True)
class Contents:
    """A page, before it is laid out.

    Attributes:
        record: The record.
        verdict: The verdict's name in lower case; what the page's colour follows.
        shadow: What a night that moves nothing would have done; empty on any other.
        panels: The interval plot.
        drawings: Pictures and tables of both models' predictions.
        left_out: How many rows the pictures do not show.
        worst: The checks of slices, those with the least room to their bound first.
        findings: What guards and budgets found, those that did not pass first.
        facts: What was compared, as pairs of a label and a text.
        models: Challenger and champion by these names.
        known: What a reader needs to know of them: a label, and one text for each.
        identity: What identifies models, rows and software, as pairs of a label and a text.
        testing: What the record claims about its errors.
        undrawn: What could not be drawn, and why, as sentences.
    """

    record: Record
    verdict: str
    shadow: str
    panels: tuple[Panel, ...]
    drawings: tuple[Picture | Table, ...]
    left_out: int
    worst: tuple[Check, ...]
    findings: tuple[Found, ...]
    facts: tuple[tuple[str, str], ...]
    models: tuple[tuple[str, Model], ...]
    known: tuple[tuple[str, tuple[str, ...]], ...]
    identity: tuple[tuple[str, str], ...]
    testing: tuple[str, ...]
    undrawn: tuple[str, ...] = ()


def contents(record: Record, summary: Mapping[str, Any]) -> Contents:
    """Return what the page of a record says."""
    models = tuple(_models(record))
    undrawn = [str(summary["undrawn"])] if summary.get("undrawn") else []
    return Contents(
        record=record,
        verdict=record.verdict.lower(),
        shadow=words.shadow(record),
        panels=_drawn("The checks", lambda: panels(record.checks, _relative(record)), undrawn),
        drawings=_drawn("The predictions", lambda: pictures.drawn(summary), undrawn),
        left_out=int(finite(summary.get("left_out")) or 0),
        worst=_drawn("The slices", lambda: worst_slices(record.checks), undrawn),
        findings=_drawn("What the guards found", lambda: found(record.findings), undrawn),
        facts=tuple(_facts(record)),
        models=models,
        known=tuple(_known([model for _, model in models])),
        identity=tuple(_identity(record, models)),
        testing=tuple(words.testing(record)),
        undrawn=tuple(undrawn),
    )


def _drawn(what: str, draw: Callable[[], Iterable[T]], undrawn: list[str]) -> tuple[T, ...]:
    """Return what is drawn; nothing, and a sentence more, where that fails: the verdict stands."""
    try:
        return tuple(draw())
    except Exception as error:  # noqa: BLE001 -- whatever it is, the page says it
        undrawn.append(words.undrawn(what, error))
        return ()


def worst_slices(checks: tuple[Check, ...], most: int = 10) -> tuple[Check, ...]:
    """Return the checks of slices with the least room to their bounds.

    Room is counted in widths of the interval that decides, so that metrics of different units and
    slices of different sizes can stand in one list; where there is none, in the metric's unit.
    """
    return tuple(sorted((check for check in checks if check.slice), key=_room)[:most])


def _room(check: Check) -> tuple[int, float]:
    order = {words.FAILED: 0, words.UNDECIDED: 1, words.PASSED: 2}.get(check.result, 3)
    value = check.gain if check.compares else check.challenger
    known, needed = finite(value), finite(check.needed)
    if known is None or needed is None:
        return order, 0.0
    room = needed - known if check.rule == "at_most" else known - needed
    width = finite(check.excess.high - check.excess.low) if check.excess else None
    return order, room / width if width else room


def _relative(record: Record) -> frozenset[str]:
    stated = (record.rules["primary"], *record.rules.get("guardrails", ()))
    return frozenset(str(metric["name"]) for metric in stated if metric.get("relative"))


def _facts(record: Record) -> Iterator[tuple[str, str]]:
    for name, label in _CONTEXT.items():
        if record.context.get(name):
            yield label, record.context[name]
    yield "what is compared", record.basis
    for name, label in _EVIDENCE.items():
        value = finite(record.evidence.get(name))
        if value is not None:
            yield label, count(value)


def _identity(record: Record, models: tuple[tuple[str, Model], ...]) -> Iterator[tuple[str, str]]:
    yield from ((name, text) for name, text in record.context.items() if name not in _CONTEXT)
    for name, label in _IDENTITY.items():
        if record.evidence.get(name) not in (None, ""):
            yield label, str(record.evidence[name])
    for who, model in models:
        for name, fact in model.facts.items():
            yield f"{who}: {_FACTS.get(name, name)}", fact
    software = record.document.get("software") or {}
    if software:
        yield "computed with", ", ".join(f"{name} {version}" for name, version in software.items())


def _models(record: Record) -> Iterator[tuple[str, Model]]:
    yield "challenger", record.challenger
    if record.champion is not None:
        yield "champion", record.champion


def _known(models: Sequence[Model]) -> Iterator[tuple[str, tuple[str, ...]]]:
    if any(model.reason for model in models):
        yield "not scored", tuple(model.reason for model in models)
    names = dict.fromkeys(name for model in models for name in model.metrics)
    for name in list(names)[:_MOST_METRICS]:
        yield f"{name}, as logged", tuple(_metric(model, name) for model in models)


def _metric(model: Model, name: str) -> str:
    return stated(model.metrics[name]) if name in model.metrics else ""


def interval_told(check: Check) -> str:
    """Return the interval of a gain as text; '' where none is claimed."""
    if check.interval is None:
        return ""
    return f"{signed(check.interval.low)} to {signed(check.interval.high)}"
