"""Rows of a night as files, for tests of what looks at them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest


def _frame(rows: int = 1000, seed: int = 0) -> pd.DataFrame:
    draw = np.random.default_rng(seed)
    size = draw.normal(10, 2, rows)
    return pd.DataFrame(
        {
            "row_id": [f"{draw.integers(2**60):x}-0" for _ in range(rows)],
            "size": size,
            "hour": draw.integers(0, 24, rows),
            "region": draw.choice(["north", "south", "east"], rows),
            "time": pd.date_range("2026-01-01", periods=rows, freq="h", tz="UTC"),
            "price": 3 * size + draw.normal(0, 3, rows),
        }
    )


def _night(folder: Path, train: pd.DataFrame, holdout: pd.DataFrame, **facts: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    train.to_parquet(folder / "train.parquet", index=False)
    holdout.to_parquet(folder / "holdout.parquet", index=False)
    known = {"target": "price", "features": ["size", "hour", "region"], "time": "time"}
    document = {**known, "task": "regression", **facts}
    (folder / "dataset.json").write_text(json.dumps(document))
    return folder


@pytest.fixture(scope="session")
def frame() -> Callable[..., pd.DataFrame]:
    """Return what draws rows, 1000 unless said otherwise, from a ``seed`` (0).

    The columns are ``row_id``, ``size``, ``hour``, ``region``, ``time`` and the target ``price``,
    which depends on the size.
    """
    return _frame


@pytest.fixture(scope="session")
def night() -> Callable[..., Path]:
    """Return what writes a night's training and holdout rows into a folder, and returns that.

    Further keywords are facts about the columns that are not as usual.
    """
    return _night
