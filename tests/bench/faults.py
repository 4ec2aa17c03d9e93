"""Faults, injected for real, many times over; after each is counted what it left behind.

    make bench BENCH=faults [BENCH_ARGS='--times 10 --only WORD ... --json FILE']

Starts a stack of its own in a temporary folder (loopback only), removed afterwards unless something
went wrong. A fault that does not end as it should is counted, told, and does not end the program;
its exit status is 0 only if all ended well and nothing was left. Needs root for the full disks, a
package index for environments that are built from nothing, and hours, unless told how often.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from functools import partial
from pathlib import Path

from mlflow.tracking import MlflowClient
from tests.fixtures.airflow import Installation

from bench import machine_faults, stack_faults
from bench.cpu import end_forkservers
from bench.ending import end_on_terminate
from bench.leftovers import Ground, Leftovers, tree
from bench.machine_faults import Machine
from bench.setting import head
from understudy.cli.terminal import render
from understudy.devstack import processes
from understudy.devstack.place import CHECKOUT, StackPlace
from understudy.devstack.progress import ProgressLines
from understudy.devstack.settings import MARK, mlflow_account
from understudy.devstack.stack import Stack

LINGERING = "git://127.0.0.1/models#linger"
OURS = "{{ var.value.understudy_repository }}#tests/projects/linger"

Injection = Callable[[int], None]


@dataclass(frozen=True)
class Result:
    """What one kind of fault came to.

    Attributes:
        fault: Its name.
        times: How often it was injected.
        wrong: How often it did not end as it should.
        left: What was left, of all times together.
        seconds: How long one took, on average, until nothing was left.
    """

    fault: str
    times: int
    wrong: int
    left: Leftovers
    seconds: float


def inject(
    fault: str, injection: Injection, ground: Ground, times: int, mend: Callable[[], None]
) -> Result:
    """Inject one kind of fault, again and again; ``mend`` follows what went wrong."""
    wrong, left, began = 0, Leftovers(), time.monotonic()
    for number in range(times):
        try:
            injection(number)
        except Exception:  # noqa: BLE001 -- whatever it is, it is told, and the others go on
            sys.stderr.write(f"{fault}, number {number}:\n{traceback.format_exc()}\n")
            wrong += 1
            mend()
        if found := ground.settled():
            sys.stderr.write(f"{fault}, number {number}, left {found}:\n{ground.described()}\n")
        left += found
    return Result(fault, times, wrong, left, (time.monotonic() - began) / times)


def table(results: Sequence[Result]) -> str:
    """Return the results as text."""
    titles = ["fault", "times", "wrong", "processes", "folders", "RUNNING", "locks", "s each"]
    return render(titles, [_row(one) for one in results])


def _row(one: Result) -> list[str]:
    counts = map(str, (one.times, one.wrong, *astuple(one.left)))
    return [one.fault, *counts, f"{one.seconds:.0f}"]


@contextmanager
def running(folder: Path, progress: ProgressLines) -> Iterator[tuple[Installation, Ground]]:
    """Start a stack; yield it and the ground to be searched; end it."""
    temporary, dags = folder / "tmp", folder / "dags"
    temporary.mkdir()
    dags.mkdir()
    text = (CHECKOUT / "tests" / "dags" / "lingering.py").read_text("utf-8")
    text = text.replace(LINGERING, OURS).replace('version="main"', f'version="{head()}"')
    (dags / "lingering.py").write_text(text, "utf-8")
    place = StackPlace(folder / "stack", CHECKOUT, dags)
    os.environ.update({"TMPDIR": str(temporary), "UNDERSTUDY_CACHE": str(place.cache)})
    stack = Stack(place, progress)
    try:
        stack.up()
        os.environ.update(mlflow_account(stack.place))
        client = MlflowClient(stack.addresses().mlflow)
        yield Installation(stack, client, ""), _ground(stack, client, temporary)
    finally:
        stack.down()
        end_forkservers()


def _ground(stack: Stack, client: MlflowClient, temporary: Path) -> Ground:
    ours = {f"understudy-{os.getuid()}", f"understudy-forkservers-{os.getuid()}"}
    return Ground(
        temporary=temporary,
        caches=(stack.place.cache,),
        client=client,
        mark=_known(stack).mark,
        components=lambda: _trees(stack),
        known=frozenset(ours | {entry.name for entry in temporary.iterdir()}),
    )


def _known(stack: Stack) -> processes.ProcessRecord:
    known = processes.read(stack.place.record)
    if known is None:
        raise AssertionError(stack.place)
    return known


def _trees(stack: Stack) -> set[int]:
    return {pid for one in _known(stack).processes.values() for pid in tree(one.pid)}


def _injections(
    installation: Installation, machine: Machine, only: Sequence[str]
) -> Mapping[str, Injection]:
    found: dict[str, Injection] = {
        name: partial(fault, installation) for name, fault in stack_faults.FAULTS.items()
    }
    found |= {name: partial(fault, machine) for name, fault in machine_faults.FAULTS.items()}
    return {
        name: injection for name, injection in found.items() if any(word in name for word in only)
    }


def _mend(installation: Installation) -> None:
    """Have the whole stack again, with nothing running on it."""
    installation.up()
    stack_faults.stop_all(installation)


def _machine(folder: Path, ground: Ground) -> Machine:
    place = folder / "machine"
    place.mkdir()
    paths = [str(CHECKOUT), str(CHECKOUT / "tests"), str(CHECKOUT / "plugins")]
    ours = {
        MARK: ground.mark,
        "MLFLOW_TRACKING_URI": ground.client.tracking_uri,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "PYTHONPATH": os.pathsep.join(paths),
    }
    return Machine(place, {**os.environ, **ours})


def main(arguments: Sequence[str] | None = None) -> int:
    """Inject everything, print the table."""
    parser = argparse.ArgumentParser(prog="bench faults", description="What do faults leave?")
    parser.add_argument("--times", type=int, default=10, help="of each (default 10)")
    parser.add_argument(
        "--only", nargs="+", default=[""], help="only faults with one of these in their name"
    )
    parser.add_argument("--json", type=Path, help="also write the results to this file")
    options, progress = parser.parse_args(arguments), ProgressLines()
    end_on_terminate()
    folder = Path(tempfile.mkdtemp(prefix="faults-", dir="/tmp"))
    results: list[Result] = []
    with running(folder, progress) as (installation, ground):
        mend = partial(_mend, installation)
        chosen = _injections(installation, _machine(folder, ground), options.only)
        for name, injection in chosen.items():
            results.append(inject(name, injection, ground, options.times, mend))
            progress.say(table(results[-1:]))
    sys.stdout.write(f"\n{table(results)}\n")
    if options.json is not None:
        rows = [{**vars(one), "left": vars(one.left)} for one in results]
        options.json.write_text(json.dumps(rows, indent=2) + "\n", "utf-8")
    good = not any(one.wrong or one.left for one in results)
    if good:
        shutil.rmtree(folder)
    return 0 if good else 1
