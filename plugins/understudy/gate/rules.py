"""What a pipeline asks of a challenger: metrics, directions and bounds. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import Field

from understudy.declared import declared
from understudy.errors import DeclarationError, listed


class Direction(StrEnum):
    """Which way a metric gets better."""

    LOWER = "lower"
    HIGHER = "higher"


class Bound(StrEnum):
    """The kinds of bound that a rule may state."""

    AT_LEAST = "at_least"
    AT_MOST = "at_most"
    MIN_GAIN = "min_gain"
    MAX_LOSS = "max_loss"

    @property
    def needs_champion(self) -> bool:
        """Whether the bound compares with the champion."""
        return self in {Bound.MIN_GAIN, Bound.MAX_LOSS}


_LOWER: Final = frozenset(
    {
        "brier_score_loss",
        "log_loss",
        "loss",
        "mae",
        "mape",
        "max_error",
        "mean_absolute_error",
        "mean_squared_error",
        "median_absolute_error",
        "mse",
        "rmse",
        "root_mean_squared_error",
    }
)
_HIGHER: Final = frozenset(
    {
        "accuracy",
        "average_precision",
        "balanced_accuracy",
        "explained_variance",
        "f1",
        "f1_macro",
        "f1_micro",
        "f1_weighted",
        "matthews_corrcoef",
        "mcc",
        "precision",
        "precision_macro",
        "r2",
        "r2_score",
        "recall",
        "recall_macro",
        "roc_auc",
    }
)

NotNegative = Annotated[float, Field(ge=0)]
Confidence = Annotated[float, Field(gt=0.5, lt=1)]


@declared
class Metric:
    """One metric with the bounds that a challenger must keep; bounds are inclusive.

    Attributes:
        name: The name under which ``validate`` logs the metric.
        lower_is_better: Its direction; may be left out for the usual metrics of scikit-learn.
        at_least: The challenger's value must not be below this, champion or not.
        at_most: The challenger's value must not be above this, champion or not.
        min_gain: The challenger must be better than the champion by at least this much.
        max_loss: The challenger may be worse than the champion by at most this much.
        relative: ``min_gain`` and ``max_loss`` are fractions of the champion's absolute value.
        confidence: The confidence asked of an interval for the difference. A comparison of
            logged metrics has no interval; the record then says so.

    Raises:
        DeclarationError: for unknown fields, a direction that is not known, bounds below zero.
    """

    name: Annotated[str, Field(min_length=1)]
    lower_is_better: bool | None = None
    at_least: float | None = None
    at_most: float | None = None
    min_gain: NotNegative | None = None
    max_loss: NotNegative | None = None
    relative: bool = False
    confidence: Confidence | None = None

    def __post_init__(self) -> None:
        known = _LOWER | _HIGHER
        if self.lower_is_better is None and self.name not in known:
            raise DeclarationError(
                f"Metric({self.name!r}) does not say which way is better",
                allowed=f"lower_is_better=True or False; it is known for {listed(known)}",
                action="add lower_is_better to the metric",
            )
        if self.at_least is not None and self.at_most is not None and self.at_least > self.at_most:
            raise DeclarationError(
                f"Metric({self.name!r}): at_least={self.at_least}, at_most={self.at_most}",
                allowed="at_least not above at_most",
                action="correct one of the two",
            )

    @property
    def direction(self) -> Direction:
        """Which way the metric gets better."""
        lower = self.name in _LOWER if self.lower_is_better is None else self.lower_is_better
        return Direction.LOWER if lower else Direction.HIGHER

    def bounds(self) -> Iterator[tuple[Bound, float]]:
        """Yield each bound that is stated, absolute ones first."""
        for bound in Bound:
            value = getattr(self, bound.value)
            if value is not None:
                yield bound, float(value)

    def to_dict(self) -> dict[str, Any]:
        """Return the stated fields as JSON values, the direction always among them."""
        stated = {bound.value: value for bound, value in self.bounds()}
        lower = self.direction is Direction.LOWER
        more = {"confidence": self.confidence} if self.confidence is not None else {}
        return {
            "name": self.name,
            "lower_is_better": lower,
            **stated,
            "relative": self.relative,
            **more,
        }


@declared
class Gate:
    """The rules of a pipeline.

    Attributes:
        primary: The metric that decides. Without a ``min_gain`` or ``max_loss`` it must not be
            worse than the champion's (``min_gain=0.0``).
        guardrails: Metrics that must keep their bounds whatever the primary one says.

    Raises:
        DeclarationError: for a guardrail without a bound.
    """

    primary: Metric
    guardrails: Sequence[Metric] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "guardrails", tuple(self.guardrails))
        idle = [metric.name for metric in self.guardrails if not list(metric.bounds())]
        if idle:
            raise DeclarationError(
                f"Gate: the guardrails {listed(idle)} have no bound and check nothing",
                allowed=f"one or more of {listed(Bound)}",
                action="give each guardrail a bound or remove it",
            )

    @property
    def rules(self) -> tuple[tuple[Metric, Bound, float], ...]:
        """Every bound of every metric, the primary metric's first."""
        stated = [(self.primary, *bound) for bound in self.primary.bounds()]
        if not any(bound.needs_champion for _, bound, _ in stated):
            stated.append((self.primary, Bound.MIN_GAIN, 0.0))
        return (*stated, *((m, *bound) for m in self.guardrails for bound in m.bounds()))

    def to_dict(self) -> dict[str, Any]:
        """Return the rules as JSON values."""
        return {
            "primary": self.primary.to_dict(),
            "guardrails": [m.to_dict() for m in self.guardrails],
        }

    @classmethod
    def from_dict(cls, rules: dict[str, Any]) -> Gate:
        """Return the gate whose ``to_dict`` gave ``rules``."""
        return cls(Metric(**rules["primary"]), tuple(Metric(**m) for m in rules["guardrails"]))
