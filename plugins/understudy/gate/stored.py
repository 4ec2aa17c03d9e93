"""The parts of a decision record as JSON values, and back. Pure.

Numbers that are not finite are written as strings, so that any language can read a record.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any, Final

from understudy.gate.evidence import Comparison, Evidence, Finding
from understudy.gate.verdict import Cause, Interval, Predictions, Score, Unscored


def as_json(value: Any) -> Any:  # noqa: ANN401 -- any JSON value, by nature
    """Return frozen records, mappings and tuples as strict JSON values."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): as_json(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(inner) for inner in value]
    return as_json(asdict(value)) if hasattr(value, "__dataclass_fields__") else value


def score_of(stored: Mapping[str, Any] | None) -> Score | Unscored | None:
    """Return one model's numbers, why it has none, or None."""
    if stored is None:
        return None
    if "reason" in stored:
        return Unscored(**{**stored, "cause": Cause(stored.get("cause", Cause.UNKNOWN))})
    predictions = stored.get("predictions")
    known = {
        "metrics": {name: float(value) for name, value in stored["metrics"].items()},
        "predictions": None if predictions is None else Predictions(**predictions),
    }
    return Score(**{**stored, **known})


def evidence_of(stored: Mapping[str, Any]) -> Evidence:
    """Return the evidence that ``as_json`` made of one."""
    texts = {name: tuple(stored[name]) for name in ("blockers", "notes")}
    return Evidence(
        **{
            **stored,
            **texts,
            "comparisons": tuple(comparison_of(one) for one in stored["comparisons"]),
            "findings": tuple(Finding(**one) for one in stored["findings"]),
        }
    )


def comparison_of(stored: Mapping[str, Any]) -> Comparison:
    """Return the comparison that ``as_json`` made of one."""
    numbers = {name: _number(stored[name]) for name in _NUMBERS}
    ends = {name: _interval(stored[name]) for name in ("interval", "excess")}
    mcnemar = stored["mcnemar"]
    shown = None if mcnemar is None else {name: float(value) for name, value in mcnemar.items()}
    return Comparison(**{**stored, **numbers, **ends, "mcnemar": shown})


_NUMBERS: Final = tuple(one.name for one in fields(Comparison) if one.type == "float | None")


def _interval(stored: Mapping[str, Any] | None) -> Interval | None:
    if stored is None:
        return None
    return Interval(**{name: float(value) for name, value in stored.items()})


def _number(value: float | str | None) -> float | None:
    return None if value is None else float(value)
