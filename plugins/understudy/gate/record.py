"""The decision record: one JSON document from which a verdict can be recomputed. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Final

from understudy.errors import DecisionError, DeclarationError, listed
from understudy.gate.budgets import Measurement
from understudy.gate.evidence import Comparison, Evidence, Finding
from understudy.gate.judge import judge
from understudy.gate.learning import Learning
from understudy.gate.verdict import (
    Basis,
    Cause,
    Decision,
    Interval,
    Score,
    StoredPredictions,
    Unscored,
    Verdict,
)
from understudy.redact import plain
from understudy.spec.guards import level_of
from understudy.spec.rules import Gate

_RUNS: Final = "runs:/"


# Numbers that are not finite are written as strings, so that any language can read a record.
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
    # Only a model without numbers has a reason.
    if "reason" in stored:
        return Unscored(**{**stored, "cause": Cause(stored.get("cause", Cause.UNKNOWN))})
    predictions = stored.get("predictions")
    known = {
        "metrics": {name: float(value) for name, value in stored["metrics"].items()},
        "predictions": None if predictions is None else StoredPredictions(**predictions),
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
    numbers = {n: None if stored[n] is None else float(stored[n]) for n in _NUMBERS}
    ends = {name: _interval(stored[name]) for name in ("interval", "excess")}
    mcnemar = stored["mcnemar"]
    shown = None if mcnemar is None else {name: float(value) for name, value in mcnemar.items()}
    return Comparison(**{**stored, **numbers, **ends, "mcnemar": shown})


# Annotations are strings here (PEP 563), which makes them comparable as such.
_NUMBERS: Final = tuple(one.name for one in fields(Comparison) if one.type == "float | None")


def _interval(stored: Mapping[str, Any] | None) -> Interval | None:
    if stored is None:
        return None
    return Interval(**{name: float(value) for name, value in stored.items()})


CHANGED: Final = "changed"
"""Where a record's context says that other defaults judge than on the night before."""
STAND_IN: Final = "stand_in"
"""Where it says that another version was scored in the champion's place."""
SCHEMA: Final = "understudy/decision/2"
"""The form that is written."""
KNOWN_SCHEMAS: Final = ("understudy/decision/1", SCHEMA)
"""The forms that are read. The first had no evidence: it compared logged metrics only."""


