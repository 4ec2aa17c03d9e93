"""Fixtures of the image project's tests: its package on the path, a loopback server, a store."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.loopback import answering
from tests.tabular.data_server import Answer, DataServer, Handler

from understudy.steps import projectfile
from understudy.steps.environment import EnvironmentStore
from understudy.steps.process import Supervisor
from understudy.steps.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
PROJECT = ROOT / "mlproject" / "images"
CACHE = ROOT / ".state" / "cache"
"""Where the local stack has its environments, too: a second run finds this one there."""
# The package lives beside its MLproject, which MLflow makes the working folder of a step.
sys.path[:0] = [str(PROJECT), str(Path(__file__).parent)]


@pytest.fixture(scope="session")
def python(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return the Python of the project's environment, built as a night builds it."""
    store = EnvironmentStore(Settings(CACHE, tmp_path_factory.mktemp("scratch")), Supervisor())
    with store.hold(projectfile.load(PROJECT, str(PROJECT)), "uv", print) as environment:
        assert environment.bin
        yield environment.bin / "python"


@pytest.fixture
def data_server() -> Iterator[DataServer]:
    """Return a running server; it ends with the test."""
    answers: dict[str, Answer] = {}
    handler = type("ImageHandler", (Handler,), {"answers": answers})
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
