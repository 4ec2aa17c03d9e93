"""What one bench works with: its stack, its folder, the commit, the parameters of the night."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.made import TARGET
from understudy.contract import Tag
from understudy.devstack.place import CHECKOUT
from understudy.devstack.stack import Stack

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

PROJECT = "mlproject/tabular"
MODEL = {"model": "random_forest", "n_estimators": 50}
"""Of every night, whichever way it takes."""
MIRROR = "UNDERSTUDY_DATA_MIRROR"
CHAMPION = "models:/bench_ours@champion"


@dataclass(frozen=True)
class Setting:
    """What every way of running a night needs.

    Attributes:
        stack: The running stack.
        client: Of its MLflow server.
        folder: The bench's own folder, for everything that is written.
        programs: Folder of programs of the project's environment.
        commit: Full id of the commit that all ways run.
        table: The table that was made for all nights; None where they take the real wine quality.
    """

    stack: Stack
    client: MlflowClient
    folder: Path
    programs: Path
    commit: str
    table: Path | None

    @property
    def parameters(self) -> dict[str, str | int]:
        """The parameters of every night."""
        if self.table is None:
            return {"dataset": "wine_quality", "source": "", "target": "", **MODEL}
        return {"dataset": "csv", "source": str(self.table), "target": TARGET, **MODEL}

    @property
    def title(self) -> str:
        """What the nights' data are."""
        return "the real wine quality" if self.table is None else "a made table"

    @property
    def project(self) -> Path:
        """The project's folder as of the commit."""
        return self.folder / "project" / PROJECT

    def scores(self, experiment: str, since_ms: int) -> list[float]:
        """Return the rmse of each validation in an experiment since a time (ms since 1970)."""
        found = self.client.get_experiment_by_name(experiment)
        if found is None:
            return []
        query = f"attributes.start_time >= {since_ms} and metrics.rmse >= 0"
        runs = self.client.search_runs([found.experiment_id], query)
        return [float(run.data.metrics["rmse"]) for run in runs]

    def processes(self, experiment: str, since_ms: int) -> list[tuple[float, float]]:
        """Return when each step's process ran since a time, in seconds since 1970.

        A step that was reused from an earlier night had none.
        """
        found = self.client.get_experiment_by_name(experiment)
        if found is None:
            return []
        query = f"attributes.start_time >= {since_ms} and tags.`understudy.kind` = 'step'"
        runs = self.client.search_runs([found.experiment_id], query)
        return [
            (run.info.start_time / 1000, run.info.end_time / 1000)
            for run in runs
            if Tag.REUSED_FROM not in run.data.tags
        ]


def head() -> str:
    """Return the checkout's commit."""
    argv = ["git", "-C", str(CHECKOUT), "rev-parse", "HEAD"]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()


def export(commit: str, folder: Path) -> None:
    """Write the projects as of a commit below a folder, for scripts that know no Git."""
    folder.mkdir(parents=True)
    argv = ["git", "-C", str(CHECKOUT), "archive", commit, "mlproject"]
    archive = subprocess.run(argv, check=True, capture_output=True).stdout
    subprocess.run(["tar", "-x", "-C", folder], input=archive, check=True)  # a zip loses links


@contextmanager
def programs_of(project: Path) -> Iterator[Path]:
    """Yield the folder of programs of the project's environment, built if need be, and keep it."""
    from understudy.runner import projectfile
    from understudy.runner.environment.store import EnvironmentStore
    from understudy.runner.process.process import ProcessRunner
    from understudy.runner.settings import Settings

    store = EnvironmentStore(Settings.from_environment(), ProcessRunner())
    with store.lease(projectfile.load(project, str(project)), "uv", print) as environment:
        if environment.bin is None:
            raise AssertionError(environment)
        yield environment.bin


def clean_environment() -> dict[str, str]:
    """Return this process's variables without those that configure an Airflow, MLflow or Python."""
    ours = ("AIRFLOW_", "MLFLOW_", "PYTHON", "UNDERSTUDY_", "VIRTUAL_ENV")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}
