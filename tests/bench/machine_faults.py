"""Faults on one machine, without Airflow: in mid-fetch, mid-build, on a full disk, on a terminal.

Each works in a cold cache of its own, which goes with it; what must hold right after a fault is
checked here, what is left is counted afterwards.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mlflow.tracking import MlflowClient

from bench.cpu import end_forkservers
from understudy.devstack.place import CHECKOUT
from understudy.store.tracking import RunStore

PROJECT = f"file://{CHECKOUT}#tests/projects/number"
LINGER = f"file://{CHECKOUT}#tests/projects/linger"
LATEST_S = 6.0
"""By when a cold step runs: strikes fall anywhere before."""
SMALL, LARGE = "2m", "1g"
LARGER = 4 << 20
"""Bytes that do not fit on a small disk."""


@dataclass(frozen=True)
class Machine:
    """Where processes are started, and with which variables."""

    folder: Path
    variables: Mapping[str, str] = field(repr=False)

    @contextlib.contextmanager
    def cold(self) -> Iterator[Machine]:
        """Yield this machine with an empty cache."""
        cache = Path(tempfile.mkdtemp(dir=self.folder))
        yield Machine(self.folder, {**self.variables, "UNDERSTUDY_CACHE": str(cache)})
        end_forkservers(str(cache))  # they would stay for a minute, on purpose
        subprocess.run(["chmod", "-R", "u+w", cache], check=True)  # checkouts are read-only
        shutil.rmtree(cache)

    def start(self, *arguments: str | Path) -> subprocess.Popen[str]:
        """Start a Python program."""
        return subprocess.Popen(
            [sys.executable, *arguments],
            env=dict(self.variables),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *arguments: str, ok: bool = True) -> str:
        """Run a Python program to its end; return what it said."""
        process = self.start(*arguments)
        said = process.communicate(timeout=300)[0]
        if (process.returncode == 0) != ok:
            raise AssertionError(said)
        return said


def _step(project: str, entry_point: str, attempt: str, *pairs: str) -> tuple[str, ...]:
    return "-m", "bench.one_step", project, entry_point, "faults", attempt, *pairs


BUILD = ("-m", "understudy", "environments", "build", PROJECT)


def worker_killed(machine: Machine, _number: int) -> None:
    """Kill -9 a worker somewhere between its start, the fetch, the build and the run."""
    attempt, token = uuid.uuid4().hex, f"token={os.getpid()}.{random.random():.9f}"  # noqa: S311
    with machine.cold() as cold:
        _struck(cold.start(*_step(LINGER, "program", attempt, token)), signal.SIGKILL)
        cold.run(*_step(PROJECT, "download", attempt, "as_of=2026-01-01"))


def builder_killed(machine: Machine, _number: int) -> None:
    """Kill -9 who builds an environment: the next builder makes a whole one."""
    with machine.cold() as cold:
        _struck(cold.start(*BUILD), signal.SIGKILL)
        cold.run(*BUILD)
        cold.run(*_step(PROJECT, "download", uuid.uuid4().hex))


def builders_race(machine: Machine, _number: int) -> None:
    """Let four processes build one environment at once, from nothing."""
    with machine.cold() as cold:
        racers = [cold.start(*BUILD) for _ in range(4)]
        said = [racer.communicate(timeout=300)[0] for racer in racers]
        if any(racer.returncode for racer in racers):
            raise AssertionError(said)
        if sum("Built the environment" in one for one in said) != 1:
            raise AssertionError(said)


def cache_full(machine: Machine, _number: int) -> None:
    """Fill the disk of the cache: the build fails with a reason, and with room it succeeds."""
    with _small_disk(machine.folder) as disk:
        there = Machine(disk, {**machine.variables, "UNDERSTUDY_CACHE": str(disk / "cache")})
        said = there.run(*BUILD, ok=False)
        if "No space left" not in said or "Next: " not in said:
            raise AssertionError(said)
        _mount(disk, "remount,", LARGE)
        there.run(*BUILD)


def temporary_full(machine: Machine, number: int) -> None:
    """Fill the disk of the temporary folder: the step fails with a reason, and runs with room.

    By turns it is filled by what the step itself writes there, and by an input that is fetched.
    """
    with machine.cold() as cold, _small_disk(machine.folder) as disk:
        there = Machine(disk, {**cold.variables, "TMPDIR": str(disk)})
        filling = _filling_inputs(there) if number % 2 else (f"bytes={LARGER}",)
        wanted = _step(LINGER, "read" if number % 2 else "fill", uuid.uuid4().hex, *filling)
        try:
            said = there.run(*wanted, ok=False)
            if "No space left" not in said or "Next: " not in said:
                raise AssertionError(said)
            _mount(disk, "remount,", LARGE)
            there.run(*wanted)
        finally:
            end_forkservers(there.variables["UNDERSTUDY_CACHE"])  # their folder is on that disk


def _filling_inputs(machine: Machine) -> tuple[str, ...]:
    """Log what does not fit on a small disk; return it as a parameter of a step."""
    client = MlflowClient(machine.variables["MLFLOW_TRACKING_URI"])
    run_id = client.create_run(RunStore(client).experiment("faults")).info.run_id
    with tempfile.TemporaryDirectory(dir=machine.folder.parent) as folder:
        Path(folder, "large").write_bytes(bytes(LARGER))
        client.log_artifact(run_id, str(Path(folder, "large")))
    client.set_terminated(run_id)
    return (f"data=runs:/{run_id}/large",)


def terminal_interrupted(machine: Machine, number: int) -> None:
    """Ctrl-C or TERM of ``mlflow run -b understudy``."""
    token = f"token={os.getpid()}.{random.random():.9f}"  # noqa: S311
    wanted = ("-m", "mlflow", "run", LINGER, "-e", "program", "-P", token, "-b", "understudy")
    with machine.cold() as cold:
        process = cold.start(*wanted, "--experiment-name", "faults", "--env-manager", "uv")
        _struck(process, (signal.SIGINT, signal.SIGTERM)[number % 2], latest=3 * LATEST_S)


def _struck(
    process: subprocess.Popen[str], number: signal.Signals, latest: float = LATEST_S
) -> None:
    """Send a signal at a moment of chance, and wait for the end."""
    time.sleep(random.uniform(0.0, latest))  # noqa: S311
    process.send_signal(number)
    process.communicate(timeout=60)


@contextlib.contextmanager
def _small_disk(folder: Path) -> Iterator[Path]:
    disk = Path(tempfile.mkdtemp(dir=folder))
    _mount(disk, "", SMALL)
    try:
        yield disk
    finally:
        subprocess.run(["umount", disk], check=True)
        disk.rmdir()


def _mount(disk: Path, options: str, size: str) -> None:
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"{options}size={size}", "tmpfs", disk], check=True
    )


FAULTS: Mapping[str, Callable[[Machine, int], None]] = {
    "kill -9 of a worker, any moment": worker_killed,
    "kill -9 of a build, any moment": builder_killed,
    "four builds at once": builders_race,
    "disk of the cache full": cache_full,
    "disk of TMPDIR full": temporary_full,
    "Ctrl-C or TERM of `mlflow run`": terminal_interrupted,
}
