"""One metric and the bounds that a pipeline puts on it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from understudy.errors import DeclarationError, nearest
from understudy.spec.declared import declared

DEFAULT_CONFIDENCE: Final = 0.7
"""One-sided confidence of a comparison where a metric states none."""


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
    TOLERANCE = "tolerance"

    @property
    def needs_champion(self) -> bool:
        """Whether the bound compares with the champion."""
        return self in {Bound.MIN_GAIN, Bound.MAX_LOSS, Bound.TOLERANCE}


LOWER_IS_BETTER: Final = frozenset({
    "brier_score", "brier_score_loss", "hamming_loss", "hinge_loss", "log_loss", "loss", "mae",
    "mape", "max_error", "mean_absolute_error", "mean_absolute_percentage_error",
    "mean_gamma_deviance", "mean_pinball_loss", "mean_poisson_deviance", "mean_squared_error",
    "mean_squared_log_error", "median_absolute_error", "mse", "msle", "rmse", "rmsle",
    "root_mean_squared_error", "root_mean_squared_log_error", "zero_one_loss",
})  # fmt: skip
"""Metrics, by the names of scikit-learn and their usual short ones, of which less is better."""
HIGHER_IS_BETTER: Final = frozenset({
    "accuracy", "accuracy_score", "average_precision", "average_precision_score",
    "balanced_accuracy", "balanced_accuracy_score", "cohen_kappa_score",
    "d2_absolute_error_score", "d2_log_loss_score", "explained_variance",
    "explained_variance_score", "f1", "f1_macro", "f1_micro", "f1_score", "f1_weighted",
    "jaccard", "jaccard_score", "matthews_corrcoef", "mcc", "precision", "precision_macro",
    "precision_micro", "precision_score", "precision_weighted", "r2", "r2_score", "recall",
    "recall_macro", "recall_micro", "recall_score", "recall_weighted", "roc_auc", "roc_auc_ovo",
    "roc_auc_ovr", "roc_auc_score",
})  # fmt: skip
"""Those of which more is better."""

UNDEFINED_AS_NAN: Final = frozenset({
    "cohen_kappa_score", "d2_absolute_error_score", "d2_log_loss_score", "r2", "r2_score",
    "roc_auc", "roc_auc_ovo", "roc_auc_ovr", "roc_auc_score",
})  # fmt: skip
"""Metrics that scikit-learn returns as NaN for rows that do not define them, such as rows of one
class, and only for these: predictions that are no numbers are an error of its own."""

NotNegative = Annotated[float, Field(ge=0)]
OF_ERROR: Final = "error"
"""What ``Metric.relative`` is where a bound is a fraction of the champion's error."""
Confidence = Annotated[float, Field(gt=0.5, lt=1)]
_FUNCTION: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


@declared
class Metric:
    """One metric with the bounds that a challenger must keep; bounds are inclusive.

    Attributes:
        name: scikit-learn's name, or the one under which ``validate`` logs the metric.
        lower_is_better: Its direction; may be left out for the usual metrics of scikit-learn.
        at_least: The challenger's value must not be below this, champion or not.
        at_most: The challenger's value must not be above this, champion or not.
        min_gain: The challenger must be better than the champion by at least this much.
        max_loss: The challenger may be worse than the champion by at most this much.
        tolerance: What the rows do not show to be worse passes, if it is worse by at most this
            much as measured.
        relative: True: ``min_gain``, ``max_loss`` and ``tolerance`` are fractions of the
            champion's absolute value. ``"error"``: of its distance from the best value that there
            is, which is 1 for scores of scikit-learn such as accuracy or r2, and 0 for errors such
            as rmse. A metric whose best value is not known is taken by its absolute value.
        confidence: The one-sided confidence required of a comparison; ``DEFAULT_CONFIDENCE`` where
            none is stated. A comparison of logged metrics has none; the record then says so.
        function: ``module:function`` of a metric of your own: takes a ``pandas.DataFrame`` with
            the columns of ``predictions.parquet`` and returns a number.

    Raises:
        DeclarationError: for unknown fields, a direction that is not known, bounds below zero.
    """

    name: Annotated[str, Field(min_length=1)]
    lower_is_better: bool | None = None
    at_least: float | None = None
    at_most: float | None = None
    min_gain: NotNegative | None = None
    max_loss: NotNegative | None = None
    tolerance: NotNegative | None = None
    relative: bool | Literal["error"] = False
    confidence: Confidence | None = None
    function: str | None = None

    def __post_init__(self) -> None:
        known = LOWER_IS_BETTER | HIGHER_IS_BETTER
        # A function of the user's says nothing of its direction, whatever it is called.
        if self.lower_is_better is None and (self.function or self.name not in known):
            meant = "" if self.function else nearest(self.name, known)
            raise DeclarationError(
                f"Metric({self.name!r}) does not say which way is better{meant}",
                allowed="a metric of scikit-learn by its name, or lower_is_better=True or False for"
                " one of your own",
                action="correct the name" if meant else "add lower_is_better to the metric",
            )
        self._check_bounds()
        if self.function is not None and not _FUNCTION.fullmatch(self.function):
            raise self._wrong(
                f"function is {self.function!r}",
                "'module:function', importable where the gate runs",
                "put the function into a module beside the Dag file and name both",
            )

    def _check_bounds(self) -> None:
        if self.at_least is not None and self.at_most is not None and self.at_least > self.at_most:
            raise self._wrong(
                f"at_least={self.at_least}, at_most={self.at_most}",
                "at_least not above at_most",
                "correct one of the two",
            )
        if self.relative and not any(bound.needs_champion for bound, _ in self.bounds()):
            raise self._wrong(
                f"relative={self.relative!r} without min_gain, max_loss or tolerance, which it is "
                "about",
                f"relative={self.relative!r} with min_gain, max_loss or tolerance",
                "add one of them, or remove relative",
            )

    def _wrong(self, found: str, allowed: str, action: str) -> DeclarationError:
        return DeclarationError(f"Metric({self.name!r}): {found}", allowed=allowed, action=action)

    @property
    def direction(self) -> Direction:
        """Which way the metric gets better."""
        stated = self.lower_is_better
        lower = self.name in LOWER_IS_BETTER if stated is None else stated
        return Direction.LOWER if lower else Direction.HIGHER

    @property
    def best(self) -> float:
        """The value from which relative bounds count: they are fractions of the way to it."""
        is_score = self.function is None and self.name in HIGHER_IS_BETTER
        higher = self.direction is Direction.HIGHER
        return 1.0 if self.relative == OF_ERROR and is_score and higher else 0.0

    @property
    def sureness(self) -> float:
        """The confidence required of a comparison, stated or by default."""
        return DEFAULT_CONFIDENCE if self.confidence is None else self.confidence

    @property
    def alpha(self) -> float:
        """The one-sided error rate of a comparison, before any is spent on repetition."""
        return 1 - self.sureness

    def bounds(self) -> Iterator[tuple[Bound, float]]:
        """Yield each bound that is stated, absolute ones first."""
        for bound in Bound:
            value = getattr(self, bound.value)
            if value is not None:
                yield bound, float(value)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values, with what is understood where nothing is stated.

        A record must mean the same when defaults have changed.
        """
        stated = {bound.value: value for bound, value in self.bounds()}
        return {
            "name": self.name,
            "lower_is_better": self.direction is Direction.LOWER,
            **stated,
            "relative": self.relative,
            "confidence": self.sureness,
            **({"function": self.function} if self.function is not None else {}),
        }
