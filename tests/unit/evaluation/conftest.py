"""Predictions of made-up models on made-up rows, for the tests of the evidence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest


def _regression(rows: int, *, error: float = 1.0, seed: int = 0, **more: Any) -> pd.DataFrame:
    target = np.random.default_rng(rows).normal(10, 2, rows)
    noise = np.random.default_rng(seed).normal(0, error, rows)
    return pd.DataFrame(
        {"row_id": np.arange(rows), "target": target, "prediction": target + noise, **more}
    )


def _classification(
    rows: int, *, classes: str = "ab", error: float = 1.0, seed: int = 0, **more: Any
) -> pd.DataFrame:
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


@pytest.fixture(scope="session")
def regression() -> Callable[..., pd.DataFrame]:
    """Return what makes predictions of so many rows, with an ``error``, a ``seed`` and columns.

    The errors are normal with a standard deviation of ``error`` (1). The targets depend on the
    number of rows alone: models of different seeds (0) are on the same rows.
    """
    return _regression


@pytest.fixture(scope="session")
def classification() -> Callable[..., pd.DataFrame]:
    """Return what makes predictions of classes with probabilities, of so many rows.

    They are the worse the larger ``error`` (1); ``classes`` are letters ("ab"). The targets depend
    on rows and classes alone; the predictions on the ``seed`` (0), too.
    """
    return _classification
