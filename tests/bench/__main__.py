"""`make bench`: one night of wine quality in several ways on the same servers, and what each costs.

    python -m bench [--rounds 3] [--data FOLDER] [--json FILE]

Starts a stack of its own (MLflow, a git server, Airflow; loopback only) in a temporary folder that
it removes afterwards, unless something failed. Beside that it writes the JSON file and, like every
stack, the checkout's cache of commits and environments. In each round every way runs once; the
first round warms caches and is thrown away. All ways run the same commit, data, parameters and
seed, and the bench fails unless all of them arrive at the same rmse. CPU: see cpu.py.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
from tests.fixtures.loopback import serving

from bench import data, report
from bench.anatomy import dissect
from bench.cpu import Meter, end_forkservers
from bench.setting import PROJECT, Setting, export, head, programs_of
from bench.ways import OTHERS, Night, Ours, Way, ways
from understudy.errors import UnderstudyError
from understudy.local import record
from understudy.local.errors import StackError
from understudy.local.place import CHECKOUT, Place
from understudy.local.progress import Progress
from understudy.local.stack import Stack

IDLE = 25.0
"""Seconds for which the stack is watched at rest."""
VALIDATIONS = 2


class Bench:
    """One bench on a running stack."""

    def __init__(self, setting: Setting, progress: Progress) -> None:
        known = record.read(setting.stack.place.record)
        if known is None:
            raise AssertionError(setting.stack.place)
        names = (*known.alive(),)
        self._pids = {one: known.processes[one].pid for one in names if one != "migration"}
        self._setting, self._progress, self._meter = setting, progress, Meter(self._pids)

    def run(self, rounds: int, beside: Sequence[str]) -> report.Result:
        """Run the rounds and return what they cost."""
        contestants = ways(self._setting, beside)
        measured = [self._round(contestants, number) for number in range(rounds)]
        return report.Result(
            commit=self._setting.commit,
            rounds=measured[1:],
            idle=self._meter.idle,
            lookups=self._lookups(),
            load=os.getloadavg(),
        )

    def _round(self, contestants: Sequence[Way], number: int) -> list[report.Reading]:
        if number == 1:  # the servers have done everything once
            with self._progress.phase("the stack at rest"):
                end_forkservers()
                time.sleep(2)
                self._meter.measure_idle(IDLE)
        readings = [self._measure(way, first=number == 0) for way in contestants]
        self._progress.say(f"round {number}: {'warm-up, thrown away' if number == 0 else 'done'}")
        return readings

    def _measure(self, way: Way, *, first: bool) -> report.Reading:
        end_forkservers()  # a night begins without what an earlier one left
        with self._meter.window() as window:
            night = way.run()
        _check_scores(way, night, at_least=1 if first else VALIDATIONS)
        net = self._meter.net(window)
        self._progress.say(f"  {way.title}: {night.wall:.1f} s, {sum(net.values()):.1f} CPU s")
        processes = self._setting.processes("bench_ours", int(night.began * 1000))
        return report.Reading(
            way=way.name,
            title=way.title,
            wall=night.wall,
            cpu=sum(net.values()),
            parts=net,
            gross=sum(window.parts.values()),
            others=window.others,
            anatomy=dissect(night, processes) if isinstance(way, Ours) else None,
        )

    def _lookups(self) -> float:
        """Return the seconds that finding the commit and the environment takes, both here."""
        from understudy.steps.runner import StepRunner
        from understudy.steps.settings import Settings
        from understudy.tracking import RunStore

        setting, client = self._setting, self._setting.client
        runner = StepRunner(RunStore(client), client, Settings.from_environment())
        project = f"{setting.stack.addresses().repository}#{PROJECT}"
        start = time.perf_counter()
        runner.pin(project, setting.commit)
        with programs_of(setting.project):
            return time.perf_counter() - start


def _check_scores(way: Way, night: Night, at_least: int) -> None:
    scores = {round(score, 9) for score in night.scores}
    if len(night.scores) < at_least or len(scores) != 1:
        raise StackError(
            f"{way.title} scored {night.scores}",
            allowed=f"{at_least} validations or more with the same rmse, since nothing differs",
            action="compare the runs in MLflow; the steps have to be deterministic",
        )


@contextmanager
def running(folder: Path, content: dict[str, bytes], progress: Progress) -> Iterator[Setting]:
    """Start everything that a bench needs; yield it; end it."""
    commit = head()
    os.environ["UNDERSTUDY_CACHE"] = str(Place(folder).cache)
    (folder / "tmp").mkdir()
    export(commit, folder / "project")
    dags = shutil.copytree(Path(__file__).with_name("dags"), folder / "dags")
    stack = Stack(Place(folder / "stack", CHECKOUT, dags), progress)
    with serving(content) as mirror, programs_of(folder / "project" / PROJECT) as programs:
        os.environ["UNDERSTUDY_DATA_MIRROR"] = mirror
        try:
            stack.up()
            _warm(stack)
            from mlflow.tracking import MlflowClient

            client = MlflowClient(stack.addresses().mlflow)
            yield Setting(stack, client, folder, programs, commit, mirror)
        finally:
            stack.down()


def _warm(stack: Stack) -> None:
    """Ask the interface that tasks talk to once: its first answer takes seconds of CPU.

    A task gives up after 5 s and a few tries, which is not enough on a machine that is busy.
    """
    url = f"{stack.addresses().airflow}/execution/health/ping"
    httpx.get(url, timeout=180, trust_env=False)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    default = CHECKOUT.parent / "shared" / "data"
    parser = argparse.ArgumentParser(
        prog="bench", description="One night of wine, in several ways."
    )
    parser.add_argument("--rounds", type=int, default=3, help="the first is a warm-up (default 3)")
    parser.add_argument("--data", type=Path, default=default, help="the real data's folder")
    parser.add_argument(
        "--beside", nargs="*", default=OTHERS, choices=OTHERS, help="ways to run beside ours (all)"
    )
    parser.add_argument("--json", type=Path, help="also write everything to this file")
    options = parser.parse_args(arguments)
    if options.rounds < 2:
        parser.error("--rounds needs 2 or more: the first is thrown away")
    return options


def _show(result: report.Result, target: Path | None) -> None:
    tables = (report.comparison, report.night, report.tasks, report.cpu)
    sys.stdout.write("\n" + "\n\n".join(table(result) for table in tables) + "\n")
    busy = [one.others for measured in result.rounds for one in measured]
    sys.stdout.write(
        f"\n{os.cpu_count()} cores; other programs kept {min(busy):.2f} to {max(busy):.2f} of them"
        f" busy meanwhile; commit {result.commit[:12]}\n"
    )
    if target is not None:
        target.write_text(json.dumps(report.as_json(result), indent=2) + "\n", "utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the bench; return 0 only if every night of every way ended well."""
    options, progress = _options(arguments), Progress()
    folder = Path(tempfile.mkdtemp(prefix="understudy-bench-"))
    try:
        with running(folder, data.read(options.data.resolve()), progress) as setting:
            result = Bench(setting, progress).run(options.rounds, options.beside)
    except UnderstudyError as error:
        sys.stderr.write(f"bench: {error}\nbench: the logs are in {folder}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("bench: interrupted; what was started has been ended\n")
        return 130
    shutil.rmtree(folder)
    _show(result, options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
