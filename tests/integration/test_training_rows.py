"""What is left of a champion's training rows on a real store, as the years take it away."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from understudy.contract import DECISION_PROFILE, Tag
from understudy.store.training_rows import training_rows

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

pytestmark = [
    pytest.mark.integration,
    # MLflow's own SQLite store, opened in this process, uses what SQLAlchemy 2.1 deprecates.
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy"),
]


@dataclass(frozen=True)
class Past:
    """A night of the past: its parent run, the run of its rows, and the runs of its training."""

    client: MlflowClient
    night: str
    rows: str
    training: str
    nested: str


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> MlflowClient:
    """Return a client of a real store; served by SQLite, as one machine has it."""
    from understudy.store import tracking

    folder = tmp_path_factory.mktemp("mlflow")
    made = tracking.client(f"sqlite:///{folder}/mlflow.db")
    made.create_experiment("past", artifact_location=f"file://{folder}/artifacts")
    return made


@pytest.fixture
def past(client: MlflowClient) -> Past:
    """Log a night of which all is there."""
    experiment = client.get_experiment_by_name("past").experiment_id

    def run(parent: str = "", **tags: str) -> str:
        around = {"mlflow.parentRunId": parent} if parent else {}
        named = {Tag[name].value: value for name, value in tags.items()}
        return str(client.create_run(experiment, tags={**named, **around}).info.run_id)

    night = run(KIND="night")
    rows = run(night, KIND="step")
    inputs = json.dumps({"data": {"address": f"runs:/{rows}/data", "digest": "0"}})
    training = run(night, KIND="step", INPUTS=inputs)
    for name in ("train.parquet", "holdout.parquet", "dataset.json"):
        client.log_text(rows, name, f"data/{name}")
    client.log_text(night, "{}", DECISION_PROFILE)
    return Past(client, night, rows, training, run(training))


def test_the_profile_first(past: Past, tmp_path: Path) -> None:
    """It is found from the run that logged the model, however deep that is nested."""
    for run_id in (past.training, past.nested):
        found = training_rows(past.client, run_id, tmp_path / run_id)
        assert found.profile is not None
        assert found.profile.read_text() == "{}"


def test_the_rows_where_no_profile_was_kept(past: Past, tmp_path: Path) -> None:
    """Of them only what is needed is fetched."""
    past.client.delete_run(past.night)
    found = training_rows(past.client, past.nested, tmp_path / "rows")
    assert found.folder is not None
    assert sorted(path.name for path in found.folder.iterdir()) == ["dataset.json", "train.parquet"]


def test_nothing_left(past: Past, tmp_path: Path) -> None:
    """Why is said: the rows, what tells them, or the training itself."""
    past.client.delete_run(past.night)
    nobody = training_rows(past.client, past.rows, tmp_path)
    assert nobody.absent == f"the training run {past.rows} does not say which rows it had"
    lost = past.client.get_run(past.rows).info.artifact_uri.removeprefix("file://")
    (Path(lost) / "data" / "train.parquet").unlink()
    assert training_rows(past.client, past.training, tmp_path).absent.endswith("/data, are gone")
    for run_id in ("", "0" * 32):
        assert "is gone" in training_rows(past.client, run_id, tmp_path).absent
