"""Fixtures of the tabular project's tests: a store, and rows as files and frames."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pytest

if TYPE_CHECKING:
    from tests.fixtures.project_store import ProjectStore


@pytest.fixture(scope="module")
def store(
    project_store: Callable[[Path, str], AbstractContextManager[ProjectStore]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[ProjectStore]:
    """Return a store of the module's own; everything points there while it lives."""
    with project_store(tmp_path_factory.mktemp("mlflow"), "tabular") as made:
        yield made


@pytest.fixture
def csv_file(tmp_path: Path) -> Callable[[str], Path]:
    """Return a function that writes a CSV file and returns its path."""

    def write(text: str, name: str = "rows.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(text.encode())
        return path

    return write


@pytest.fixture
def frame() -> pd.DataFrame:
    """Return forty small rows: an id, a number, a text, a target."""
    rows = range(40)
    return pd.DataFrame(
        {
            "id": list(rows),
            "size": [row * 0.5 for row in rows],
            "colour": [["red", "blue"][row % 2] for row in rows],
            "price": [3.0 * row + row % 3 for row in rows],
        }
    )
