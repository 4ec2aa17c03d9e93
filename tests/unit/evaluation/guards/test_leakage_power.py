"""Features that give the target away, and those that do not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from understudy.evaluation.guards.current_data import Roles, Task
from understudy.evaluation.guards.leakage import telling
from understudy.evaluation.guards.table import RowTable

pytestmark = pytest.mark.unit

DRAW = np.random.default_rng(0)
ROWS = 2000
HEAVY = pd.Series(DRAW.lognormal(0, 3, ROWS))
CLASSES = pd.Series(DRAW.choice(["no", "yes"], ROWS, p=[0.97, 0.03]))
DAYS = pd.date_range("2026-01-01", periods=ROWS, freq="h")
WALK = pd.Series(np.cumsum(DRAW.normal(size=ROWS)))


@pytest.mark.parametrize(
    ("target", "feature", "task", "between"),
    [
        (HEAVY, lambda y: y, "regression", (1.0, 1.0)),
        (HEAVY, lambda y: -np.log(y), "regression", (0.99, 1.0)),
        (HEAVY.sort_values(ignore_index=True), lambda y: 2 * y + 1, "", (0.99, 1.0)),
        (HEAVY, lambda y: DRAW.normal(size=len(y)), "regression", (-2.0, 0.1)),
        (HEAVY, lambda y: np.log(y) + DRAW.normal(0, 3, len(y)), "", (-1.0, 0.7)),
        (WALK, lambda y: np.arange(len(y)), "regression", (-5.0, 0.98)),
        (CLASSES, lambda y: (y == "yes") * 1.0, "classification", (0.99, 1.0)),
        (CLASSES, lambda y: y.map({"no": "a", "yes": "b"}), "", (0.99, 1.0)),
        (CLASSES, lambda y: np.where(y == "yes", np.nan, 1.0), "", (0.99, 1.0)),
        (CLASSES, lambda y: pd.Series(DAYS).where(y == "yes"), "", (0.99, 1.0)),
        (CLASSES, lambda y: pd.Series([[1.0]] * ROWS).where(y == "yes"), "", (0.99, 1.0)),
        (CLASSES, lambda y: DAYS[: len(y)], "", (-1.0, 0.3)),
        (CLASSES, lambda y: [f"id {n}" for n in range(len(y))], "", (-1.0, 0.2)),
        (CLASSES, lambda y: DRAW.normal(size=len(y)), "", (-1.0, 0.3)),
    ],
)
def test_scores(
    tmp_path: Path,
    target: pd.Series[float],
    feature: Callable[[pd.Series[float]], object],
    task: Task,
    between: tuple[float, float],
) -> None:
    """The target in disguise scores 1, noise nothing, and a clock does not tell a slow target."""
    pd.DataFrame({"y": target, "x": feature(target)}).to_parquet(tmp_path / "rows.parquet")
    table = RowTable(tmp_path / "rows.parquet")
    (power,) = telling(table, ["x"], Roles("y", task=task))
    assert between[0] <= power.score <= between[1]


@pytest.mark.parametrize("target", [[1.0] * 100, [1.0, 2.0], [None] * 100])
def test_nothing_to_tell(tmp_path: Path, target: list[float]) -> None:
    """A constant target, or hardly any, has no secrets."""
    frame = pd.DataFrame({"y": pd.Series(target, dtype="float64"), "x": range(len(target))})
    frame.to_parquet(tmp_path / "rows.parquet")
    assert telling(RowTable(tmp_path / "rows.parquet"), ["x"], Roles("y")) == []
