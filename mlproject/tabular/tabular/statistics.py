"""Describes columns by numbers: what `preprocess` fitted on the training rows. Touches nothing."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tabular.facts import Facts

QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
MOST_LEVELS = 50
"""Levels of a text column that are listed, the most frequent first."""


def describe_columns(frame: pd.DataFrame, facts: Facts) -> dict[str, Any]:
    """Return the statistics of the target and of every feature.

    Numbers: count, missing, mean, std (sample), quantiles. Text: count, missing, number of
    levels, the most frequent ones. All in the columns' own units.
    """
    return {name: describe_column(frame[name]) for name in (facts.target, *facts.features)}


def describe_column(column: pd.Series) -> dict[str, Any]:
    """Return the statistics of one column, as plain numbers; None where one is undefined."""
    known = column.dropna()
    common = {"count": len(known), "missing": len(column) - len(known)}
    if pd.api.types.is_numeric_dtype(column):
        numbers = known.to_numpy(dtype="float64")
        quantiles = np.quantile(numbers, QUANTILES).tolist() if len(numbers) else []
        return {
            **common,
            "mean": _number(numbers.mean()) if len(numbers) else None,
            "std": _number(numbers.std(ddof=1)) if len(numbers) > 1 else None,
            "quantiles": {f"{q:g}": v for q, v in zip(QUANTILES, quantiles, strict=False)},
        }
    levels = known.astype("str").value_counts()
    shown = {str(name): int(number) for name, number in levels.head(MOST_LEVELS).items()}
    return {**common, "levels": len(levels), "most_frequent": shown}


def write(content: Mapping[str, object], path: Path) -> None:
    """Write statistics as JSON."""
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
