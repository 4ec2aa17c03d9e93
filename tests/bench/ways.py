"""One night, in several ways, all against the servers of one stack.

Each night downloads, preprocesses, trains, validates the challenger and validates the champion, and
every step is one MLflow run in a process of its own. Only our way also judges and promotes.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import httpx

from bench.setting import CHAMPION, MIRROR, PROJECT, Setting, clean_environment
from understudy.devstack.airflow_api import FINISHED, AirflowApi
from understudy.devstack.processes import StackError
from understudy.devstack.settings import mlflow_account

OTHERS = ("one", "scripts", "plain", "mlflow")
"""Names of the ways that are not ours."""
LIMIT = 900.0  # seconds for one night
_LOOK = 2.0  # seconds; each look costs the API server, and Airflow itself notes when a night ends


@dataclass(frozen=True)
class Night:
    """One night that ended well.

    Attributes:
        wall: From the request to the end of the last step, s.
        scores: The rmse of each validation.
        began: Of the request, seconds since 1970.
        tasks: Airflow's task instances; none without Airflow.
    """

    wall: float
    scores: list[float]
    began: float
    tasks: list[dict[str, Any]] = field(default_factory=list)


class Way(Protocol):
    """A way of running a night."""

    name: str
    title: str
    is_cold: bool
    """Whether `warm` has something to do."""

    def warm(self) -> None:
        """Do what only the first night has to: build an environment, compile modules.

        Raises:
            StackError: it failed.
        """

    def run(self) -> Night:
        """Run one night to its end.

        Raises:
            StackError: it failed.
        """


class Shell:
    """The steps one after another in one shell, without Airflow.

    Args:
        command: Of the whole night.
        first: Its first step alone, which warms it; None where our night has warmed all.
    """

    def __init__(
        self, setting: Setting, name: str, title: str, *command: str, first: str | None = None
    ) -> None:
        self._setting, self.name, self.title, self._command = setting, name, title, command
        self._first, self.is_cold = first, first is not None

    def warm(self) -> None:
        """Run the first step only."""
        if self._first is not None:
            self._call(*self._command, self._first)

    def run(self) -> Night:
        """Run one night."""
        began, start = time.time(), time.perf_counter()
        self._call(*self._command)
        wall = time.perf_counter() - start
        scores = self._setting.scores(f"bench_{self.name}", int(began * 1000))
        return Night(wall, scores, began)

    def _call(self, *command: str) -> None:
        log = self._setting.folder / f"{self.name}.log"
        with log.open("ab") as output:
            done = subprocess.run(
                command,
                cwd=self._setting.project,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=LIMIT,
                check=False,
            )
        if done.returncode:
            raise _failed(self.title, "\n".join(log.read_text("utf-8").splitlines()[-20:]))

    def _environment(self) -> dict[str, str]:
        setting, inherited = self._setting, clean_environment()
        airflow = setting.stack.place.environment("airflow")
        return {
            **inherited,
            # `mlflow run` looks for uv there, which the caller's PATH need not have.
            "PATH": os.pathsep.join((str(setting.programs), str(airflow), inherited["PATH"])),
            "TMPDIR": str(setting.folder / "tmp"),
            "MLFLOW_TRACKING_URI": setting.stack.addresses().mlflow,
            **mlflow_account(setting.stack.place),
            "MLFLOW_EXPERIMENT_NAME": f"bench_{self.name}",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
            "MLFLOW_ENV_ROOT": str(setting.folder / "environments"),
            MIRROR: os.environ[MIRROR],
            "PROJECT": f"{setting.stack.addresses().repository}#{PROJECT}",
            "COMMIT": setting.commit,
            "CHAMPION": CHAMPION,
            **{name.upper(): str(value) for name, value in setting.parameters.items()},
        }


class AirflowDag:
    """A Dag of the stack's Airflow, triggered as a person would."""

    is_cold = True

    def __init__(self, setting: Setting, name: str, title: str, **conf: str) -> None:
        self._setting, self._api = setting, setting.stack.api()
        self.name, self.title = name, title
        self._dag_id, self._conf = f"bench_{name}", conf
        self._api.pause(self._dag_id, paused=False)

    def warm(self) -> None:
        """Run a whole night."""
        self.run()

    def run(self) -> Night:
        """Run one night."""
        began = time.time()
        run_id = f"night_{began:.0f}"
        self._trigger(run_id)
        run, tasks = self._wait(run_id), self._api.task_instances(self._dag_id, run_id)
        if run["state"] != "success":
            raise _failed(self.title, _told(self._api, tasks))
        scores = self._setting.scores(self._dag_id, int(began * 1000))
        return Night(seconds(run["end_date"]) - began, scores, began, tasks)

    def _trigger(self, run_id: str) -> None:
        conf = {**self._setting.parameters, "version": self._setting.commit, **self._conf}
        answer = self._api._http.post(
            f"/api/v2/dags/{self._dag_id}/dagRuns",
            json={"dag_run_id": run_id, "logical_date": None, "conf": conf},
            headers=self._api._authorization(),
        )
        answer.raise_for_status()

    def _wait(self, run_id: str) -> Mapping[str, Any]:
        deadline = time.monotonic() + LIMIT
        while time.monotonic() < deadline:
            with contextlib.suppress(httpx.TimeoutException):  # a busy machine; the limit decides
                run = self._api._get(f"/api/v2/dags/{self._dag_id}/dagRuns/{run_id}")
                if run["state"] in FINISHED:
                    return run
            time.sleep(_LOOK)
        tasks = self._api.task_instances(self._dag_id, run_id)
        raise _failed(self.title, f"not over after {LIMIT:.0f} s; {_told(self._api, tasks)}")


