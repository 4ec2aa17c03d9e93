"""What a search costs beside plain Optuna: trials per second, alone and with two workers.

    python -m bench.search [--trials 60] [--rounds 3] [--json FILE]

Starts an MLflow server of its own on SQLite, in a temporary folder that it removes. All ways score
the same points of the same rows with the same code, cut so that one trial takes about 0.2 s of
fitting: plain Optuna in memory without MLflow; the entry point's own loop with a run for each trial
and the study in a file; and the same by two processes that share the study. Rates are counted from
the first trial's begin to the last one's end, or until the last run is written.
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the bench, or one of its workers."""
    parser = argparse.ArgumentParser(description="What a search costs beside plain Optuna.")
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.worker:
        kind, rows, study = options.worker
        _say(json.dumps(_work(kind, int(rows), study, options.trials)))
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
    rates: dict[str, list[float]] = {_PLAIN: [], _ONE: [], _TWO: []}
    for number in range(rounds):
        for way, processes in ((_PLAIN, 1), (_ONE, 1), (_TWO, 2)):
            spans = _started(way, rows, f"{way[:3]}{number}", trials, processes)
            seconds = max(end for _, end in spans) - min(begin for begin, _ in spans)
            rates[way].append(trials / seconds)
            _say(f"round {number}, {way}: {trials / seconds:.2f} trials/s")
    return {"rows": rows, "trials": trials, "rates": rates, "load": os.getloadavg()}


def _started(
    way: str, rows: int, study: str, trials: int, processes: int
) -> list[tuple[float, float]]:
    """Run the workers of one way at once; return when each began and ended."""
    command = [sys.executable, "-m", "bench.search", f"--trials={trials}"]
    command += ["--worker", way, str(rows), study]
    children = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(processes)
    ]
    answers = [child.communicate()[0] for child in children]
    if any(child.returncode for child in children):
        raise AssertionError(answers)
    return [tuple(json.loads(answer.splitlines()[-1])) for answer in answers]


def _calibrated() -> int:
    """Return for how many rows one trial takes about `SECONDS`."""
    _seconds_of_one(1000)  # the first one imports
    rows = 1000
    while (took := _seconds_of_one(rows)) < SECONDS / 2:
        rows *= 2
    return int(rows * SECONDS / took)


def _seconds_of_one(rows: int) -> float:
    """Return how long one trial takes, the median of three."""
    task, spans = _task(rows), []
    for _ in range(3):
        begin = time.perf_counter()
        task.score({"max_depth": 19, "min_samples_leaf": 2}, None)
        spans.append(time.perf_counter() - begin)
    return statistics.median(spans)


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
    facts = Facts("bench", "regression", "y", {one: Column() for one in frame}, tuple(names))
    space = space_of(SPACE, "", "decision_tree", "regression", grid=False)
    folds = cut(frame, facts, FOLDS, 1)
    return CrossValidation("decision_tree", space, folds, "cv_rmse", "minimize", 1)


def _work(way: str, rows: int, name: str, trials: int) -> tuple[float, float]:
    """Do the trials; return when the first one began and the last one was written."""
    task = _task(rows)
    task.score({"max_depth": 19, "min_samples_leaf": 2}, None)  # everything is imported
    if way == _PLAIN:
        return _plain(task, trials)
    import mlflow

    from tabular.pruners import pruner
    from tabular.samplers import sampler
    from tabular.searching import Search
    from tabular.study import Budget, open_study
    from tabular.study_storage import address_of, open_storage

    how = sampler("random", task.space, 1)
    storage = open_storage(address_of(""), name)
    study = open_study(storage, name, task.direction, how, pruner("none"))
    mlflow.set_experiment("bench")
    with mlflow.start_run():
        begin = time.time()
        Search(study, task, Budget(trials, None)).work()
        return begin, time.time()


def _plain(task: Any, trials: int) -> tuple[float, float]:  # noqa: ANN401 - see above
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    distributions = task.space.distributions()

    def objective(trial: Any) -> float:  # noqa: ANN401 - Optuna is imported here alone
        params = {name: trial._suggest(name, one) for name, one in distributions.items()}
        return float(task.score(params, None)[task.metric])

    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    begin = time.time()
    study.optimize(objective, n_trials=trials)
    return begin, time.time()


def _report(found: dict[str, Any]) -> None:
    median = {way: statistics.median(rates) for way, rates in found["rates"].items()}
    for way, rate in median.items():
        _say(f"{way}: {rate:.2f} trials/s (median)")
    _say(f"one worker / plain Optuna: {median[_ONE] / median[_PLAIN]:.3f}")
    _say(f"two workers / one worker: {median[_TWO] / median[_ONE]:.3f}")
    _say(f"load at the end: {', '.join(f'{one:.1f}' for one in found['load'])}")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