@dataclass(frozen=True, slots=True)
class Shadow:
    """A night that only says what it would have done.

    Attributes:
        night: 1-based index of this night among the pipeline's judged nights.
        nights: How many shadow nights the rules ask for.
    """

    night: int
    nights: int

    def summary(self, verdict: Verdict) -> str:
        """Return what the night would have done, as a sentence."""
        return f"shadow night {self.night} of {self.nights}: the verdict would have been {verdict}"


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
        evidence: What the predictions of both say; None where logged metrics were compared.
        shadow: Set on a night that moves nothing whatever its verdict; None on any other.
        software: Versions of what computed the evidence, by package.
        measurement: What both models cost; None where the rules have no budgets.
        learned: How the tolerance of the rules was chosen; None where it is as it was stated.
        artifacts: What else was read: by the address in MLflow the SHA-256 of each file below it,
            by its place; '' for the place of a single file. The digests of predictions are with
            the scores.
    """

    context: Mapping[str, str]
    gate: Gate
    challenger: Score
    champion: Score | Unscored | None
    decision: Decision
    basis: Basis = Basis.VALIDATIONS
    evidence: Evidence | None = None
    shadow: Shadow | None = None
    software: Mapping[str, str] = field(default_factory=dict)
    measurement: Measurement | None = None
    learned: Learning | None = None
    artifacts: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @classmethod
    def of(  # noqa: PLR0913 -- everything that a verdict rests on
        cls,
        context: Mapping[str, str],
        gate: Gate,
        challenger: Score,
        champion: Score | Unscored | None,
        *,
        basis: Basis = Basis.VALIDATIONS,
        evidence: Evidence | None = None,
        shadow: Shadow | None = None,
        software: Mapping[str, str] | None = None,
        measurement: Measurement | None = None,
        learned: Learning | None = None,
        artifacts: Mapping[str, Mapping[str, str]] | None = None,
    ) -> DecisionRecord:
        """Judge, and return the record of it; ``gate`` has the tolerance that was chosen."""
        decision = _decided(learned, judge(gate, challenger, champion, basis, evidence))
        return cls(
            context,
            gate,
            challenger,
            champion,
            decision,
            basis=basis,
            evidence=evidence,
            shadow=shadow,
            software=software or {},
            measurement=measurement,
            learned=learned,
            artifacts=artifacts or {},
        )

    @property
    def verdict(self) -> Verdict:
        """The verdict."""
        return self.decision.verdict

    @property
    def digests(self) -> dict[str, Mapping[str, str]]:
        """All digests that it has, of predictions, too, by the address of what they are of."""
        scores = [one for one in (self.challenger, self.champion) if isinstance(one, Score)]
        read = [one.predictions for one in scores if one.predictions is not None]
        return {
            **self.artifacts,
            **{
                f"{_RUNS}{p.run_id}/{p.path}": {"": p.sha256} for p in read if p.run_id and p.sha256
            },
        }

    @property
    def model_digests(self) -> dict[str, Mapping[str, str]]:
        """Those of them that are of the models that were judged."""
        return {
            address: files
            for address, files in self.artifacts.items()
            if address == self.challenger.model or not address.startswith(_RUNS)
        }

    def summary_lines(self) -> list[str]:
        """Return the record as lines for a log: verdict, reasons, every check, notes."""
        checks = [f"{check.result.value}: {check.reason}" for check in self.decision.checks]
        blockers = [one for one in self.decision.reasons if not any(one in c for c in checks)]
        moved = f"Nothing is moved, {self.shadow.summary(self.verdict)}" if self.shadow else ""
        head = [f"Verdict: {self.verdict}", *filter(None, [moved])]
        changed = filter(None, [self.context.get(name, "") for name in (CHANGED, STAND_IN)])
        # Names of columns, classes and slices come from data, and shall forge no line.
        return [*map(plain, (*head, *changed, *blockers, *checks, *self.decision.notes))]

    def judged_again(self, gate: Gate | None = None) -> DecisionRecord:
        """Return the record of the same numbers, judged anew; under other rules if given.

        The stored evidence answers the rules that it was gathered for. Where other rules ask for
        more, it has to be gathered anew from the predictions.
        """
        rules, learned = (self.gate, self.learned) if gate is None else (gate, None)
        decision = judge(rules, self.challenger, self.champion, self.basis, self.evidence)
        decision = _decided(learned, decision)
        return replace(self, gate=rules, decision=decision, learned=learned)

    def to_dict(self) -> dict[str, Any]:
        """Return the record as strict JSON values."""
        parts = {
            "schema": SCHEMA,
            "context": dict(self.context),
            "basis": self.basis.value,
            "rules": self.gate.to_dict(),
            "challenger": self.challenger,
            "champion": self.champion,
            "evidence": self.evidence,
            "software": dict(self.software),
            "measurement": self.measurement,
            **({"learned": self.learned} if self.learned else {}),
            **({"artifacts": self.artifacts} if self.artifacts else {}),
            "shadow": self.shadow,
            "verdict": self.decision.verdict.value,
            "case": self.decision.case.value,
            "reasons": self.decision.reasons,
            "checks": self.decision.checks,
            "notes": self.decision.notes,
        }
        return {name: as_json(part) for name, part in parts.items()}

    def to_json(self) -> str:
        """Return the record as strict JSON; numbers that are not finite are written as strings."""
        return json.dumps(self.to_dict(), indent=2, sort_keys=True, allow_nan=False)


def _decided(learned: Learning | None, decision: Decision) -> Decision:
    """Return a decision whose notes say which tolerance judged, and why."""
    return replace(decision, notes=(learned.why, *decision.notes)) if learned else decision


def read(document: str) -> dict[str, Any]:
    """Return a stored record as JSON values, levels by their names of today."""
    stored: dict[str, Any] = json.loads(document)
    for one in (stored.get("evidence") or {}).get("findings", ()):
        one["level"] = level_of(one["level"])
    return stored


def replay(document: str) -> DecisionRecord:
    """Judge again from a stored record's own inputs.

    Args:
        document: What ``DecisionRecord.to_json`` returned.

    Raises:
        DecisionError: when the document is no decision record of a schema that we know.
    """
    try:
        stored = read(document)
        # A newer schema is refused: its evidence might mean something else.
        if stored["schema"] not in KNOWN_SCHEMAS:
            raise _unreadable(f"a document of schema {stored['schema']!r}")
        return _judged(stored)
    except (ValueError, KeyError, TypeError, AttributeError, DeclarationError) as error:
        raise _unreadable(f"no decision record ({type(error).__name__}: {error})") from error


def _judged(stored: Mapping[str, Any]) -> DecisionRecord:
    shadow, evidence = stored.get("shadow"), stored.get("evidence")
    measured = stored.get("measurement")
    context, gate = stored["context"], Gate.from_dict(stored["rules"])
    learned = stored.get("learned")
    if learned is not None:
        # Chosen again and not believed, as the verdict is.
        learned = Learning.again(gate, learned, context["as_of"])
        gate = gate.tolerating(learned.chosen)
    challenger = score_of(stored["challenger"])
    if not isinstance(challenger, Score):
        raise _unreadable("a record without the challenger's numbers")
    return DecisionRecord.of(
        context,
        gate,
        challenger,
        score_of(stored["champion"]),
        basis=Basis(stored["basis"]),
        evidence=None if evidence is None else evidence_of(evidence),
        shadow=None if shadow is None else Shadow(**shadow),
        software=stored.get("software", {}),
        measurement=None if measured is None else Measurement.from_dict(measured),
        learned=learned,
        artifacts=stored.get("artifacts", {}),
    )


def _unreadable(found: str) -> DecisionError:
    return DecisionError(
        f"Found {found}",
        allowed=f"a JSON document of one of the schemas {listed(KNOWN_SCHEMAS)}",
        action="name the decision/decision.json of a night's parent run",
    )
