"""What there is to know about a metric, and its value for one model on some rows."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final

import numpy as np

from understudy.evaluation.conditions import nothing
from understudy.evaluation.means import Means
from understudy.evaluation.pairing import Rows

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
    except UndefinedError as error:
        return None, str(error)
    except ValueError as error:
        return math.nan, str(error).partition("\n")[0][:SHOWN]
    return value, "" if math.isfinite(value) else "it is not finite"
