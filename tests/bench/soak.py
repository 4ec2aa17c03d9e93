"""Many nights of many pipelines on one machine, two at a time: does anything pile up?

    make bench BENCH=soak [BENCH_ARGS='--pipelines 10 --nights 50 --at-once 2 --json FILE']

Starts a stack of its own in a temporary folder, lets the scheduler make up for the nights of two
pipelines at a time, and after each pair counts what lives and lies around: processes, open files
and memory of the long-lived components, temporary folders, MLflow runs that still say RUNNING. Each
count is shown, and written to the file, as it is made: a soak that is ended early has told so much.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
from mlflow.tracking import MlflowClient

from bench.cpu import end_forkservers
from bench.ending import end_on_terminate
from understudy.cli.terminal import render
from understudy.devstack import processes
from understudy.devstack.airflow_api import moment
from understudy.devstack.place import CHECKOUT, StackPlace
from understudy.devstack.progress import ProgressLines
from understudy.devstack.settings import mlflow_account
from understudy.devstack.stack import Stack

LIMIT = 300.0
"""Seconds for one night of each pipeline of a group, on average."""
SLICE = 5
"""Nights at the begin and at the end of a group whose length is compared."""
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
    rehearsal=None,
    gate=Gate(Metric("rmse", min_gain=0.1)),
)
"""


@dataclass(frozen=True)
class Count:
    """What was there at one moment.

    Attributes:
        nights: Finished so far.
        first: Wall time of one of the first nights of the last group, s, on average.
        last: Of one of its last nights.
        processes: All of the stack's, forkservers ended before.
        files: Open files of the components' own processes.
        memory: Their unique memory together, MiB.
        folders: Entries of the temporary folder.
        running: MLflow runs that say RUNNING.
    """

    nights: int
    first: float
    last: float
    processes: int
    files: int
    memory: float
    folders: int
    running: int


class Soak:
    """One soak on a running stack; told of each count as it is made."""

    def __init__(self, stack: Stack, temporary: Path, tell: Callable[[Count], None]) -> None:
        self._stack, self._temporary, self._tell = stack, temporary, tell
        os.environ.update(mlflow_account(stack.place))
        self._client, self._api = MlflowClient(stack.addresses().mlflow), stack.api()
        self._nights = 0

    def run(self, names: Sequence[str], nights: int, at_once: int) -> None:
        """Run all nights; count before them and after each group of pipelines."""
        self._tell(self._count([]))
        for first in range(0, len(names), at_once):
            group = names[first : first + at_once]
            lengths = self._make_up(group, nights)
            self._nights += nights * len(group)
            self._tell(self._count(lengths))

    def _make_up(self, group: Sequence[str], nights: int) -> list[float]:
        """Let the nights of a group run; return how long each took, the earliest first."""
        deadline = time.monotonic() + LIMIT * nights
        for name in group:
            self._api.pause(name, paused=False)
        left = set(group)
        while left:
            if time.monotonic() > deadline:
                raise SystemExit(f"not done after {LIMIT * nights:.0f} s: {sorted(left)}")
            time.sleep(2)
            left = {name for name in left if len(self._done(name)) < nights}
        spans = sorted(span for name in group for span in self._done(name))
        return [(end - start).total_seconds() for start, end in spans]

    def _done(self, name: str) -> list[tuple[datetime, datetime]]:
        runs = self._api.dag_runs(name)
        if bad := [run["dag_run_id"] for run in runs if run["state"] == "failed"]:
            raise SystemExit(f"{name} failed: {bad}")
        ended = [run for run in runs if run["state"] == "success"]
        times = [(moment(run["start_date"]), moment(run["end_date"])) for run in ended]
        return [(start, end) for start, end in times if start and end]

    def _count(self, lengths: Sequence[float]) -> Count:
        end_forkservers()
        time.sleep(5)  # Airflow's task processes end some seconds after their tasks
        known = processes.read(self._stack.place.record)
        if known is None:
            raise AssertionError(self._stack.place)
        roots = [psutil.Process(one.pid) for one in known.processes.values() if one.alive()]
        trees = [*roots, *(child for root in roots for child in root.children(recursive=True))]
        return Count(
            nights=self._nights,
            first=_mean(lengths[:SLICE]),
            last=_mean(lengths[-SLICE:]),
            processes=len(trees),
            files=sum(process.num_fds() for process in trees),
            memory=sum(process.memory_full_info().uss for process in trees) / 2**20,
            folders=sum(1 for _ in self._temporary.rglob("*")),
            running=self._running(),
        )

    def _running(self) -> int:
        experiments = [one.experiment_id for one in self._client.search_experiments()]
        return len(self._client.search_runs(experiments, "attributes.status = 'RUNNING'"))


def _mean(lengths: Sequence[float]) -> float:
    return sum(lengths) / len(lengths) if lengths else 0.0


def _write_dags(folder: Path, pipelines: int, nights: int) -> list[str]:
    folder.mkdir()
    end = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=nights - 1)
    names = [f"soak_{number:02}" for number in range(pipelines)]
    for name in names:
        (folder / f"{name}.py").write_text(DAG.format(name=name, end=end.isoformat()), "utf-8")
    return names


def _table(counts: Sequence[Count]) -> str:
    titles = (
        *("nights", f"s, first {SLICE}", f"s, last {SLICE}"),
        *("processes", "open files", "MiB", "temporary", "RUNNING"),
    )
    rows: list[list[str]] = [
        [
            str(one.nights),
            f"{one.first:.1f}",
            f"{one.last:.1f}",
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
    parser = argparse.ArgumentParser(prog="bench soak", description="Does anything pile up?")
    parser.add_argument("--pipelines", type=int, default=10)
    parser.add_argument("--nights", type=int, default=50)
    parser.add_argument("--at-once", type=int, default=2)
    parser.add_argument("--json", type=Path, help="also write the counts to this file")
    options, progress = parser.parse_args(arguments), ProgressLines()
    end_on_terminate()
    folder = Path(tempfile.mkdtemp(prefix="soak-", dir="/tmp"))
    os.environ.update(_environment(folder, StackPlace(folder).cache))
    names = _write_dags(folder / "dags", options.pipelines, options.nights)
    stack = Stack(StackPlace(folder / "stack", CHECKOUT, folder / "dags"), progress)
    counts: list[Count] = []

    def tell(count: Count) -> None:
        counts.append(count)
        progress.say(f"{count.nights} nights\n{_table(counts)}")
        if options.json is not None:
            rows = json.dumps([asdict(one) for one in counts], indent=2)
            options.json.write_text(f"{rows}\n", "utf-8")

    try:
        stack.up()
        Soak(stack, folder / "tmp", tell).run(names, options.nights, options.at_once)
    finally:
        stack.down()
        end_forkservers()
    shutil.rmtree(folder)
    return 0
