"""A long table through the steps of mlproject/tabular, beside a plain script.

    make bench BENCH=rows BENCH_ARGS='--rows 1000000 --rounds 3'

Both read the same Parquet file, hold out the newest fifth, fit the same model with scikit-learn and
score it. The steps are as in a night: processes of their own, forked from one that has imported
what they import, whose CPU counts once, and an MLflow server, whose CPU is no step's. What each
takes of CPU (s), and of memory at its peak (GB), is the kernel's count for a process and its
children. Both by turns. Prints ratios with their ranges; ``--json FILE`` writes all.

``--python FILE`` takes another Python for both, that of an environment with
``mlproject/tabular/requirements.txt``, as a night has it: the tests' own has pytest and hypothesis,
which scikit-learn and pandera import where they find them.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd
from mlflow.tracking import MlflowClient

from bench.needs import CHECKOUT
from bench.tracking_server import TrackingServer

PROJECT = CHECKOUT / "mlproject" / "tabular"
HERE = Path(__file__).parent
NUMBERS, TEXTS = 10, 2
_QUIET = {"OMP_WAIT_POLICY": "PASSIVE"}  # a thread that spins counts as CPU


@dataclass(frozen=True)
class Used:
    """What one process used.

    Attributes:
        cpu: Seconds.
        memory: Gigabytes at its peak.
    """

    cpu: float
    memory: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; return its exit status."""
    parser = argparse.ArgumentParser(prog="bench rows", allow_abbrev=False)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", default="hist_gradient_boosting")
    parser.add_argument("--trees", type=int, default=50)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--python", default=sys.executable)
    asked = parser.parse_args(arguments)
    rounds = []
    with tempfile.TemporaryDirectory() as place:
        table = Path(place) / "table.parquet"
        made(asked.rows).to_parquet(table, index=False)
        for number in range(asked.rounds):
            store = Path(place) / f"store-{number}"
            store.mkdir()
            with served(store) as address:
                rounds.append({"plain": plain(table, asked), **steps(table, address, asked)})
            sys.stdout.write(_told(number, rounds[-1]))
            sys.stdout.flush()
    ratios = [_ratios(one) for one in rounds]
    for name in ("cpu", "memory"):
        found = sorted(one[name] for one in ratios)
        middle = statistics.median(found)
        sys.stdout.write(
            f"{name}: {middle:.2f} of the plain script's ({found[0]:.2f} to {found[-1]:.2f})\n"
        )
    if asked.json:
        told = [{name: asdict(used) for name, used in one.items()} for one in rounds]
        asked.json.write_text(json.dumps({"rows": asked.rows, "rounds": told, "ratios": ratios}))
    return 0


def made(count: int) -> pd.DataFrame:
    """Return a table of numbers and texts with gaps, a time, and a target that depends on them."""
    draw = np.random.default_rng(7)
    columns = {f"number {one}": draw.normal(size=count) for one in range(NUMBERS)}
    target = sum(columns[f"number {one}"] * (one + 1) for one in range(3)) + draw.normal(size=count)
    for name in list(columns)[3:6]:
        columns[name][draw.random(count) < 0.05] = np.nan
    texts = {
        f"text {one}": pd.Series(draw.integers(0, 50, count)).map("kind {}".format).astype("str")
        for one in range(TEXTS)
    }
    time = pd.Timestamp("2026-01-01") + pd.to_timedelta(np.arange(count), "s")
    return pd.DataFrame(
        {"id": np.arange(count), "time": time, **columns, **texts, "target": target}
    )


@contextmanager
def served(store: Path) -> Iterator[str]:
    """Have an MLflow server within this block; yield its address."""
    server = TrackingServer(store)
    try:
        server.start()
        yield server.address
    finally:
        server.kill()


def plain(table: Path, asked: argparse.Namespace) -> Used:
    """Run the plain script; return what it used."""
    command = [asked.python, str(HERE / "rows_plain.py"), str(table), asked.model]
    process = subprocess.Popen(
        [*command, str(asked.trees)], stdout=subprocess.DEVNULL, env={**os.environ, **_QUIET}
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"the plain script ended with {process.returncode}")
    return Used(usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e9)


class Night:
    """The process that steps are forked from.

    Args:
        address: of the MLflow server.
        python: the interpreter that runs the steps.
    """

    def __init__(self, address: str, python: str) -> None:
        self._process = subprocess.Popen(
            [python, str(HERE / "rows_night.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={
                **os.environ,
                **_QUIET,
                "MLFLOW_TRACKING_URI": address,
                "MLFLOW_DISABLE_TELEMETRY": "true",
                "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
                "PYTHONPATH": str(PROJECT),
            },
        )
        self.used = {"imports": self._answer("imports")}
        self._client = MlflowClient(address)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_error: object) -> None:
        """End the process, which ends with its input."""
        self._process.communicate()

    def step(self, name: str, *arguments: str) -> str:
        """Run a step, keep what it used, and return its run's id."""
        if self._process.stdin is None:
            raise RuntimeError(name)
        # As in a night, whose steps find their run made.
        run_id: str = self._client.create_run("0").info.run_id
        self._process.stdin.write(json.dumps([name, arguments, run_id]) + "\n")
        self._process.stdin.flush()
        self.used[name] = self._answer(name)
        return run_id

    def _answer(self, name: str) -> Used:
        line = self._process.stdout.readline() if self._process.stdout else ""
        found = json.loads(line or '{"status": "nothing said"}')
        if found["status"]:
            raise SystemExit(f"{name} ended with {found['status']}: {found.get('said')}")
        return Used(found["cpu"], found["memory"] / 1e9)


def steps(table: Path, address: str, asked: argparse.Namespace) -> dict[str, Used]:
    """Run the four steps; return what the imports and each of them used."""
    named = [f"--source={table}", "--target=target", "--time_column=time", "--identity=id"]
    newest = ["--holdout=newest", f"--holdout_days={asked.rows / 5 / 86_400}"]  # a row each second
    model = [f"--model={asked.model}", f"--n_estimators={asked.trees}"]
    if asked.model == "random_forest":
        model.append("--max_depth=12")
    with Night(address, asked.python) as night:
        raw = night.step("download", "--dataset=parquet", *named)
        data = night.step("preprocess", f"--raw=runs:/{raw}/raw", *newest)
        given = f"--data=runs:/{data}/data"
        trained = night.step("train", given, *model)
        night.step("validate", given, f"--model_uri=runs:/{trained}/model")
    return night.used


def _ratios(one: Mapping[str, Used]) -> dict[str, float]:
    ours = [used for name, used in one.items() if name != "plain"]
    cpu, memory = sum(used.cpu for used in ours), max(used.memory for used in ours)
    return {"cpu": cpu / one["plain"].cpu, "memory": memory / one["plain"].memory}


def _told(number: int, one: Mapping[str, Used]) -> str:
    parts = (f"{name} {used.cpu:.1f} s, {used.memory:.2f} GB" for name, used in one.items())
    return f"round {number + 1}: {'; '.join(parts)}\n"
