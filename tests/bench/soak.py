"""Many nights of many pipelines on one machine, two at a time: does anything pile up?

    python -m bench.soak [--pipelines 10] [--nights 50] [--at-once 2]

Starts a stack of its own in a temporary folder, lets the scheduler make up for the nights of two
pipelines at a time, and after each pair counts what lives and lies around: processes, open files
and memory of the long-lived components, temporary folders, MLflow runs that still say RUNNING.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
from mlflow.tracking import MlflowClient

from bench.cpu import end_forkservers
from understudy.local import record
from understudy.local.place import CHECKOUT, Place
from understudy.local.progress import Progress
from understudy.local.stack import Stack
from understudy.local.table import render

LIMIT = 3600.0
"""Seconds for the nights of one pair of pipelines."""
DAG = """
from datetime import UTC, datetime

from understudy import Gate, Metric, Project, pipeline

# An Airflow Dag; every night is forced, since its data would be an earlier one's.
dag = pipeline(
    "{name}",
    schedule="@daily",
    start=datetime(2026, 1, 1, tzinfo=UTC),
    end=datetime.fromisoformat("{end}"),
    catchup=True,
    project=Project("{{{{ var.value.understudy_repository }}}}#tests/projects/number"),
    skip_unchanged=False,
    retries=0,
    gate=Gate(Metric("rmse", min_gain=0.1)),
)
"""


@dataclass(frozen=True)
class Count:
    """What was there at one moment.

    Attributes:
        nights: Finished so far.
        seconds: Wall time of one night of the last pair, on average; two ran at once.
        processes: All of the stack's, forkservers ended before.
        files: Open files of the components' own processes.
        memory: Their unique memory together, MiB.
        folders: Entries of the temporary folder.
        running: MLflow runs that say RUNNING.
    """

    nights: int
    seconds: float
    processes: int
    files: int
    memory: float
    folders: int
    running: int


class Soak:
    """One soak on a running stack."""

    def __init__(self, stack: Stack, temporary: Path, progress: Progress) -> None:
        self._stack, self._temporary, self._progress = stack, temporary, progress
        self._client, self._nights = MlflowClient(stack.addresses().mlflow), 0

    def run(self, names: Sequence[str], nights: int, at_once: int) -> list[Count]:
        """Run all nights; return a count before them and one after each group of pipelines."""
        counts = [self._count(0.0)]
        for first in range(0, len(names), at_once):
            group = names[first : first + at_once]
            seconds = self._make_up(group, nights)
            self._nights += nights * len(group)
            counts.append(self._count(seconds / nights))
            self._progress.say(f"  {', '.join(group)}: {seconds / nights:.1f} s for {len(group)}")
        return counts

    def _make_up(self, group: Sequence[str], nights: int) -> float:
        api, began = self._stack.api(), time.monotonic()
        for name in group:
            api.pause(name, paused=False)
        left = set(group)
        while left and time.monotonic() - began < LIMIT:
            time.sleep(2)
            left = {name for name in left if not self._is_done(name, nights)}
        if left:
            raise SystemExit(f"not done after {LIMIT:.0f} s: {sorted(left)}")
        return time.monotonic() - began

    def _is_done(self, name: str, nights: int) -> bool:
        runs = self._stack.api()._get(f"/api/v2/dags/{name}/dagRuns?limit=200")["dag_runs"]
        if bad := [run["dag_run_id"] for run in runs if run["state"] == "failed"]:
            raise SystemExit(f"{name} failed: {bad}")
        return sum(run["state"] == "success" for run in runs) >= nights

    def _count(self, seconds: float) -> Count:
        end_forkservers()
        time.sleep(5)  # Airflow's task processes end some seconds after their tasks
        known = record.read(self._stack.place.record)
        if known is None:
            raise AssertionError(self._stack.place)
        roots = [psutil.Process(one.pid) for one in known.processes.values() if one.alive()]
        trees = [*roots, *(child for root in roots for child in root.children(recursive=True))]
        return Count(
            nights=self._nights,
            seconds=seconds,
            processes=len(trees),
            files=sum(process.num_fds() for process in trees),
            memory=sum(process.memory_full_info().uss for process in trees) / 2**20,
            folders=sum(1 for _ in self._temporary.rglob("*")),
            running=self._running(),
        )

    def _running(self) -> int:
        experiments = [one.experiment_id for one in self._client.search_experiments()]
        return len(self._client.search_runs(experiments, "attributes.status = 'RUNNING'"))


def _write_dags(folder: Path, pipelines: int, nights: int) -> list[str]:
    folder.mkdir()
    end = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=nights - 1)
    names = [f"soak_{number:02}" for number in range(pipelines)]
    for name in names:
        (folder / f"{name}.py").write_text(DAG.format(name=name, end=end.isoformat()), "utf-8")
    return names


def _table(counts: Sequence[Count]) -> str:
    titles = ("nights", "s per night", "processes", "open files", "MiB", "temporary", "RUNNING")
    rows: list[list[str]] = [
        [
            str(one.nights),
            f"{one.seconds:.1f}",
            *map(str, (one.processes, one.files, round(one.memory), one.folders, one.running)),
        ]
        for one in counts
    ]
    return render(list(titles), rows)


def _environment(folder: Path, cache: Path) -> Mapping[str, str]:
    temporary = folder / "tmp"
    temporary.mkdir()
    return {"UNDERSTUDY_CACHE": str(cache), "TMPDIR": str(temporary)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Soak, print the counts, and end the stack."""
    parser = argparse.ArgumentParser(prog="bench.soak", description="Does anything pile up?")
    parser.add_argument("--pipelines", type=int, default=10)
    parser.add_argument("--nights", type=int, default=50)
    parser.add_argument("--at-once", type=int, default=2)
    options, progress = parser.parse_args(arguments), Progress()
    folder = Path(tempfile.mkdtemp(prefix="soak-", dir="/tmp"))
    os.environ.update(_environment(folder, Place(folder).cache))
    names = _write_dags(folder / "dags", options.pipelines, options.nights)
    stack = Stack(Place(folder / "stack", CHECKOUT, folder / "dags"), progress)
    try:
        stack.up()
        soak = Soak(stack, folder / "tmp", progress)
        counts = soak.run(names, options.nights, options.at_once)
    finally:
        stack.down()
        end_forkservers()
    sys.stdout.write(f"\n{_table(counts)}\n")
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
