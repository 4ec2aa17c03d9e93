"""What a page says, section by section, gathered from a record and a summary. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final, TypeVar

from understudy.gate.record import CHANGED, STAND_IN
from understudy.report import pictures, words
from understudy.report.document import CheckView, FindingView, ModelView, RecordView, finite
from understudy.report.drawing import Picture, Scale, Table
from understudy.report.pictures import Panel, panels
from understudy.report.words import count, number, shown, signed, stated
from understudy.spec.metrics import HIGHER_IS_BETTER, OF_ERROR

_RESULTS: Final = ("failed", "undecided", "passed")
_LEVELS: Final = ("reject", "block", "warn")
_MEASURED: Final = re.compile(r"(?P<measure>[^:]+): (?P<name>.+)", re.DOTALL)
_RANKED: Final = re.compile(r"(?P<field>[a-z_]+)_(?P<place>[0-9]{1,3})")
_LIMIT: Final = "limit"


@dataclass(frozen=True, slots=True)
class Bar:
    """One measured thing: its name, its value as text, percent of the width, and if it is far."""

    name: str
    value: str
    width: float
    beyond: bool


@dataclass(frozen=True, slots=True)
class Bars:
    """What was measured of several things, the largest first, against one limit.

    Attributes:
        measure: What was measured, such as ``distance``.
        bars: The things.
        limit: Percent of the width at which the limit lies; None where there is none.
        limit_told: The limit as text.
    """

    measure: str
    bars: tuple[Bar, ...]
    limit: float | None
    limit_told: str


@dataclass(frozen=True, slots=True)
class FindingPanel:
    """A finding, laid out.

    Attributes:
        finding: The finding.
        bars: Numbers that are named ``measure: thing``.
        table: Numbers that are named ``field_1``, ``field_2`` and so on; None where there are none.
        line: All others, as one line.
    """

    finding: FindingView
    bars: tuple[Bars, ...]
    table: Table | None
    line: str


def found(findings: tuple[FindingView, ...]) -> tuple[FindingPanel, ...]:
    """Return what guards and budgets found, those that did not pass first."""
    by_urgency = sorted(
        findings, key=lambda one: (_place(one.result, _RESULTS), _place(one.level, _LEVELS))
    )
    return tuple(map(_found, by_urgency))


def _place(value: str, order: tuple[str, ...]) -> int:
    return order.index(value) if value in order else len(order)


def _found(finding: FindingView) -> FindingPanel:
    measured = {
        key: parts
        for key, value in finding.numbers.items()
        if (parts := _MEASURED.fullmatch(key)) and _finite(value) is not None
    }
    ranked = {key: parts for key in finding.numbers if (parts := _RANKED.fullmatch(key))}
    bars = tuple(_bars(finding.numbers, measured))
    apart = {*measured, *ranked, *([_LIMIT] if bars else [])}
    rest = ", ".join(
        f"{name.replace('_', ' ')} {_value_text(value)}"
        for name, value in finding.numbers.items()
        if name not in apart
    )
    return FindingPanel(finding, bars, _table(finding.numbers, ranked), rest)


def _bars(numbers: Mapping[str, Any], measured: Mapping[str, re.Match[str]]) -> Iterator[Bars]:
    limit = _finite(numbers.get(_LIMIT))
    for measure, keys in groupby(measured, key=lambda key: measured[key]["measure"]):
        known = [(measured[key]["name"], _finite(numbers[key]) or 0.0) for key in keys]
        # Four per cent beyond the longest bar or the limit, so that neither touches the edge.
        scale = Scale(0.0, max(limit or 0.0, *(value for _, value in known)) * 1.04 or 1.0)
        bars = (
            Bar(
                name=shown(name, 80),
                value=number(value, 3),
                width=scale.at(value),
                beyond=limit is not None and value > limit,
            )
            for name, value in known
        )
        yield Bars(
            measure=measure,
            bars=tuple(bars),
            limit=None if limit is None else scale.at(limit),
            limit_told=stated(limit, 4),
        )


def _table(numbers: Mapping[str, Any], ranked: Mapping[str, re.Match[str]]) -> Table | None:
    """Return numbers of ranked things as one row for each."""
    if not ranked:
        return None
    fields = tuple(dict.fromkeys(parts["field"] for parts in ranked.values()))
    places = sorted({int(parts["place"]) for parts in ranked.values()})
    rows = tuple(
        tuple(_value_text(numbers.get(f"{field}_{place}", "")) for field in fields)
        for place in places
    )
    return Table("", tuple(field.replace("_", " ") for field in fields), rows)


def _finite(value: object) -> float | None:
    """Return a finite number, or None: a guard's numbers may as well be texts."""
    return None if isinstance(value, str | bool) else finite(value)


