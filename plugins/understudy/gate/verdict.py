"""What goes into the gate and what comes out of it, as frozen records. Pure."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


def as_logged(value: float) -> float:
    """Return a logged number as it was meant: MLflow's stores keep infinity as the largest double.

    Args:
        value: What was read from a run; 1.797e308 of either sign stands for infinity.
    """
    number = float(value)
    return math.copysign(math.inf, number) if abs(number) >= sys.float_info.max else number


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

    PREDICTIONS = "predictions on the same rows"
    """Both models' predictions, row by row, on the night's holdout."""
    VALIDATIONS = "logged metrics"
    """Both models were scored by the project's validation, on the night's holdout."""
    TRAININGS = "metrics that the training runs logged"
    """Each model was scored by its own training, on rows of that training's choice."""


class Cause(StrEnum):
    """Why a champion has no numbers; the reason beside it says more."""

    UNKNOWN = "not known"
    """The record is of a time that did not tell causes apart."""
    NOT_BEGUN = "its validation did not begin"
    DELETED = "its training run, version or model was deleted"
    ENVIRONMENT = "the environment of its validation could not be built"
    DATA = "it does not take tonight's rows"
    """A column is missing or has another type, or the target is another: exit code 65."""
    CRASHED = "its validation failed"
    STOPPED = "its validation was stopped, or took too long"
    PREDICTIONS = "its predictions are missing or cannot be used"


@dataclass(frozen=True, slots=True)
class StoredPredictions:
    """A stored ``predictions.parquet``, from which the evidence can be computed again.

    Attributes:
        run_id: The MLflow run that has it; empty for a file that is in none.
        path: Its place in that run, or of the file.
        sha256: Digest of its content.
        size: Its length in bytes.
    """

    run_id: str
    path: str
    sha256: str = ""
    size: int = 0


@dataclass(frozen=True, slots=True)
class Score:
    """The numbers of one model on one holdout.

    Attributes:
        model: How the model is named: a version of the registry, or a model URI.
        metrics: Metric name to value, as logged; see ``as_logged``.
        run_id: The MLflow run of its validation.
        holdout_sha256: Digest of the rows that it was scored on; empty where unknown.
        predictions: Its predictions row by row; None where there are none.
    """

    model: str
    metrics: Mapping[str, float]
    run_id: str = ""
    holdout_sha256: str = ""
    predictions: StoredPredictions | None = None

    def __post_init__(self) -> None:
        numbers = {name: as_logged(value) for name, value in self.metrics.items()}
        object.__setattr__(self, "metrics", numbers)


@dataclass(frozen=True, slots=True)
class Unscored:
    """A champion that exists and could not be scored, and why."""

    model: str
    reason: str
    run_id: str = ""
    cause: Cause = Cause.UNKNOWN


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval of the challenger's gain, in the metric's unit; positive is better."""

    low: float
    high: float
    confidence: float


@dataclass(frozen=True, slots=True)
class Check:
    """One rule, on all rows or on one slice, with the numbers it saw.

    Attributes:
        metric: The metric's name.
        rule: ``at_least``, ``at_most``, ``min_gain``, ``max_loss`` or ``tolerance``.
        bound: The bound as stated.
        needed: The bound in the metric's unit: for a relative bound, times |champion|; that of
            ``max_loss`` and ``tolerance`` is negative.
        challenger: The challenger's value; None where it is missing or not finite.
        champion: The champion's value; None where there is none.
        gain: How much better the challenger is, in the metric's unit; None without a champion.
        interval: The confidence interval of the gain; None where none can be claimed.
        result: How the rule came out.
        reason: One sentence for a person.
        slice: The slice that it looked at; empty for all rows.
        excess: The interval of ``gain - needed``, which decided; None where there is none.
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
    slice: str = ""
    excess: Interval | None = None


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
