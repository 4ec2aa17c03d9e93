"""A real MLflow store in SQLite, and the project's steps run against it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow
import pytest
from mlflow import MlflowClient

from images import download
from images.tracking import main

if TYPE_CHECKING:
    from images.tracking import Step

PROJECT = Path(download.__file__).parents[1]
IN_TURN = Path(__file__).parent / "steps_in_turn.py"


@dataclass(frozen=True)
class Store:
    """A store and its one experiment."""

    client: MlflowClient
    experiment_id: str
    folder: Path

    @property
    def uri(self) -> str:
        """Address of the store."""
        return database(self.folder)

    def project(self, python: Path, entry_point: str, **parameters: Any) -> str:
        """Run an entry point as a user does, with this Python; return the run id."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PATH", f"{python.parent}{os.pathsep}{os.environ['PATH']}")
            run = mlflow.projects.run(
                str(PROJECT),
                entry_point=entry_point,
                parameters=parameters,
                experiment_id=self.experiment_id,
                env_manager="local",
            )
        assert run.get_status() == "FINISHED"
        return str(run.run_id)

    def in_turn(self, python: Path, *asked: tuple[str, Mapping[str, Any]]) -> list[list[Any]]:
        """Run steps by one process with this Python; return exit status and run id of each."""
        steps = [
            [self.experiment_id, name, {key: str(value) for key, value in values.items()}]
            for name, values in asked
        ]
        done = subprocess.run(
            [python, IN_TURN],
            input=json.dumps(steps),
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        ended: list[list[Any]] = json.loads(done.stdout.splitlines()[-1])
        return ended

    def step(self, step: Step, **values: Any) -> tuple[int, str]:
        """Run a step in this process within a run made for it; return exit status and run id."""
        run_id = self.client.create_run(self.experiment_id).info.run_id
        os.environ["MLFLOW_RUN_ID"] = run_id
        try:
            return main(step, [f"--{name}={value}" for name, value in values.items()]), run_id
        finally:
            os.environ.pop("MLFLOW_RUN_ID", None)

    def good(self, step: Step, **values: Any) -> str:
        """Run a step that must succeed."""
        status, run_id = self.step(step, **values)
        assert status == 0, self.tags(run_id).get("error")
        return run_id

    def bad(self, step: Step, **values: Any) -> tuple[int, str]:
        """Run a step that must fail; return exit status and message; the run ended FAILED."""
        status, run_id = self.step(step, **values)
        assert self.client.get_run(run_id).info.status == "FAILED"
        assert self.client.get_run(run_id).data.metrics == {}
        return status, self.tags(run_id)["error"]

    def tags(self, run_id: str) -> dict[str, str]:
        """Return the run's own tags."""
        tags = self.client.get_run(run_id).data.tags
        return {name: value for name, value in tags.items() if not name.startswith("mlflow.")}

    def metrics(self, run_id: str) -> dict[str, float]:
        """Return the run's metrics."""
        return dict(self.client.get_run(run_id).data.metrics)

    def files(self, run_id: str, folder: str = "") -> set[str]:
        """Return the names of the run's artifacts in a folder."""
        listed = self.client.list_artifacts(run_id, folder or None)
        return {Path(entry.path).name for entry in listed}

    def path(self, run_id: str, artifact: str) -> Path:
        """Return a local copy of an artifact, as MLflow makes one for `path` parameters."""
        return Path(mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path=artifact))


def database(folder: Path) -> str:
    """Return the address of the store in a folder."""
    return f"sqlite:///{folder}/mlflow.db"


@contextmanager
def opened(folder: Path) -> Iterator[Store]:
    """Make a store; everything points there while it lives."""
    uri = database(folder)
    before = mlflow.get_tracking_uri()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", uri)
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        patch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
        for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME"):
            patch.delenv(name, raising=False)
        mlflow.set_tracking_uri(uri)
        client = MlflowClient()
        experiment = client.create_experiment("images", artifact_location=str(folder / "art"))
        mlflow.set_experiment(experiment_id=experiment)
        yield Store(client, experiment, folder)
    mlflow.set_tracking_uri(before)
