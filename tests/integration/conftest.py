"""What integration tests share beside the servers."""

from __future__ import annotations

import os
import sys
import uuid
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient
from tests.fixtures.nights import Pipeline, gathered_here
from tests.fixtures.rehearsal import RehearsalSetup as Theatre
from tests.fixtures.rehearsal import set_up as opened

from understudy.judging.gathering import Gatherer
from understudy.tracking import RunStore


@pytest.fixture(scope="session")
def theatre(mlflow_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Theatre:
    """Return a place to rehearse a real model in."""
    return opened(mlflow_uri, tmp_path_factory.mktemp("theatre"))


@pytest.fixture
def own_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the environment manager "local" mean the Python of this test."""
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")


@pytest.fixture
def pipeline(mlflow_uri: str, monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    """Return a pipeline of the test's own."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_uri)
    client = MlflowClient(mlflow_uri)
    runs = RunStore(client)
    return Pipeline(client, runs, runs.experiment(f"judging {uuid.uuid4().hex}"))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the gate's process answer within this one."""
    monkeypatch.setattr(Gatherer, "gather", gathered_here)
