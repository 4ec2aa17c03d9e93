"""The servers that one task talks to, connected when it runs and never while a file is parsed."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from understudy.airflow.connections import use_connection
from understudy.registry.promoter import Promoter
from understudy.registry.versions import Registry
from understudy.runner.process.supervisor import end_with_parent
from understudy.spec.git_access import GitAccess
from understudy.store import tracking
from understudy.store.night import NightBook
from understudy.store.tracking import RunStore

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

    from understudy.runner.runner import StepRunner


@dataclass(frozen=True, slots=True)
class Services:
    """Everything of ours that speaks to MLflow, around one client."""

    client: MlflowClient
    runs: RunStore
    registry: Registry
    nights: NightBook
    promoter: Promoter

    @classmethod
    def connect(cls) -> Services:
        """Return services for the server that ``MLFLOW_TRACKING_URI`` names, or a connection.

        Raises:
            SettingsError: when there is no such connection.
            TrackingUnavailableError: when neither names a server.
        """
        _end_with_supervisor()
        # Else MLflow writes to stderr (3.17), and Airflow shows its INFO as an error.
        os.environ.setdefault("MLFLOW_CONFIGURE_LOGGING", "false")
        # Before the client: MLflow reads address and password from the environment.
        use_connection()
        client = tracking.client()
        runs = RunStore(client)
        return cls(
            client=client,
            runs=runs,
            registry=Registry(client),
            nights=NightBook(client, runs),
            promoter=Promoter(client, runs),
        )

    def step_runner(self, git_access: GitAccess | None = None) -> StepRunner:
        """Return what runs entry points, with the machine's settings and a project's access."""
        from understudy.runner.runner import Settings, StepRunner

        settings = replace(Settings.from_environment(), git_access=git_access)
        return StepRunner(self.runs, self.client, settings)


def _end_with_supervisor() -> None:
    """Have the task told to end, as by Airflow, when the process that supervises it dies.

    A task has a process group of its own, so it outlives its supervisor (3.3) and would run on
    beside the next try. Not where a Dag is run in the caller's own process, as ``dag.test`` does.
    """
    runner = sys.modules.get("airflow.sdk.execution_time.task_runner")
    # A socket to the supervisor is what a task in a process of its own has.
    if hasattr(getattr(runner, "SUPERVISOR_COMMS", None), "socket"):
        end_with_parent(signal.SIGTERM)
