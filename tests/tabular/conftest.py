"""Fixtures of the tabular project's tests: a loopback data server and frames of rows."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest
from tests.loopback import answering

ROOT = Path(__file__).resolve().parents[2]
PROJECT = ROOT / "mlproject" / "tabular"
# The package lives beside its MLproject, which MLflow makes the working folder of a step.
sys.path[:0] = [str(PROJECT), str(Path(__file__).parent)]

from data_server import Answer, DataServer, Handler  # noqa: E402 - found on the path just set


@pytest.fixture
def data_server() -> Iterator[DataServer]:
    """Return a running server; it ends with the test."""
    answers: dict[str, Answer] = {}
    handler = type("Handler", (Handler,), {"answers": answers})
    with answering(handler) as address:
        yield DataServer(address, answers)


@pytest.fixture(autouse=True)
def no_mirror(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no mirror of the machine's own into a test."""
    monkeypatch.delenv("UNDERSTUDY_DATA_MIRROR", raising=False)


@pytest.fixture(scope="session")
def test_data() -> Path:
    """Return the folder of real data, or skip."""
    folder = Path(os.environ.get("UNDERSTUDY_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"the real data is not here: {folder} (set UNDERSTUDY_TEST_DATA)")
    return folder


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
