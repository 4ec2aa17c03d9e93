"""What goes into the gate and what comes out of it, as frozen records. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """What the gate says about a challenger."""

    PROMOTE = "PROMOTE"
    HOLD = "HOLD"
    REJECT = "REJECT"


class CheckResult(StrEnum):
    """How one rule came out."""

    PASSED = "passed"
    FAILED = "failed"
    UNDECIDED = "undecided"
    NOT_APPLICABLE = "not applicable"


class Case(StrEnum):
    """Which situation the gate judged."""

    FIRST = "first model"
    COMPARED = "compared with the champion"
    CHAMPION_UNSCORED = "champion could not be scored"


class Basis(StrEnum):
    """What the numbers are that a comparison rests on."""

    VALIDATIONS = "logged metrics"
    """Both models were scored by the project's validation, on the night's holdout."""
    TRAININGS = "metrics that the training runs logged"
    """Each model was scored by its own training, on rows of that training's choice."""


@dataclass(frozen=True, slots=True)
class Score:
    """The numbers of one model on one holdout.

    Attributes:
        model: How the model is named: a version of the registry, or a model URI.
        metrics: Metric name to value, as logged.
        run_id: The MLflow run of its validation.
        holdout_sha256: Digest of the rows that it was scored on; empty where unknown.
    """

    model: str
    metrics: Mapping[str, float]
    run_id: str = ""
    holdout_sha256: str = ""

    def __post_init__(self) -> None:
        numbers = {name: float(value) for name, value in self.metrics.items()}
        object.__setattr__(self, "metrics", numbers)


@dataclass(frozen=True, slots=True)
class Unscored:
    """A champion that exists and could not be scored, and why."""

    model: str
    reason: str
    run_id: str = ""


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval of the challenger's gain, in the metric's unit; positive is better."""

    low: float
    high: float
    confidence: float


@dataclass(frozen=True, slots=True)
class Check:
    """One rule with the numbers it saw.

    Attributes:
        metric: The metric's name.
        rule: ``at_least``, ``at_most``, ``min_gain`` or ``max_loss``.
        bound: The bound as stated.
        needed: The bound in the metric's unit: for a relative bound, times |champion|.
        challenger: The challenger's value; None where it is missing or not finite.
        champion: The champion's value; None where there is none.
        gain: How much better the challenger is, in the metric's unit; None without a champion.
        interval: The confidence interval of the gain; None where none can be claimed.
        result: How the rule came out.
        reason: One sentence for a person.
    """

    metric: str
    rule: str
    bound: float
    needed: float | None
    challenger: float | None
    champion: float | None
    gain: float | None
    interval: Interval | None
    result: CheckResult
    reason: str


@dataclass(frozen=True, slots=True)
class Decision:
    """The verdict with its reasons and every check behind it."""

    verdict: Verdict
    case: Case
    reasons: tuple[str, ...]
    checks: tuple[Check, ...]
    notes: tuple[str, ...] = ()

    @property
    def why(self) -> str:
        """The reasons as one line."""
        return "; ".join(self.reasons)
