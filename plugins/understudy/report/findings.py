"""What guards and budgets found, as bars, a table and a line of numbers. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

from understudy.report.document import Finding, finite
from understudy.report.drawing import Table
from understudy.report.scale import Scale
from understudy.report.text import count, number, shown, stated

_RESULTS: Final = ("failed", "undecided", "passed")
_LEVELS: Final = ("reject", "hold", "warn")
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
class Found:
    """A finding, laid out.

    Attributes:
        finding: The finding.
        bars: Numbers that are named ``measure: thing``.
        table: Numbers that are named ``field_1``, ``field_2`` and so on; None where there are none.
        line: All others, as one line.
    """

    finding: Finding
    bars: tuple[Bars, ...]
    table: Table | None
    line: str


def found(findings: tuple[Finding, ...]) -> tuple[Found, ...]:
    """Return what guards and budgets found, those that did not pass first."""
    return tuple(map(_found, sorted(findings, key=_urgency)))


def _urgency(finding: Finding) -> tuple[int, int]:
    return _place(finding.result, _RESULTS), _place(finding.level, _LEVELS)


def _place(value: str, order: tuple[str, ...]) -> int:
    return order.index(value) if value in order else len(order)


def _found(finding: Finding) -> Found:
    measured = {
        key: parts
        for key, value in finding.numbers.items()
        if (parts := _MEASURED.fullmatch(key)) and _finite(value) is not None
    }
    ranked = {key: parts for key in finding.numbers if (parts := _RANKED.fullmatch(key))}
    bars = tuple(_bars(finding.numbers, measured))
    apart = {*measured, *ranked, *([_LIMIT] if bars else [])}
    rest = {name: value for name, value in finding.numbers.items() if name not in apart}
    return Found(finding, bars, _table(finding.numbers, ranked), _line(rest))


def _bars(numbers: Mapping[str, Any], measured: Mapping[str, re.Match[str]]) -> Iterator[Bars]:
    limit = _finite(numbers.get(_LIMIT))
    for measure, keys in groupby(measured, key=lambda key: measured[key]["measure"]):
        known = [(measured[key]["name"], _finite(numbers[key]) or 0.0) for key in keys]
        scale = Scale(0.0, max(limit or 0.0, *(value for _, value in known)) * 1.04 or 1.0)
        yield Bars(
            measure=measure,
            bars=tuple(_bar(name, value, scale, limit) for name, value in known),
            limit=None if limit is None else scale.at(limit),
            limit_told=stated(limit, 4),
        )


def _bar(name: str, value: float, scale: Scale, limit: float | None) -> Bar:
    beyond = limit is not None and value > limit
    return Bar(shown(name, 80), number(value, 3), scale.at(value), beyond)


def _table(numbers: Mapping[str, Any], ranked: Mapping[str, re.Match[str]]) -> Table | None:
    """Return numbers of ranked things as one row for each."""
    if not ranked:
        return None
    fields = tuple(dict.fromkeys(parts["field"] for parts in ranked.values()))
    places = sorted({int(parts["place"]) for parts in ranked.values()})
    rows = tuple(
        tuple(_told(numbers.get(f"{field}_{place}", "")) for field in fields) for place in places
    )
    return Table("", tuple(field.replace("_", " ") for field in fields), rows)


def _line(numbers: Mapping[str, Any]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {_told(value)}" for name, value in numbers.items())


def _finite(value: object) -> float | None:
    """Return a finite number, or None: a guard's numbers may as well be texts."""
    return None if isinstance(value, str | bool) else finite(value)


def _told(value: object) -> str:
    known = _finite(value)
    if known is None:
        return shown(value, 120)
    return count(known) if known.is_integer() else stated(known, 4)
