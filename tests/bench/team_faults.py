"""Faults of the team stack in the middle of a step. What must hold after each is checked here.

The night has finished or cleanly failed; no run of it says RUNNING; there is one champion, and it
is the one that the history names.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any, Final

from tests.fixtures.team_stack import Team, docker, eventually

from bench.team_nights import Nights, names_of, seconds_since, write_dags

Fault = Callable[[Team], None]
CUT_S: Final = 60.0
NIGHT: Final = "bench_0000"
AT_ONCE: Final = 2
"""Nights that run when a fault comes."""
TASKS: Final = ("pin", "download", "preprocess", "train", "validate", "gate", "promote", "report")
"""In each of them, in the first of the nights, comes another fault."""
_RUNNING: Final = """
import mlflow
client = mlflow.MlflowClient()
ids = [one.experiment_id for one in client.search_experiments()]
print(len(client.search_runs(ids, "attributes.status = 'RUNNING'")))
"""


def _container(team: Team, service: str) -> str:
    return team.compose("ps", "--quiet", service).decode().split()[0]


def _process(team: Team, service: str) -> int:
    """Return the process of a service that is up, else 0."""
    state = json.loads(docker("inspect", _container(team, service)))[0]["State"]
    return int(state["Pid"]) if state["Status"] == "running" else 0


def killed(service: str) -> Fault:
    """Return the fault that ends a service's processes without a word; Docker restarts it."""

    def inject(team: Team) -> None:
        os.kill(eventually(lambda: _process(team, service), 120), signal.SIGKILL)

    return inject


def broker_emptied(team: Team) -> None:
    """Throw away every message and binding that the broker holds."""
    password = json.loads(team.secret("login/agreed.json"))["broker"]
    command = 'read -r word; VALKEYCLI_AUTH="$word" REDISCLI_AUTH="$word" valkey-cli flushall'
    team.compose("exec", "-T", "broker", "sh", "-c", command, content=f"{password}\n".encode())


def network_cut(team: Team) -> None:
    """Take MLflow off the network for a minute."""
    network, container = f"{team.name}_default", _container(team, "mlflow")
    docker("network", "disconnect", network, container)
    time.sleep(CUT_S)
    docker("network", "connect", "--alias", "mlflow", network, container)


FAULTS: Final[dict[str, Fault]] = {
    **{f"kill -9 of {name}": killed(name) for name in (
        "worker", "scheduler", "triggerer", "mlflow", "broker", "postgres", "store", "api-server"
    )},
    "broker emptied": broker_emptied,
    "network cut for a minute": network_cut,
}  # fmt: skip


def run(team: Team, rounds: int) -> list[dict[str, Any]]:
    """Let so many nights have a fault in each of their tasks; five of them have each four times."""
    names = write_dags(team, AT_ONCE)
    nights = Nights(team)
    nights.unpause(names)
    kinds, measured = list(FAULTS), []
    for number in range(rounds):
        kind = [kinds[(number * len(TASKS) + place) % len(kinds)] for place in range(len(TASKS))]
        measured.append(_stormy(team, nights, dict(zip(TASKS, kind, strict=True))))
        sys.stdout.write(f"{json.dumps(measured[-1])}\n")
        sys.stdout.flush()
    return measured


def full_store(team: Team, _rounds: int) -> list[dict[str, Any]]:
    """Fill the disk of the artifacts, let a night fail, make room, and let another one pass."""
    write_dags(team, 1)
    nights = Nights(team)
    nights.unpause([NIGHT])
    store = ("exec", "-T", "store", "sh", "-c")
    team.compose(*store, "dd if=/dev/zero of=/data/ballast bs=1M count=1000 2>&1 || true")
    full = nights.end(NIGHT, nights.trigger(NIGHT))
    still = eventually(lambda: _says(team, _RUNNING) == "0", 120)
    assert still
    team.compose(*store, "rm /data/ballast")
    after = nights.end(NIGHT, nights.trigger(NIGHT))
    return [{"while full": full["state"], "with room again": after["state"]}]


def older_worker(team: Team, _rounds: int) -> list[dict[str, Any]]:
    """Run a night on a worker of an earlier image."""
    write_dags(team, 1)
    nights = Nights(team)
    nights.unpause([NIGHT])
    ended = nights.end(NIGHT, nights.trigger(NIGHT))
    assert eventually(lambda: _says(team, _RUNNING) == "0", 120)
    return [{"image": team.settings.get("UNDERSTUDY_OLDER_IMAGE", ""), "state": ended["state"]}]


def _stormy(team: Team, nights: Nights, kinds: dict[str, str]) -> dict[str, Any]:
    """Let several nights run, with a fault in each task of the first, and look afterwards."""
    team.up()  # waits until all is well again
    runs = {dag: nights.trigger(dag) for dag in names_of(AT_ONCE)}
    begin, faults = time.monotonic(), []
    for task, kind in kinds.items():
        nights.reached(NIGHT, runs[NIGHT], task)
        running = [_running_tasks(nights, *one) for one in runs.items()]
        FAULTS[kind](team)
        at = seconds_since(begin)
        faults.append({"fault": kind, "while": running, "at s": at})
    states = [nights.end(*one)["state"] for one in runs.items()]
    seconds = seconds_since(begin)
    tries = [_tries(nights, *one) for one in runs.items()]
    assert eventually(lambda: _says(team, _RUNNING) == "0", 180)
    for dag, state in zip(runs, states, strict=True):
        history = team.compose(
            "exec", "-T", "--user=understudy", "worker", "understudy", "history", dag
        ).decode()
        assert state != "success" or "is champion since" in history, history
    return {"states": states, "s": seconds, "tries": tries, "faults": faults}


def _tries(nights: Nights, name: str, run_id: str) -> dict[str, str]:
    """Return how the tasks of a night ended that were tried more than once, or failed."""
    tasks = nights.tasks(name, run_id)
    told = {task: f"{one['state']} at try {one['try_number']}" for task, one in tasks.items()}
    again = {task for task, one in tasks.items() if one["try_number"] > 1}
    return {task: how for task, how in told.items() if task in again or "fail" in how}


def _running_tasks(nights: Nights, name: str, run_id: str) -> str:
    """Return the tasks of a night that run now."""
    tasks = nights.tasks(name, run_id)
    return " ".join(sorted(task for task, one in tasks.items() if one["state"] == "running"))


def _says(team: Team, program: str) -> str:
    return (
        team.compose("exec", "-T", "--user=understudy", "worker", "python", "-c", program)
        .decode()
        .strip()
    )