def _value_text(value: object) -> str:
    known = _finite(value)
    if known is None:
        return shown(value, 120)
    return count(known) if known.is_integer() else stated(known, 4)


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
    CHANGED: "changed since the night before",
    STAND_IN: "scored in the champion's place",
}
_EVIDENCE: Final = {
    "rows": "rows compared",
    "judged_before": "challengers judged on them before",
    "overlapping": "as many more, by the rows that holdouts share",
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
class PageContents:
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

    record: RecordView
    verdict: str
    shadow: str
    panels: tuple[Panel, ...]
    drawings: tuple[Picture | Table, ...]
    left_out: int
    worst: tuple[CheckView, ...]
    findings: tuple[FindingPanel, ...]
    facts: tuple[tuple[str, str], ...]
    models: tuple[tuple[str, ModelView], ...]
    known: tuple[tuple[str, tuple[str, ...]], ...]
    identity: tuple[tuple[str, str], ...]
    testing: tuple[str, ...]
    undrawn: tuple[str, ...] = ()


def contents(record: RecordView, summary: Mapping[str, Any]) -> PageContents:
    """Return what the page of a record says."""
    models: tuple[tuple[str, ModelView], ...] = (("challenger", record.challenger),)
    if record.champion is not None:
        models = (*models, ("champion", record.champion))
    undrawn = [str(summary["undrawn"])] if summary.get("undrawn") else []
    return PageContents(
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


def worst_slices(checks: tuple[CheckView, ...], most: int = 10) -> tuple[CheckView, ...]:
    """Return the checks of slices with the least room to their bounds.

    Room is counted in widths of the interval that decides, so that metrics of different units and
    slices of different sizes can stand in one list; where there is none, in the metric's unit.
    """
    return tuple(sorted((check for check in checks if check.slice), key=_room)[:most])


def _room(check: CheckView) -> tuple[int, float]:
    # By result first: a failed slice with much room is still more urgent than a passed one with
    # little.
    order = {words.FAILED: 0, words.UNDECIDED: 1, words.PASSED: 2}.get(check.result, 3)
    value = check.gain if check.compares else check.challenger
    known, needed = finite(value), finite(check.needed)
    if known is None or needed is None:
        return order, 0.0
    room = needed - known if check.rule == "at_most" else known - needed
    width = finite(check.excess.high - check.excess.low) if check.excess else None
    return order, room / width if width else room


def _relative(record: RecordView) -> Mapping[str, str]:
    """Return what relative bounds count in, by metric."""
    stated = (record.rules["primary"], *record.rules.get("guardrails", ()))
    # As ``Metric.best`` has it: of a score of scikit-learn the error is what it lacks to one.
    return {
        str(metric["name"]): f"% of 1 - {metric['name']}"
        if metric["relative"] == OF_ERROR
        and metric["name"] in HIGHER_IS_BETTER
        and not metric.get("function")
        and not metric.get("lower_is_better")
        else "%"
        for metric in stated
        if metric.get("relative")
    }


def _facts(record: RecordView) -> Iterator[tuple[str, str]]:
    for name, label in _CONTEXT.items():
        if record.context.get(name):
            yield label, record.context[name]
    yield "what is compared", record.basis
    for name, label in _EVIDENCE.items():
        value = finite(record.evidence.get(name))
        if value is not None:
            yield label, count(value)


def _identity(
    record: RecordView, models: tuple[tuple[str, ModelView], ...]
) -> Iterator[tuple[str, str]]:
    yield from ((name, text) for name, text in record.context.items() if name not in _CONTEXT)
    for name, label in _IDENTITY.items():
        if record.evidence.get(name) not in (None, ""):
            yield label, str(record.evidence[name])
    for who, model in models:
        for name, fact in model.facts.items():
            yield f"{who}: {_FACTS.get(name, name)}", fact
    artifacts = record.document.get("artifacts") or {}
    if artifacts:
        counted = (f"{address} (files: {len(files)})" for address, files in artifacts.items())
        yield "artifacts whose digests are in the record", ", ".join(counted)
    software = record.document.get("software") or {}
    if software:
        yield "computed with", ", ".join(f"{name} {version}" for name, version in software.items())


def _known(models: Sequence[ModelView]) -> Iterator[tuple[str, tuple[str, ...]]]:
    if any(model.reason for model in models):
        yield "not scored", tuple(model.reason for model in models)
    names = dict.fromkeys(name for model in models for name in model.metrics)
    # Autologging can leave hundreds of metrics.
    for name in list(names)[:_MOST_METRICS]:
        values = (stated(m.metrics[name]) if name in m.metrics else "" for m in models)
        yield f"{name}, as logged", tuple(values)


def interval_told(check: CheckView) -> str:
    """Return the interval of a gain as text; '' where none is claimed."""
    if check.interval is None:
        return ""
    return f"{signed(check.interval.low)} to {signed(check.interval.high)}"
