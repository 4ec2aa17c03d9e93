"""The decision record: one JSON document from which a verdict can be recomputed. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from understudy.errors import DecisionError
from understudy.gate.judge import judge
from understudy.gate.rules import Gate
from understudy.gate.verdict import Basis, Decision, Score, Unscored, Verdict

SCHEMA: Final = "understudy/decision/1"


@dataclass(frozen=True, slots=True)
class DecisionRecord:
    """What was compared, under which rules, with which result.

    Attributes:
        context: Who judged what and when: pipeline, model, night, commit, as-of date (strings).
        gate: The rules.
        challenger: The challenger's numbers.
        champion: The champion's numbers, why it has none, or None where no champion exists.
        decision: The verdict and its checks.
        basis: Where the numbers that are compared are from.
    """

    context: Mapping[str, str]
    gate: Gate
    challenger: Score
    champion: Score | Unscored | None
    decision: Decision
    basis: Basis = Basis.VALIDATIONS

    @classmethod
    def of(
        cls,
        context: Mapping[str, str],
        gate: Gate,
        challenger: Score,
        champion: Score | Unscored | None,
        basis: Basis = Basis.VALIDATIONS,
    ) -> DecisionRecord:
        """Judge, and return the record of it."""
        decision = judge(gate, challenger, champion, basis)
        return cls(context, gate, challenger, champion, decision, basis)

    @property
    def verdict(self) -> Verdict:
        """The verdict."""
        return self.decision.verdict

    def to_json(self) -> str:
        """Return the record as strict JSON; numbers that are not finite are written as strings."""
        document = {
            "schema": SCHEMA,
            "context": dict(self.context),
            "basis": self.basis.value,
            "rules": self.gate.to_dict(),
            "challenger": _score_to_dict(self.challenger),
            "champion": _score_to_dict(self.champion),
            "verdict": self.decision.verdict.value,
            "case": self.decision.case.value,
            "reasons": list(self.decision.reasons),
            "checks": [_finite(asdict(check)) for check in self.decision.checks],
            "notes": list(self.decision.notes),
        }
        return json.dumps(document, indent=2, sort_keys=True, allow_nan=False)


def replay(document: str) -> DecisionRecord:
    """Judge again from a stored record's own inputs.

    Args:
        document: What ``DecisionRecord.to_json`` returned.

    Raises:
        DecisionError: when the document is no decision record of a schema that we know.
    """
    try:
        stored = json.loads(document)
        if stored["schema"] != SCHEMA:
            raise _unreadable(f"a document of schema {stored['schema']!r}")
        return DecisionRecord.of(
            stored["context"],
            Gate.from_dict(stored["rules"]),
            _scored(_score_from_dict(stored["challenger"])),
            _score_from_dict(stored["champion"]),
            Basis(stored["basis"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise _unreadable(f"no decision record ({type(error).__name__}: {error})") from error


def _scored(score: Score | Unscored | None) -> Score:
    if not isinstance(score, Score):
        raise _unreadable("a record without the challenger's numbers")
    return score


def _unreadable(found: str) -> DecisionError:
    return DecisionError(
        f"Found {found}",
        allowed=f"a JSON document of schema {SCHEMA!r}",
        action="name the decision/decision.json of a night's parent run",
    )


def _score_to_dict(score: Score | Unscored | None) -> dict[str, Any] | None:
    return None if score is None else _finite(asdict(score))


def _score_from_dict(stored: dict[str, Any] | None) -> Score | Unscored | None:
    if stored is None:
        return None
    if "reason" in stored:
        return Unscored(**stored)
    numbers = {name: float(value) for name, value in stored["metrics"].items()}
    return Score(**{**stored, "metrics": numbers})


def _finite(value: Any) -> Any:  # noqa: ANN401 -- any JSON value, by nature
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return value
