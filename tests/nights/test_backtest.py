"""A backtest of a table as people have it, in the environment that nights have built."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.fixtures import ugly_table
from tests.fixtures.played_nights import strict

if TYPE_CHECKING:
    from tests.fixtures.airflow import Installation

pytestmark = pytest.mark.integration

PROJECT = Path(__file__).parents[2] / "mlproject" / "tabular"


@pytest.mark.parametrize(
    ("dataset", "target", "metric"),
    [
        ("csv", ugly_table.PRICE, "rmse"),
        pytest.param(
            "parquet",
            ugly_table.CONDITION,
            "log_loss",
            marks=pytest.mark.long("as the one before it, of classes"),
        ),
    ],
)
def test_a_table_with_gaps_and_late_rows(
    installation: Installation, tmp_path: Path, dataset: str, target: str, metric: str
) -> None:
    """Two nights of the whole table, whose newest week judges: each ends, and is served."""
    source, out = tmp_path / "table", tmp_path / "out"
    source.write_bytes(getattr(ugly_table, dataset)(ugly_table.DAYS))
    given = {"dataset": dataset, "source": source, "target": target, "holdout": "newest"}
    given |= {"time_column": ugly_table.TIME, "identity": ugly_table.IDENTITY}
    given |= {"slices": f"{ugly_table.ENERGY},{ugly_table.BALCONY},{ugly_table.STREET}"}
    given |= {"model": "decision_tree", "max_depth": 1}
    given |= {"separator": ugly_table.SEPARATOR} if dataset == "csv" else {}
    words = ["backtest", str(PROJECT), "--nights=2", "--every=3d", "--holdout-days=7"]
    words += [f"--metric={metric}", f"--out={out}"]
    words += [part for name, one in given.items() for part in ("-P", f"{name}={one}")]
    cache = {"UNDERSTUDY_CACHE": str(installation.stack.place.cache)}
    command = [sys.executable, "-m", "understudy", *words]
    done = subprocess.run(
        command, env={**os.environ, **cache}, check=False, stderr=subprocess.PIPE, text=True
    )
    assert done.returncode == 0, done.stderr
    result = strict(out / "results.json")
    assert not result["failures"]
    assert len(result["nights"]) == 2
    assert all(rows > 50 for rows in result["rows"])
    assert all(one["served"] > 0 for one in result["paths"].values())
