"""A stored decision record as frozen views for a page to show. Pure.

A page is drawn of records that were written years ago by another version, so only what is
needed is required of them: what a record lacks is None or empty here, and left out of the page.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from understudy.errors import DecisionError
from understudy.spec.guards import level_of

KNOWN: Final = ("understudy/decision/1", "understudy/decision/2")

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class IntervalView:
    """A confidence interval in a metric's unit; an end may be infinite."""

    low: float
    high: float
    confidence: float | None


@dataclass(frozen=True, slots=True)
class CheckView:
    """One rule on all rows or on a slice, with every number behind it.

    The fields are those of ``understudy.gate.Check`` and ``understudy.gate.evidence.Comparison``.
    """

    metric: str
    rule: str
    slice: str
    result: str
    reason: str
    bound: float | None
    needed: float | None
    challenger: float | None
    champion: float | None
    gain: float | None
    interval: IntervalView | None
    excess: IntervalView | None
    rows: int | None
    groups: int | None
    p_value: float | None
    effect_size: float | None
    smallest_detectable: float | None
    method: str
    note: str
    mcnemar: Mapping[str, float]

    @property
    def compares(self) -> bool:
        """Whether the rule compares with the champion."""
        return self.rule in {"min_gain", "max_loss", "tolerance"}


@dataclass(frozen=True, slots=True)
class FindingView:
    """What a data guard or a budget found; see ``understudy.gate.evidence.FindingView``."""

    guard: str
    level: str
    result: str
    reason: str
    numbers: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ModelView:
    """One of the two models.

    Attributes:
        name: Its version in the registry, or its URI.
        run_id: The run of its validation.
        reason: Why it has no numbers; empty where it has.
        metrics: What was logged.
        facts: What else the record says of it, such as the digest of its predictions.
    """

    name: str
    run_id: str
    reason: str
    metrics: Mapping[str, float | None]
    facts: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class RecordView:
    """A decision record, read."""

    schema: str
    context: Mapping[str, str]
    basis: str
    rules: Document
    challenger: ModelView
    champion: ModelView | None
    verdict: str
    case: str
    reasons: tuple[str, ...]
    checks: tuple[CheckView, ...]
    findings: tuple[FindingView, ...]
    notes: tuple[str, ...]
    evidence: Document
    document: Document

    def fact(self, name: str) -> Any:  # noqa: ANN401 -- any JSON value, by nature
        """Return what the record or its evidence says under a name, or None."""
        return self.document.get(name, self.evidence.get(name))


def read(document: Document) -> RecordView:
    """Return the views of a record.

    Raises:
        DecisionError: when the document is no decision record that this version can show.
    """
    if document.get("schema") not in KNOWN:
        raise _unreadable(f"a document of schema {str(document.get('schema'))[:80]!r}")
    try:
        return _record(document)
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise _unreadable(f"no decision record ({type(error).__name__}: {error})") from error


def finite(value: object) -> float | None:
    """Return a stored number, or None where there is none or it is not finite."""
    found = number(value)
    return found if found is not None and math.isfinite(found) else None


def number(value: object) -> float | None:
    """Return a stored number; the record writes those that are not finite as text."""
    if value is None or isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    return float(value)


def _record(stored: Document) -> RecordView:
    evidence: Document = stored.get("evidence") or {}
    return RecordView(
        schema=stored["schema"],
        context={name: str(value) for name, value in stored["context"].items()},
        basis=str(stored["basis"]),
        rules=stored["rules"],
        challenger=_model(stored["challenger"]),
        champion=None if stored["champion"] is None else _model(stored["champion"]),
        verdict=str(stored["verdict"]),
        case=str(stored["case"]),
        reasons=_texts(stored["reasons"]),
        checks=_checks(stored["checks"], evidence),
        findings=tuple(map(_finding, evidence.get("findings", stored.get("findings", ())))),
        # A record has the evidence's notes among its own as well; each is shown once.
        notes=_texts((*stored["notes"], *evidence.get("notes", ()))),
        evidence=evidence,
        document=stored,
    )


def _checks(checks: Sequence[Document], evidence: Document) -> tuple[CheckView, ...]:
    """Join each check with the comparison that it judges."""
    behind = {_place(one): one for one in evidence.get("comparisons", ())}
    # What the check itself leaves empty must not hide the comparison's number.
    stated = ({n: v for n, v in one.items() if v is not None} for one in checks)
    return tuple(
        _check({**behind.get(_place(one), {}), **own})
        for one, own in zip(checks, stated, strict=True)
    )


def _place(stored: Document) -> tuple[str, str, str]:
    return stored["metric"], stored["rule"], stored.get("slice", "")


def _check(stored: Document) -> CheckView:
    numbers = ("bound", "needed", "challenger", "champion", "gain")
    statistics = ("p_value", "effect_size", "smallest_detectable")
    mcnemar = {name: number(value) for name, value in (stored.get("mcnemar") or {}).items()}
    return CheckView(
        metric=str(stored["metric"]),
        rule=str(stored["rule"]),
        slice=str(stored.get("slice", "")),
        result=str(stored["result"]),
        reason=str(stored["reason"]),
        interval=_interval(stored.get("interval")),
        excess=_interval(stored.get("excess")),
        rows=_whole(stored.get("rows")),
        groups=_whole(stored.get("groups")),
        method=str(stored.get("method", "")),
        note=str(stored.get("note", "")),
        mcnemar={name: value for name, value in mcnemar.items() if value is not None},
        **{name: number(stored.get(name)) for name in (*numbers, *statistics)},
    )


def _interval(stored: Document | None) -> IntervalView | None:
    if stored is None:
        return None
    low, high = number(stored["low"]), number(stored["high"])
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return None
    return IntervalView(low, high, finite(stored.get("confidence")))


def _finding(stored: Document) -> FindingView:
    texts = {name: str(stored[name]) for name in ("guard", "result", "reason")}
    level = level_of(str(stored["level"]))
    return FindingView(**texts, level=level, numbers=dict(stored.get("numbers") or {}))


def _model(stored: Document) -> ModelView:
    named = {"model", "metrics", "run_id", "reason"}
    return ModelView(
        name=str(stored["model"]),
        run_id=str(stored.get("run_id", "")),
        reason=str(stored.get("reason", "")),
        metrics={name: number(value) for name, value in (stored.get("metrics") or {}).items()},
        # Whatever else a later version notes about a model is shown as it stands.
        facts=_facts({name: value for name, value in stored.items() if name not in named}),
    )


def _facts(stored: Document) -> dict[str, str]:
    """Return the texts of a document and of the documents in it, without what is empty."""
    facts: dict[str, str] = {}
    for name, value in stored.items():
        if isinstance(value, Mapping):
            inner = _facts(value)
            facts |= {f"{name}: {label}": text for label, text in inner.items()}
        elif value not in (None, ""):
            facts[name] = str(value)
    return facts


def _whole(value: object) -> int | None:
    found = finite(value)
    return None if found is None else int(found)


def _texts(stored: Sequence[object]) -> tuple[str, ...]:
    """Return the texts in order, each once."""
    return tuple(dict.fromkeys(map(str, stored)))


def _unreadable(found: str) -> DecisionError:
    return DecisionError(
        f"Found {found}",
        allowed=f"a JSON document of schema {' or '.join(map(repr, KNOWN))}",
        action="name the decision/decision.json of a night's parent run",
    )
