"""``understudy doctor`` on a real MLflow server, and for a night that was pinned there."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.fixtures.loopback import free_port

from understudy.cli import arguments
from understudy.cli.main import main
from understudy.contract import Kind, Tag
from understudy.spec.pipeline import Project
from understudy.store.night import NightBook
from understudy.store.tracking import RunStore

if TYPE_CHECKING:
    from tests.fixtures.git import Repository

    from understudy.store.night import Night

pytestmark = pytest.mark.integration


@pytest.fixture
def pinned(
    mlflow_uri: str,
    repository: Repository,
    pinned_night: Callable[..., Night],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> str:
    """Return a pipeline whose last night wants a variable and a repository's branch."""
    from mlflow.tracking import MlflowClient

    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_uri)
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(tmp_path / "cache"))
    repository.commit(MLproject="entry_points: {main: {command: 'true'}}\n")
    client, name = MlflowClient(mlflow_uri), f"examined {uuid.uuid4().hex}"
    runs = RunStore(client)
    experiment, book = runs.experiment(name), NightBook(client, runs)
    tags = {Tag.PIPELINE.value: name, Tag.KIND.value: Kind.NIGHT.value}
    run_id = book.open(experiment, uuid.uuid4().hex, "a night", tags)
    night = pinned_night(
        run_id,
        name,
        project=Project(repository.url),
        environment=["UNDERSTUDY_TEST_KEY"],
        repository=repository.url,
    )
    book.pin(replace(night, experiment_id=experiment))
    return name


def lines(capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, str]]:
    """Return what was said, the last of each name."""
    said = map(json.loads, capsys.readouterr().out.splitlines())
    return {one["what"]: one for one in said}


def test_all_is_tried_and_nothing_is_left(
    pinned: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A variable that is missing is a fault; set, there is none; the file it wrote is gone."""
    from mlflow.tracking import MlflowClient

    monkeypatch.delenv("UNDERSTUDY_TEST_KEY", raising=False)
    words = ["doctor", "--pipeline", pinned, "--json"]
    assert main(words) == 1
    found = lines(capsys)
    faults = {name for name, one in found.items() if one["level"] == "fault"}
    assert faults == {"variable UNDERSTUDY_TEST_KEY"}
    monkeypatch.setenv("UNDERSTUDY_TEST_KEY", "secret")
    assert main(words) == 0
    found = lines(capsys)
    wanted = ("MLflow server", "clock", "registry", "artifacts", "repository")
    assert {found[name]["level"] for name in wanted} == {"ok"}
    client = MlflowClient()
    experiment = client.get_experiment_by_name(pinned)
    assert experiment is not None
    (night,) = client.search_runs([experiment.experiment_id])
    assert night.info.run_name == "a night"


def test_a_branch_that_is_gone_is_a_fault(
    pinned: str, repository: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    """The repository is asked now, whatever the night had."""
    repository.git("branch", "--move", "main", "trunk")
    assert main(["doctor", "--pipeline", pinned, "--json"]) == 1
    found = lines(capsys)["repository"]
    assert found["level"] == "fault"
    assert "main" in found["found"]
    assert found["action"]


def test_a_server_that_is_away_is_one_fault(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The rest is said all the same."""
    monkeypatch.setattr(arguments, "_PATIENCE_S", 0.2)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    assert main(["doctor", "--json"]) == 1
    found = lines(capsys)
    assert found["MLflow server"]["level"] == "fault"
    assert found["Python"]["level"] == "ok"
    assert "artifacts" not in found
