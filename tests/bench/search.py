"""What a search costs beside plain Optuna: trials per second, alone and with two workers.

    make bench BENCH=search [BENCH_ARGS='--trials 120 --rounds 3 --json FILE']

Starts an MLflow server of its own on SQLite, in a temporary folder that it removes. All ways score
the same points of the same rows with the same code, cut so that one trial takes about 0.2 s of
fitting: plain Optuna in memory without MLflow; the entry point's own loop with a run for each trial
and the study in a file; and the same by two processes that share the study. Two processes of plain
Optuna that share nothing show what the machine itself allows. All begin at once, when they have
imported everything; rates are counted from there until the last one has ended its last trial and
written its last run.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[2] / "mlproject" / "tabular"
sys.path[:0] = [str(PROJECT)]
SECONDS = 0.2
"""Of fitting and scoring in each trial."""
SPACE = '{"min_samples_leaf": {"low": 1, "high": 3}, "max_depth": {"low": 18, "high": 20}}'
FOLDS = 2
_PLAIN, _ONE, _TWO = "plain Optuna", "one worker", "two workers"
_PAIR, _READY = "two plain processes", "ready"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the bench, or one of its workers."""
    parser = argparse.ArgumentParser(
        prog="bench search", description="What a search costs beside plain Optuna."
    )
    parser.add_argument("--trials", type=int, default=120)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.worker:
        kind, rows, study = options.worker
        _work(kind, int(rows), study, options.trials)
        _say(str(time.time()))
        return 0
    from bench.tracking_server import TrackingServer

    with tempfile.TemporaryDirectory(prefix="bench-search-") as folder:
        server = TrackingServer(Path(folder))
        server.start()
        try:
            found = _rounds(server.address, Path(folder), options.trials, options.rounds)
        finally:
            server.kill()
    _report(found)
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return 0


def _rounds(address: str, folder: Path, trials: int, rounds: int) -> dict[str, Any]:
    os.environ |= {
        "MLFLOW_TRACKING_URI": address,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "OPTUNA_STORAGE": str(folder / "studies"),
        "OMP_NUM_THREADS": "1",
    }
    rows = _calibrated()
    ways = ((_PLAIN, 1, trials), (_ONE, 1, trials), (_TWO, 2, trials), (_PAIR, 2, trials // 2))
    rates: dict[str, list[float]] = {way: [] for way, _, _ in ways}
    for number in range(rounds):
        for way, processes, each in ways:
            seconds = _seconds(way, rows, f"{way[:3]}{number}", each, processes)
            rates[way].append(trials / seconds)
            _say(f"round {number}, {way}: {trials / seconds:.2f} trials/s")
    return {"rows": rows, "trials": trials, "rates": rates, "load": os.getloadavg()}


def _seconds(way: str, rows: int, study: str, trials: int, processes: int) -> float:
    """Run the workers of one way at once; return how long it took from their begin to their end."""
    command = [sys.executable, "-m", "bench", "search", f"--trials={trials}"]
    command += ["--worker", way, str(rows), study]
    children = [_ready(command) for _ in range(processes)]
    begin = time.time()
    for child in children:
        child.stdin.write("go\n")
        child.stdin.flush()
    answers = [child.communicate()[0] for child in children]
    if any(child.returncode for child in children):
        raise AssertionError(answers)
    return max(float(answer.splitlines()[-1]) for answer in answers) - begin


def _ready(command: Sequence[str]) -> Any:  # noqa: ANN401 - its pipes are there
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    for line in child.stdout or ():
        if line == f"{_READY}\n":
            return child
    raise AssertionError(command)


def _wait() -> None:
    """Say that everything is imported, and wait for the others."""
    _say(_READY)
    sys.stdin.readline()


def _calibrated() -> int:
    """Return for how many rows a trial of plain Optuna takes about `SECONDS`, as the rounds run it.

    In three steps, because a machine's speed and the cost of a row are not known beforehand.
    """
    rows = 4000
    for step in range(3):
        rows = int(rows * SECONDS * 20 / _seconds(_PLAIN, rows, f"calibration {step}", 20, 1))
    return rows


def _task(rows: int) -> Any:  # noqa: ANN401 - the project is no package of ours
    import numpy as np
    import pandas as pd

    from tabular.declaration import Column
    from tabular.facts import Facts
    from tabular.folds import cut
    from tabular.model_spaces import space_of
    from tabular.search import CrossValidation

    names = [f"x{number}" for number in range(8)]
    numbers = np.random.default_rng(1).normal(size=(rows, 9))
    frame = pd.DataFrame(numbers, columns=[*names, "y"])
    frame["row_id"] = [f"{row:016x}-0" for row in range(rows)]
    facts = Facts(
        "bench", "regression", "y", {one: Column() for one in [*names, "y"]}, tuple(names)
    )
    space = space_of(SPACE, "", "decision_tree", "regression", grid=False)
    folds = cut(frame, facts, FOLDS, 1)
    return CrossValidation("decision_tree", space, folds, frame.head(0), "cv_rmse", "minimize", 1)


def _work(way: str, rows: int, name: str, trials: int) -> None:
    """Do the trials."""
    task = _task(rows)
    task.score({"max_depth": 19, "min_samples_leaf": 2}, None)  # everything is imported
    if way in {_PLAIN, _PAIR}:
        _plain(task, trials)
    else:
        _ours(task, name, trials)


def _ours(task: Any, name: str, trials: int) -> None:  # noqa: ANN401 - the project is no package of ours
    import mlflow

    from shared.objective import pruner
    from shared.samplers import sampler
    from shared.searching import Search
    from shared.study import Budget, open_study
    from shared.study_storage import address_of, open_storage

    how = sampler("random", task.space, 1)
    storage = open_storage(address_of("", "tabular"), name)
    study = open_study(storage, name, task.direction, how, pruner("none"))
    mlflow.set_experiment("bench")
    with mlflow.start_run():
        _wait()
        Search(study, task, Budget(trials, None)).work()


def _plain(task: Any, trials: int) -> None:  # noqa: ANN401 - see above
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    distributions = task.space.distributions()

    def objective(trial: Any) -> float:  # noqa: ANN401 - Optuna is imported here alone
        params = {name: trial._suggest(name, one) for name, one in distributions.items()}
        return float(task.score(params, None)[task.metric])

    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    _wait()
    study.optimize(objective, n_trials=trials)


def _report(found: dict[str, Any]) -> None:
    median = {way: statistics.median(rates) for way, rates in found["rates"].items()}
    for way, rate in median.items():
        _say(f"{way}: {rate:.2f} trials/s (median)")
    _say(f"one worker / plain Optuna: {median[_ONE] / median[_PLAIN]:.3f}")
    _say(f"two workers / one worker: {median[_TWO] / median[_ONE]:.3f}")
    _say(f"two plain processes / plain Optuna: {median[_PAIR] / median[_PLAIN]:.3f}")
    _say(f"load at the end: {', '.join(f'{one:.1f}' for one in found['load'])}")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
