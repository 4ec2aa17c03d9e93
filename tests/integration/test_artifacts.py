"""What is gone from a real server is told from a server that is away, wherever we fetch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pytest
from mlflow.tracking import MlflowClient

from understudy.decide.candidates import refuse_gone
from understudy.decide.inputs import holdout
from understudy.errors import RegistryError, TrackingRefusedError, TrackingUnavailableError
from understudy.registry import rehearsal_cases
from understudy.registry.rehearsal_cases import RehearsalCases
from understudy.serving.place import downloaded
from understudy.store import artifacts
from understudy.store.tracking import refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.fixtures.rehearsal import RehearsalSetup

pytestmark = pytest.mark.integration

NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
def run_id(rehearsal_setup: RehearsalSetup, tmp_path: Path) -> str:
    """Return a run with a file in a folder."""
    return rehearsal_setup.logs("holdout.parquet", rehearsal_setup.rows, tmp_path, "data")


def test_what_a_run_has_no_more(
    rehearsal_setup: RehearsalSetup, run_id: str, tmp_path: Path
) -> None:
    """The rows of a rehearsal and of the guards are nothing then, and the reader of one is told."""
    client, run = rehearsal_setup.client, rehearsal_setup.client.get_run(run_id)
    there = holdout(client, f"runs:/{run_id}/data", tmp_path / "there")
    assert there is not None
    pd.testing.assert_frame_equal(pd.read_parquet(there), rehearsal_setup.rows)
    artifacts.artifacts_of(client, run).delete_artifacts("data/holdout.parquet")
    assert artifacts.found(client, run, "data/holdout.parquet", tmp_path) is None
    assert holdout(client, f"runs:/{run_id}/data", tmp_path / "gone") is None
    assert rehearsal_cases._files(client, RehearsalCases(run_id, "data", run_id), tmp_path) == ()


def test_what_is_removed_while_it_is_fetched(
    rehearsal_setup: RehearsalSetup, run_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It fails through the server like an outage; the error says what it is, and is final."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    from mlflow.exceptions import MlflowException

    run = rehearsal_setup.client.get_run(run_id)
    with pytest.raises(MlflowException, match="no artifact 'data/more'") as caught:
        artifacts.downloaded(rehearsal_setup.client, run, "data/more", tmp_path)
    error = refused(caught.value)
    assert isinstance(error, TrackingRefusedError)
    assert not error.can_retry


def test_a_model_whose_files_are_gone(rehearsal_setup: RehearsalSetup, tmp_path: Path) -> None:
    """Neither served nor measured, which no retry changes; as long as they are there, both are."""
    client = rehearsal_setup.client
    version = client.get_model_version(rehearsal_setup.model, "1")
    address = f"models:/{rehearsal_setup.model}/1"
    for uri in (address, version.source):
        refuse_gone(client, uri)
    place = client.get_model_version_download_uri(rehearsal_setup.model, "1")
    assert (artifacts.downloaded_from(client, place, tmp_path) / "MLmodel").is_file()
    client.create_registered_model(empty := f"{rehearsal_setup.model} without files")
    run_id = rehearsal_setup.run()
    client.create_model_version(empty, f"runs:/{run_id}/model", run_id)
    with pytest.raises(RegistryError, match="cannot be had: There is nothing at") as caught:
        downloaded(client, empty, "1", tmp_path)
    with pytest.raises(RegistryError, match=r"files of the model .* are gone") as measured:
        refuse_gone(client, f"models:/{empty}/1")
    assert not caught.value.can_retry
    assert not measured.value.can_retry


FETCHES: dict[str, Callable[[MlflowClient, Path], object]] = {
    "rows": lambda client, folder: holdout(client, f"runs:/{'0' * 32}/data", folder),
    "questions": lambda client, folder: rehearsal_cases._files(
        client, RehearsalCases("0" * 32), folder
    ),
    "a model": lambda client, folder: downloaded(client, "m", "1", folder),
    "what is measured": lambda client, _folder: refuse_gone(client, "models:/m/1"),
    "a list": lambda client, _folder: artifacts.listed(client, f"runs:/{'0' * 32}/data"),
}


@pytest.mark.parametrize("what", FETCHES)
def test_an_outage_may_pass(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody answers: that is never taken for something that is gone."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(TrackingUnavailableError) as caught:
        FETCHES[what](MlflowClient(NOWHERE), tmp_path)
    assert caught.value.can_retry
