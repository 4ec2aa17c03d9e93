"""Predictions of made-up models on made-up rows, for the tests of the evidence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray


def regression(rows: int, *, error: float = 1.0, seed: int = 0, **more: Any) -> pd.DataFrame:
    """Return predictions whose errors have a standard deviation of ``error``.

    The targets depend on ``rows`` alone: models of different seeds are on the same rows.
    """
    target = np.random.default_rng(rows).normal(10, 2, rows)
    noise = np.random.default_rng(seed).normal(0, error, rows)
    return pd.DataFrame(
        {"row_id": np.arange(rows), "target": target, "prediction": target + noise, **more}
    )


def classification(
    rows: int, *, classes: str = "ab", error: float = 1.0, seed: int = 0, **more: Any
) -> pd.DataFrame:
    """Return predictions of classes with probabilities, the worse the larger ``error``."""
    codes = np.random.default_rng(rows).integers(0, len(classes), rows)
    scores = np.eye(len(classes))[codes] + np.random.default_rng(seed).normal(
        0, error, (rows, len(classes))
    )
    shares = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    names = np.array(list(classes))
    return pd.DataFrame(
        {
            "row_id": [f"row {number}" for number in range(rows)],
            "target": names[codes],
            "prediction": names[shares.argmax(axis=1)],
            **{f"probability_{name}": shares[:, code] for code, name in enumerate(names)},
            **more,
        }
    )


def weights(rows: int) -> NDArray[np.float64]:
    """Return weights of which some are zero."""
    return np.random.default_rng(7).integers(0, 4, rows) / 2 + (np.arange(rows) < 2)
