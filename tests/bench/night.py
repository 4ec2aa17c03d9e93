"""What one night costs in several ways on the same servers, and how ours compares with each.

    make bench [BENCH_ARGS='--rounds N --beside WAY ... --data FOLDER --json FILE']

Needs what `make demo` needs: Python, git with its server, and the environments that make builds.
Starts a stack of its own (MLflow, a git server, Airflow; loopback only) in .state/bench, ends it,
and removes its files unless something failed; what a bench that was killed left running, the next
one ends, or `make down`. Writes .state/bench.json and, like every stack, the checkout's cache of
commits and environments.

The night's data are a table that is made here, as large as wine quality. ``--data`` takes the real
one, from FOLDER/wine-quality/winequality-red.csv and -white.csv.

Ways that have something to build or to compile run once first, and are not measured. Then rounds
follow, in each of which every way runs once: as many as end within twelve minutes, or as
``--rounds`` says. The last round may end before its last way. All ways run the same commit, data,
parameters and seed, and the bench fails unless all arrive at the same rmse. CPU: see cpu.py.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench import made, report
from bench.anatomy import Anatomy, dissect
from bench.cpu import SETTLE, Meter, end_forkservers
from bench.ending import end_on_terminate
from bench.needs import STATE
from bench.setting import MIRROR, PROJECT, Setting, export, head, programs_of
from bench.ways import OTHERS, Night, Ours, Way, ways
from understudy.devstack import processes
from understudy.devstack.place import bench_place
from understudy.devstack.processes import StackError
from understudy.devstack.progress import ProgressLines
from understudy.devstack.settings import mlflow_account
from understudy.devstack.stack import Stack
from understudy.errors import UnderstudyError

LIMIT = 12 * 60.0
"""Seconds that the whole bench takes, unless even the least takes longer: ours and one other."""
CLOSING = 15.0
"""Seconds of them that are kept for the end of the stack."""
IDLE = 15.0
"""Seconds for which the stack is watched at rest."""
LEAST = 2
"""Ways without which there is no ratio."""
VALIDATIONS = 2
STEPS = 5


class Bench:
    """One bench on a running stack."""

    def __init__(self, setting: Setting, progress: ProgressLines) -> None:
        known = processes.read(setting.stack.place.record)
        if known is None:
            raise AssertionError(setting.stack.place)
        names = (*known.alive(),)
        self._pids = {one: known.processes[one].pid for one in names if one != "migration"}
        self._setting, self._progress, self._meter = setting, progress, Meter(self._pids)
        self._longest: dict[str, float] = {}

    def run(self, rounds: int | None, beside: Sequence[str]) -> report.Result:
        """Run the rounds, as many as there is time for where None, and return what they cost."""
        contestants = ways(self._setting, beside)
        for way in (one for one in contestants if one.is_cold):
            with self._progress.phase(f"warm-up: {way.title}"), self._meter.window():
                way.warm()
        with self._progress.phase("the stack at rest"):
            end_forkservers()
            time.sleep(SETTLE)
            self._meter.measure_idle(IDLE)
        measured = [*self._rounds(contestants, rounds)]
        return report.Result(
            commit=self._setting.commit,
            data=self._setting.title,
            rounds=measured,
            idle=self._meter.idle,
            lookups=self._lookups(),
            cpu=self._meter.whole(),
            load=os.getloadavg(),
        )

    def _rounds(
        self, contestants: Sequence[Way], rounds: int | None
    ) -> Iterator[list[report.Reading]]:
        number, is_whole = 0, True
        while is_whole and number != rounds:
            number += 1
            readings: list[report.Reading] = []
            for way in contestants:
                is_due = number == 1 and len(readings) < LEAST
                if rounds is None and not is_due and not self._fits(way):
                    self._progress.say(f"no time is left for another night of {way.title}")
                    break
                readings.append(self._measure(way, f"round {number}"))
            is_whole = len(readings) == len(contestants)
            if readings:
                yield readings

    def _fits(self, way: Way) -> bool:
        """Whether a way ends in time, if it takes as long as it ever did, or as any ever did."""
        longest = self._longest.get(way.name, max(self._longest.values()))
        return self._progress.elapsed() + longest + CLOSING < LIMIT

    def _measure(self, way: Way, label: str) -> report.Reading:
        start = time.monotonic()
        end_forkservers()  # a night begins without what an earlier one left
        with self._meter.window() as window:
            night = way.run()
        _check_scores(way, night)
        net = self._meter.net(window)
        took = time.monotonic() - start
        self._longest[way.name] = max(took, self._longest.get(way.name, 0.0))
        used = f"{night.wall:.1f} s, {sum(net.values()):.1f} CPU s"
        self._progress.say(f"{label}: {way.title}: {used}")
        return report.Reading(
            way=way.name,
            title=way.title,
            wall=night.wall,
            cpu=sum(net.values()),
            parts=net,
            gross=sum(window.parts.values()),
            others=window.others,
            anatomy=self._dissected(night) if isinstance(way, Ours) else None,
        )

    def _dissected(self, night: Night) -> Anatomy:
        processes = self._setting.processes("bench_ours", int(night.began * 1000))
        if len(processes) != STEPS:
            raise StackError(
                f"our night ran {len(processes)} steps",
                allowed=f"{STEPS}, none of them reused from an earlier night",
                action="look at its runs in MLflow",
            )
        return dissect(night, processes)

    def _lookups(self) -> float:
        """Return the seconds that finding the commit and the environment takes, both here."""
        from understudy.runner.runner import StepRunner
        from understudy.runner.settings import Settings
        from understudy.store.tracking import RunStore

        setting, client = self._setting, self._setting.client
        runner = StepRunner(RunStore(client), client, Settings.from_environment())
        project = f"{setting.stack.addresses().repository}#{PROJECT}"
        start = time.perf_counter()
        runner.pin(project, setting.commit)
        with programs_of(setting.project):
            return time.perf_counter() - start


def _check_scores(way: Way, night: Night) -> None:
    scores = {round(score, 9) for score in night.scores}
    if len(night.scores) < VALIDATIONS or len(scores) != 1:
        raise StackError(
            f"{way.title} scored {night.scores}",
            allowed=f"{VALIDATIONS} validations or more with the same rmse, since nothing differs",
            action="compare the runs in MLflow; the steps have to be deterministic",
        )


@contextmanager
def alone() -> Iterator[None]:
    """Hold this checkout's bench: two at once would measure each other.

    Raises:
        StackError: another one runs.
    """
    path = STATE / "bench.lock"
    with path.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StackError(
                f"another bench holds {path}",
                allowed="one bench at a time",
                action="wait until it has ended",
            ) from error
        yield


@contextmanager
def running(folder: Path, data: Path | None, progress: ProgressLines) -> Iterator[Setting]:
    """Start what a bench needs, in place of what an earlier one left; yield it; end it."""
    stack = Stack(bench_place(), progress)
    stack.down()
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "tmp").mkdir(parents=True)
    commit, table = head(), folder / "table.csv"
    os.environ |= {"UNDERSTUDY_CACHE": str(stack.place.cache), MIRROR: str(data or "")}
    export(commit, folder / "project")
    shutil.copytree(Path(__file__).with_name("dags"), stack.place.dags)
    table.write_text(made.table(), "utf-8")
    with programs_of(folder / "project" / PROJECT) as programs:
        try:
            stack.up()
            from mlflow.tracking import MlflowClient

            os.environ.update(mlflow_account(stack.place))
            client = MlflowClient(stack.addresses().mlflow)
            yield Setting(stack, client, folder, programs, commit, None if data else table)
        finally:
            with progress.phase("the last forkservers"):
                end_forkservers()
            stack.down()


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench night", description="One night, in several ways.")
    parser.add_argument("--rounds", type=int, help="how many (as many as end within 12 minutes)")
    parser.add_argument("--data", type=Path, help="folder of the real wine quality (a made table)")
    parser.add_argument(
        "--beside", nargs="*", default=OTHERS, choices=OTHERS, help="ways to run beside ours (all)"
    )
    parser.add_argument("--json", type=Path, default=STATE / "bench.json", help="(%(default)s)")
    options = parser.parse_args(arguments)
    if options.rounds is not None and options.rounds < 1:
        parser.error("--rounds needs 1 or more")
    return options


def _show(result: report.Result, seconds: float, target: Path) -> None:
    tables = (report.comparison, report.night, report.tasks, report.cpu)
    sys.stdout.write("\n" + "\n\n".join(table(result) for table in tables) + "\n")
    busy = [one.others for measured in result.rounds for one in measured]
    sys.stdout.write(
        f"\n{os.cpu_count()} cores; other programs kept {min(busy):.2f} to {max(busy):.2f} of them"
        f" busy meanwhile; commit {result.commit[:12]}; {result.data}\n"
        f"The whole bench took {seconds:.0f} s and {result.cpu:.0f} CPU s.\n"
    )
    target.write_text(json.dumps(report.as_json(result, seconds), indent=2) + "\n", "utf-8")
    sys.stdout.write(f"Everything as JSON: {target}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the bench; return 0 only if every night of every way ended well."""
    options, progress, folder = _options(arguments), ProgressLines(), STATE / "bench"
    data = options.data and options.data.resolve()
    end_on_terminate()
    try:
        with alone():
            with running(folder, data, progress) as setting:
                result = Bench(setting, progress).run(options.rounds, options.beside)
            shutil.rmtree(folder)
    except UnderstudyError as error:
        sys.stderr.write(f"bench: {error}\nbench: the logs are in {folder}\n")
        return 1
    _show(result, progress.elapsed(), options.json)
    return 0
