"""Both models' predictions on the rows of a holdout, as plain arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Codes = NDArray[np.integer[Any]]


@dataclass(frozen=True, slots=True)
class Numbers:
    """Predictions of numbers.

    Attributes:
        target: What was true, one number a row.
        predictions: By model, ``challenger`` first: what it said of the same rows, in that order.
        left_out: How many rows of the holdout are not among these.
    """

    target: Floats
    predictions: Mapping[str, Floats]
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class Guess:
    """One model's classes of the rows.

    Attributes:
        codes: Index of the class it named, one a row; -1 for one that no row has.
        probabilities: By class, one column each; None where the model gives none.
    """

    codes: Codes
    probabilities: tuple[Floats, ...] | None = None


@dataclass(frozen=True, slots=True)
class Classes:
    """Predictions of classes.

    Attributes:
        names: The classes; of two, the second is the one whose probability is looked at.
        target: Index of the true class, one a row.
        guesses: By model, ``challenger`` first.
        left_out: How many rows of the holdout are not among these.
    """

    names: tuple[str, ...]
    target: Codes
    guesses: Mapping[str, Guess]
    left_out: int = 0
