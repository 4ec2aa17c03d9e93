"""Waits until the components of a stack answer; reports early and in full why one does not."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path

import httpx

from understudy.devstack.airflow_api import AirflowApi, moment
from understudy.devstack.place import StackPlace
from understudy.devstack.processes import Identity, StackError
from understudy.devstack.settings import USER
from understudy.provider import may_have_dags

LOG_LINES = 25
"""How many of a log's last lines a message shows."""
_STEP = 0.3
_HEALTHY = ("metadatabase", "scheduler", "triggerer", "dag_processor")


@dataclass(frozen=True)
class Watch:
    """Waits for a condition, and fails at once when a process that it depends on has ended.

    Attributes:
        place: The stack's place.
        processes: What has to stay alive meanwhile, by component.
        limit: Seconds until the waiting is given up.
        began: When the stack was started; what was parsed earlier does not count.
    """

    place: StackPlace
    processes: Mapping[str, Identity]
    # MLflow's server alone has taken 51 s on a busy machine, Airflow's components 30 s.
    limit: float = 240
    began: datetime = field(default_factory=lambda: datetime.now(UTC))

    def until(self, ready: Callable[[], bool], what: str) -> None:
        """Returns as soon as `ready` is true; `what` names it in messages.

        Raises:
            StackError: a process died, or the time was up.
        """
        deadline = time.monotonic() + self.limit
        while not ready():
            for name, process in self.processes.items():
                if not process.alive():
                    raise died(name, self.place.log(name))
            if time.monotonic() > deadline:
                raise StackError(
                    f"{what} took more than {self.limit:.0f} s",
                    allowed="a machine with two cores and 4 GB that has not much else to do",
                    action=f"look into {self.place.logs}, end the stack with make down, try again",
                )
            time.sleep(_STEP)


def died(name: str, log: Path) -> StackError:
    """The error for a component that ended by itself, with the end of its log."""
    return StackError(
        f"{name} ended by itself. The end of {log}:\n{tail(log)}\n",
        allowed="a program that does its work, or runs until make down",
        action="mend what the log names, then run this again; it starts what is missing",
    )


def tail(log: Path, lines: int = LOG_LINES) -> str:
    """The last lines of a log file, indented."""
    if not log.exists():
        return "    (no log was written)"
    content = log.read_text("utf-8", errors="replace").rstrip().splitlines()
    return "\n".join(f"    {line}" for line in content[-lines:])


def wait_for_exit(process: subprocess.Popen[bytes], watch: Watch, name: str) -> None:
    """Waits for a program that does its work and ends.

    Raises:
        StackError: it failed, or took too long.
    """
    watch.until(lambda: process.poll() is not None, name)
    if process.returncode != 0:
        raise died(name, watch.place.log(name))


def answers(client: httpx.Client, url: str) -> bool:
    """Whether a GET is answered with success."""
    try:
        return client.get(url).is_success
    except httpx.TransportError:
        return False


def log_in(client: httpx.Client, password: str, file: Path) -> None:
    """Checks that MLflow takes the password that the stack's programs have.

    Raises:
        StackError: it does not: it keeps the first one that it was given, in a database of its own.
    """
    query = "/api/2.0/mlflow/experiments/search?max_results=1"
    status = client.get(query, auth=(USER, password)).status_code
    if status == HTTPStatus.UNAUTHORIZED:
        raise StackError(
            f"MLflow does not take the password of {USER} in {file}",
            allowed="the password that MLflow was first started with, or was given since",
            action="write that one into the file, or remove accounts.db beside mlflow.db for a new"
            " login with the file's; then make down and make up",
        )


def serves_git(url: str) -> bool:
    """Whether a repository can be listed at this address."""
    argv = ["git", "ls-remote", "--exit-code", url, "HEAD"]
    # By Git itself: a port that accepts connections may belong to a server that serves nothing.
    done = subprocess.run(argv, check=False, capture_output=True)
    return done.returncode == 0


def airflow_is_healthy(api: AirflowApi) -> bool:
    """Whether Airflow reports all of its components as healthy."""
    try:
        health = api.health()
    except (httpx.TransportError, StackError):
        return False
    return all(health.get(name) == "healthy" for name in _HEALTHY)


def dag_files(folder: Path) -> set[str]:
    """The files that Airflow will look into, relative to the folder."""
    # Airflow skips every other file; waiting for one would never end.
    return {
        str(path.relative_to(folder))
        for path in folder.rglob("*.py")
        if may_have_dags(path.read_bytes())
    }


def dags_are_parsed(api: AirflowApi, watch: Watch) -> bool:
    """Whether every Dag file was parsed since the stack was started.

    Raises:
        StackError: one of them, or a plug-in, could not be imported.
    """
    refuse_import_errors(api, watch.began)
    # The database still has the Dags of an earlier start, whose files may have changed since.
    fresh = {
        dag["relative_fileloc"]
        for dag in api.dags()
        if (parsed := moment(dag["last_parsed_time"])) and parsed >= watch.began
    }
    return dag_files(watch.place.dags) <= fresh


def refuse_import_errors(api: AirflowApi, since: datetime) -> None:
    """Checks that Airflow could import every Dag file and plug-in.

    Args:
        api: A client of the running Airflow.
        since: Errors of Dag files that were seen earlier are of an earlier start, and do not count.

    Raises:
        StackError: it could not; with the traces.
    """
    found = [
        f"{error['filename']}:\n{error['stack_trace'].rstrip()}"
        for error in api.import_errors()
        if (seen := moment(error["timestamp"])) and seen >= since
    ]
    found += [f"{error['source']}: {error['error']}" for error in api.plugin_errors()]
    if found:
        listing = "\n".join(found)
        raise StackError(
            f"Airflow could not import what it was given.\n{listing}\n",
            allowed="Dag files and plug-ins that import cleanly",
            action="mend the file that the last line of the trace names, then run this again",
        )
