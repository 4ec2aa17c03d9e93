"""What a metric is, what rows must be like for it to mean anything, and a user's own metrics.

What rows do not define is no fault of a model: a rule on it can be neither kept nor broken.
"""

from __future__ import annotations

import importlib
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

import numpy as np
import pandas as pd

from understudy.errors import DecisionError, listed
from understudy.evaluation.means import Means
from understudy.evaluation.pairing import Rows

TWO: Final = 2
NOT_DEFINED: Final = "not defined on these rows"
_SHOWN: Final = 5


def nothing(rows: Rows) -> str:
    """Any rows will do."""
    del rows
    return ""


def two_classes(rows: Rows) -> str:
    """The holdout must know two classes, so that one of them is the positive one."""
    if len(rows.labels) == TWO:
        return ""
    return f"it is for two classes and there are {len(rows.labels)}: average over them instead"


def several_labels(rows: Rows) -> str:
    """The holdout must know more classes than one, though these rows need not have them."""
    return "" if len(rows.labels) > 1 else f"{NOT_DEFINED}: the holdout knows one class only"


def several_classes(rows: Rows) -> str:
    """The rows must have more classes than one."""
    return "" if len(rows.present) > 1 else f"{NOT_DEFINED}, which have one class only"


def every_class(rows: Rows) -> str:
    """The rows must have every class that the holdout knows, and more than one."""
    present = set(rows.present.tolist())
    lacking = [name for code, name in enumerate(rows.labels) if code not in present]
    if lacking:
        return f"{NOT_DEFINED}, which lack the classes {listed(lacking[:_SHOWN])}"
    return several_classes(rows)


def varied(rows: Rows) -> str:
    """The target must vary."""
    return "" if np.ptp(rows.truth) > 0 else f"{NOT_DEFINED}: the target is the same in all of them"


def above_zero(rows: Rows) -> str:
    """Every target must be above zero."""
    return "" if (rows.truth > 0).all() else f"{NOT_DEFINED}: a target is not above zero"


def not_below_zero(rows: Rows) -> str:
    """No target may be below zero."""
    return "" if (rows.truth >= 0).all() else f"{NOT_DEFINED}: a target is below zero"


def above_minus_one(rows: Rows) -> str:
    """Every target must be above -1, whose logarithm of one more is infinite."""
    return "" if (rows.truth > -1).all() else f"{NOT_DEFINED}: a target is not above -1"


Score = Callable[[Rows], float]
SHOWN: Final = 300
"""Characters of somebody's message that a note repeats."""


class Input(Enum):
    """What of the predictions a metric reads."""

    NUMBERS = "numbers"
    CLASSES = "classes"
    PROBABILITIES = "probabilities"
    FRAME = "frame"


@dataclass(frozen=True, slots=True)
class Definition:
    """One metric.

    Attributes:
        score: Its value on some rows.
        reads: What it reads.
        means: How it is made of means; None where it is not.
        ranked: Whether it is an area under the ROC curve.
        regular: Whether resampling says how it varies; it does not for an extreme value.
        undefined: Says why some rows do not define it, whatever was predicted; empty where they do.
    """

    score: Score
    reads: Input
    means: Means | None = None
    ranked: bool = False
    regular: bool = True
    undefined: Callable[[Rows], str] = nothing

    def lacking(self, rows: Rows) -> str:
        """Say why the metric cannot be computed from such columns; empty where it can."""
        source = rows.source
        if rows.weight is not None and not rows.weight.any():
            return "the rows have no weight"
        if self.reads is Input.NUMBERS and np.isnan(rows.truth).any():
            return "the target is no number"
        if self.reads is Input.NUMBERS and source.prediction is None:
            return "there is no column 'prediction'"
        if self.reads is Input.PROBABILITIES and not source.probabilities:
            return "there are no probabilities"
        if self.reads is Input.CLASSES and not rows.labels:
            return "the target has too many different values to be classes"
        return self.undefined(rows)

    def bad(self, rows: Rows) -> str:
        """Say what is wrong with what the model predicted; empty for nothing."""
        if self.reads is Input.FRAME:
            return ""
        if self.reads is Input.NUMBERS:
            return rows.bad_numbers()
        return rows.bad_classes() if self.reads is Input.CLASSES else rows.bad_probabilities()


class UndefinedError(ValueError):
    """A user's metric has no value on some rows."""


def measured(definition: Definition, rows: Rows) -> tuple[float | None, str]:
    """Return a model's value and, where it is none or not finite, why.

    None stands for rows or columns that do not define the metric, NaN for predictions that have
    no valid value of it: the one is nobody's fault, the other the model's.
    """
    if why := definition.lacking(rows):
        return None, why
    if why := definition.bad(rows):
        return math.nan, why
    try:
        value = definition.score(rows)
    # Rows that define no value are no fault of the model's: None. Anything else scikit-learn
    # refuses is one of its predictions: NaN, which fails a rule.
    except UndefinedError as error:
        return None, str(error)
    except ValueError as error:
        # One line, and no more than a note can show: some messages repeat the data.
        return math.nan, str(error).partition("\n")[0][:SHOWN]
    return value, "" if math.isfinite(value) else "it is not finite"


def own(place: str) -> Definition:
    """Return the metric that a function computes.

    Raises:
        DecisionError: when it cannot be imported, or is no function.
    """
    function = _imported(place)

    def score(rows: Rows) -> float:
        try:
            value, undefined = _called(function, rows.frame())
        except Exception as error:
            # A user's function may raise anything.
            found = f"{place} raised {type(error).__name__}: {error}"
            raise UndefinedError(found.partition("\n")[0][:SHOWN]) from error
        if undefined and math.isnan(value):
            raise UndefinedError(f"{NOT_DEFINED}: {undefined}"[:SHOWN])
        return value

    return Definition(score, Input.FRAME)


def _called(function: Callable[[pd.DataFrame], Any], frame: pd.DataFrame) -> tuple[float, str]:
    """Return a function's value, and scikit-learn's warning about rows that define none."""
    from sklearn.exceptions import UndefinedMetricWarning

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UndefinedMetricWarning)
        value = float(function(frame))
    undefined = [one for one in caught if issubclass(one.category, UndefinedMetricWarning)]
    # Recorded with the others only because Python cannot record one category alone: given back.
    for one in caught:
        if one not in undefined:
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
    return value, str(undefined[0].message).partition("\n")[0] if undefined else ""


def _imported(place: str) -> Callable[[pd.DataFrame], Any]:
    module, _, name = place.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise DecisionError(
            f"The metric's function {place!r} cannot be imported: {error}",
            allowed="'module:function', importable by the Python that judges",
            action="put the module where that Python finds it, or correct the name",
        ) from error
    if not callable(found):
        raise DecisionError(
            f"The metric's function {place!r} is a {type(found).__name__}",
            allowed="a function that takes a pandas.DataFrame and returns a number",
            action="name a function",
        )
    return found  # type: ignore[no-any-return]
