"""Rows of a night as files, for tests of what looks at them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

FEATURES = ["size", "hour", "region"]


def frame(rows: int = 1000, seed: int = 0) -> pd.DataFrame:
    """Return rows: a number, an hour, a region, a time, a target that depends on the size."""
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


def night(folder: Path, train: pd.DataFrame, holdout: pd.DataFrame, **facts: Any) -> Path:
    """Write a night's rows into a folder, and what its columns are."""
    folder.mkdir(parents=True, exist_ok=True)
    train.to_parquet(folder / "train.parquet", index=False)
    holdout.to_parquet(folder / "holdout.parquet", index=False)
    known = {"target": "price", "features": FEATURES, "time": "time", "task": "regression"}
    (folder / "dataset.json").write_text(json.dumps({**known, **facts}))
    return folder