class Ours(AirflowDag):
    """The pipeline, with promotion."""

    def run(self) -> Night:
        """Run one night, with no forkserver left of the last, and check that it promoted."""
        before = self._champion()
        night = super().run()
        if self._champion() == before:
            raise _failed(self.title, "the night succeeded but promoted nothing")
        return night

    def _champion(self) -> str:
        from mlflow.exceptions import MlflowException

        try:
            found = self._setting.client.get_model_version_by_alias("bench_ours", "champion")
        except MlflowException as error:
            if error.error_code in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
                return ""
            raise
        return str(found.version)


def ways(setting: Setting, beside: Sequence[str]) -> list[Way]:
    """Return the ways; ours is first because the others validate the champion that it makes."""
    here = Path(__file__).parent
    ours = Ours(setting, "ours", "Understudy")
    others: dict[str, Callable[[str], Way]] = {
        "one": lambda name: Shell(
            setting, name, "one process", "python", str(here / "one_process.py")
        ),
        "scripts": lambda name: Shell(
            setting, name, "plain scripts", str(here / "plain_scripts.sh")
        ),
        "mlflow": lambda name: Shell(setting, name, "mlflow run", str(here / "mlflow_runs.sh")),
        "plain": lambda name: AirflowDag(setting, name, "plain Airflow", state=str(setting.folder)),
    }
    return [ours, *(others[name](name) for name in beside)]


def seconds(text: str) -> float:
    """Return a time of Airflow's interface as seconds since 1970."""
    return datetime.fromisoformat(text).timestamp()


def _told(api: AirflowApi, tasks: list[dict[str, Any]]) -> str:
    states = ", ".join(f"{task['task_id']} {task['state']}" for task in tasks)
    failed = [task for task in tasks if task["state"] == "failed"]
    logs = [line for task in failed for line in api.task_log(task)[-20:]]
    return "\n".join([states, *logs])


def _failed(title: str, why: str) -> StackError:
    return StackError(
        f"{title}: {why}",
        allowed="nights that succeed, in every way",
        action="mend what the lines above name, then run make bench again",
    )
