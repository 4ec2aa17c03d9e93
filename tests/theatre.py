"""A place to rehearse a real model in: on a real MLflow server, with environments of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import psutil
from mlflow.tracking import MlflowClient

from understudy.contract import Tag
from understudy.declaration import Rehearsal
from understudy.promotion.material import Material
from understudy.promotion.rehearsal import Candidate, Rehearser
from understudy.steps.projectfile import ProjectFile
from understudy.steps.settings import Settings
from understudy.tracking import RunSpec, RunStore

CODE = Path(__file__).parent / "models" / "doubling.py"
ROWS = pd.DataFrame({"row_id": [f"r{n}" for n in range(50)], "x": [n / 4 for n in range(50)]})


@dataclass
class Theatre:
    """A registered model on a real server, and a place to rehearse it."""

    client: MlflowClient
    settings: Settings
    experiment: str
    model: str = field(default_factory=lambda: f"model {uuid.uuid4().hex}")
    lines: list[str] = field(default_factory=list)

    def run(self) -> str:
        """Return a new MLflow run."""
        return str(self.client.create_run(self.experiment).info.run_id)

    def logs(self, name: str, frame: pd.DataFrame, folder: Path, at: str | None = None) -> str:
        """Log a frame as a Parquet file to a run of its own; return the run."""
        run_id = self.run()
        frame.to_parquet(folder / name)
        self.client.log_artifact(run_id, str(folder / name), at)
        return run_id

    def candidate(self, material: Material | None = None, manager: str = "local") -> Candidate:
        """Return version 1, rehearsed with this test's own Python unless said otherwise."""
        here = ProjectFile(self.settings.scratch, "project", {}, "", None)
        project = here if manager == "local" else None
        return Candidate(self.model, "1", manager, material or Material(), project)

    def rehearser(self, **terms: object) -> Rehearser:
        """Return a rehearser."""
        return Rehearser(
            self.client,
            RunStore(self.client),
            Rehearsal(**terms),  # type: ignore[arg-type]
            self.settings,
        )

    def spec(self, key: str) -> RunSpec:
        """Return the run of a rehearsal."""
        return RunSpec(self.experiment, f"{self.model} {key}", key)

    def text(self, key: str, path: str) -> str:
        """Return an artifact of a rehearsal's run."""
        (run,) = RunStore(self.client).tagged(self.experiment, Tag.KEY, f"{self.model} {key}")
        return Path(self.client.download_artifacts(run.info.run_id, path)).read_text()

    def status(self, key: str) -> str:
        """Return the status of a rehearsal's run."""
        (run,) = RunStore(self.client).tagged(self.experiment, Tag.KEY, f"{self.model} {key}")
        return str(run.info.status)


def logged(uri: str, experiment: str) -> str:
    """Log the model that doubles, in a process of its own; return its id."""
    done = subprocess.run(
        [sys.executable, str(CODE.with_name("log_model.py")), str(CODE), experiment],
        env={**os.environ, "MLFLOW_TRACKING_URI": uri},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()[-1]


def servers_of(theatre: Theatre) -> list[int]:
    """Return the processes that serve a model below the theatre's scratch folder."""
    mark = str(theatre.settings.scratch)
    return [
        process.pid
        for process in psutil.process_iter(["cmdline"])
        if "serve_model.py" in " ".join(process.info["cmdline"] or ())
        and mark in " ".join(process.info["cmdline"])
    ]


def opened(uri: str, folder: Path) -> Theatre:
    """Return a theatre with one version of the model that doubles."""
    client = MlflowClient(uri)
    experiment = RunStore(client).experiment(f"theatre {uuid.uuid4().hex}")
    made = Theatre(client, Settings(folder / "cache", folder / "s"), experiment)
    model_id = logged(uri, experiment)
    client.create_registered_model(made.model)
    client.create_model_version(made.model, f"models:/{model_id}", model_id=model_id)
    return made
