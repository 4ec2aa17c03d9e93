"""Faults in a step that an Airflow task runs. Each injects one, and waits until the step is gone.

The step has a daemon and a child that ignores TERM. What must hold right after a fault is checked
here; what is left is counted afterwards.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping

import psutil
from tests.fixtures.airflow import Installation
from tests.fixtures.lingering_step import Lingering
from tests.fixtures.waiting import eventually

from bench.cpu import forkservers

Fault = Callable[[Installation, int], None]
PATIENCE_S = 60.0
LOOK_AGAIN_S = 3.0


def _begun(installation: Installation, dag_id: str) -> Lingering:
    step = Lingering(installation, dag_id)
    step.wait_until_up()
    return step


def _by_turns(number: int) -> str:
    """Return the Dag of a program that a forkserver runs, or that of a shell's command."""
    return ("linger_program", "linger_shell")[number % 2]


def _gone(step: Lingering) -> None:
    if not eventually(lambda: not step.alive(), PATIENCE_S):
        raise AssertionError(f"{step.run_id}: alive are {step.alive()}\n{step.log()}")


def _ended(step: Lingering) -> None:
    """End a step whose task runs again, or still."""
    step.mark("failed")
    _settled(step)


def _settled(step: Lingering) -> None:
    _gone(step)
    if not eventually(lambda: "RUNNING" not in step.statuses(), PATIENCE_S):
        raise AssertionError(f"{step.run_id}: {step.statuses()}")


def marked_failed(installation: Installation, number: int) -> None:
    """Mark the task failed."""
    _ended(_begun(installation, _by_turns(number)))


def marked_success(installation: Installation, number: int) -> None:
    """Mark the task successful."""
    step = _begun(installation, _by_turns(number))
    step.mark("success")
    _gone(step)


def run_stopped(installation: Installation, number: int) -> None:
    """Mark the Dag run failed."""
    step = _begun(installation, _by_turns(number))
    step.stop()
    _gone(step)


def cleared(installation: Installation, number: int) -> None:
    """Clear the task: it runs again."""
    step = _begun(installation, _by_turns(number))
    before = set(step.alive())
    step.clear()
    step.wait_until_up_again(before)
    _ended(step)


def timed_out(installation: Installation, _number: int) -> None:
    """Let the task take longer than Airflow allows."""
    step = Lingering(installation, "linger_timed")
    if installation.wait("linger_timed", step.run_id) != "failed":
        raise AssertionError(step.log())
    _gone(step)


def task_killed(installation: Installation, _number: int) -> None:
    """Kill -9 the task's process: Airflow tries again."""
    _again_after(installation, lambda step: os.kill(step.task()["pid"], signal.SIGKILL))


def task_terminated(installation: Installation, _number: int) -> None:
    """TERM to the task's process, as when a worker shuts down: Airflow lets the task fail."""
    step = _begun(installation, "linger_again")
    os.kill(step.task()["pid"], signal.SIGTERM)
    if not eventually(lambda: step.task()["state"] == "failed", PATIENCE_S):
        raise AssertionError(step.log())
    _settled(step)


def guardian_killed(installation: Installation, number: int) -> None:
    """Kill -9 the supervisor of the step."""
    step = _begun(installation, _by_turns(number))
    os.kill(_supervisor(step), signal.SIGKILL)
    _gone(step)


def forkserver_killed(installation: Installation, _number: int) -> None:
    """Kill -9 the forkserver: what it forked goes on."""
    step = _begun(installation, "linger_program")
    before, servers = _described(step), forkservers()
    for pid in servers:
        os.kill(pid, signal.SIGKILL)
    gone = eventually(lambda: not any(map(psutil.pid_exists, servers)), PATIENCE_S)
    time.sleep(LOOK_AGAIN_S)  # more than a supervisor takes to notice that a worker is gone
    after = _described(step)
    if not servers or not gone or set(before) != set(after):
        raise AssertionError(f"{servers} gone: {gone}, {before} became {after}\n{step.log()}")
    _ended(step)


def _described(step: Lingering) -> dict[int, str]:
    """Return the step's processes, and around them its program, supervisor and forkserver."""
    found = {}
    for pid in step.alive():
        process = psutil.Process(pid)
        above = [f"{one.pid} {one.name()}" for one in process.parents()[:2]]
        found[pid] = f"{process.ppid()} {' '.join(process.cmdline())[-60:]} {above}"
    return found


def scheduler_killed(installation: Installation, _number: int) -> None:
    """Kill -9 the scheduler, and start it again: Airflow runs the step anew."""
    _again_after(installation, lambda _: _restart(installation, "scheduler"))


def tracking_killed(installation: Installation, _number: int) -> None:
    """Kill -9 the tracking server, end the step, start the server: the next try tells it."""
    step = _begun(installation, "linger_program")
    installation.kill("mlflow")
    step.mark("failed")
    _gone(step)
    installation.up()
    step.clear()
    step.wait_until_up()
    _ended(step)


def git_away(installation: Installation, _number: int) -> None:
    """Take the Git host away: a step whose commit is here runs."""
    installation.kill("git")
    try:
        _ended(_begun(installation, "linger_program"))
    finally:
        installation.up()


def _again_after(installation: Installation, strike: Callable[[Lingering], None]) -> None:
    step = _begun(installation, "linger_again")
    before = set(step.alive())
    strike(step)
    step.wait_until_up_again(before)
    _ended(step)


def _restart(installation: Installation, component: str) -> None:
    installation.kill(component)
    installation.up()


def _supervisor(step: Lingering) -> int:
    """Return the supervisor of the step."""
    eldest = min(map(psutil.Process, step.alive()), key=lambda process: process.create_time())
    forked = [one for one in eldest.parents() if _runs(one, "forkserver.py")]
    # What a forkserver has forked looks like one itself: the program, and above it its supervisor.
    found = forked[1:2] or [one for one in eldest.parents() if _runs(one, "supervisor.py")]
    if not found:
        raise AssertionError(_described(step))
    return found[0].pid


def _runs(process: psutil.Process, script: str) -> bool:
    return any(word.endswith(f"/{script}") for word in process.cmdline())


def stop_all(installation: Installation) -> None:
    """Stop every Dag run that still runs: what went wrong shall not be counted twice."""
    for dag_id in DAGS:
        for run in installation.dag_runs(dag_id):
            if run["state"] in {"queued", "running"}:
                path = f"dags/{dag_id}/dagRuns/{run['dag_run_id']}"
                installation.call("PATCH", path, state="failed")


DAGS = ("linger_program", "linger_shell", "linger_again", "linger_timed")
FAULTS: Mapping[str, Fault] = {
    "task marked failed": marked_failed,
    "task marked success": marked_success,
    "Dag run stopped": run_stopped,
    "task cleared": cleared,
    "time-out of the task": timed_out,
    "TERM to the task's process": task_terminated,
    "kill -9 of the task's process": task_killed,
    "kill -9 of the supervisor": guardian_killed,
    "kill -9 of the forkserver": forkserver_killed,
    "kill -9 of the scheduler, restart": scheduler_killed,
    "kill -9 of MLflow's server, restart": tracking_killed,
    "Git host away": git_away,
}
