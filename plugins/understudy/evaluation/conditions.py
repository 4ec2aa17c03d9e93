"""What rows must be like for a metric to mean anything; each says what is wrong, or nothing.

What rows do not define is no fault of a model: a rule on it can be neither kept nor broken.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from understudy.errors import listed
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
