"""Rows that certainly do not fit into memory are refused in words, before they are read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from shared.errors import DataError
from tabular.memory import check_csv, check_parquet, free_memory

pytestmark = pytest.mark.unit

ROWS = pd.DataFrame({"x": np.arange(1000.0), "kind": ["a", "b"] * 500})


def test_parquet_is_judged_by_its_cells(tmp_path: Path) -> None:
    """All parts count; the message says what is needed, what is there and what to do."""
    paths = [tmp_path / f"{number}.parquet" for number in range(3)]
    for path in paths:
        ROWS.to_parquet(path)
    check_parquet(paths, free=96_000)
    with pytest.raises(DataError, match=r"3,000 rows of 2 columns need .*(?s:.)*Next: bring fewer"):
        check_parquet(paths, free=95_999)


def test_csv_is_judged_by_its_size(tmp_path: Path) -> None:
    """Its texts are in memory, and what they mean."""
    path = tmp_path / "rows.csv"
    ROWS.to_csv(path, index=False)
    check_csv([path], free=2 * path.stat().st_size)
    with pytest.raises(DataError, match=r"bytes of CSV need at least 0\.0 GB"):
        check_csv([path], free=2 * path.stat().st_size - 1)


def test_this_machine_has_memory() -> None:
    """A number of bytes, not more than any machine has."""
    assert 1e6 < free_memory() < 1e15
