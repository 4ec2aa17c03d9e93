"""How well and how fast `mlproject/images` learns the real MNIST: prints accuracy, time and size.

    make bench BENCH=mnist BENCH_ARGS='--data FOLDER [--train epochs=5 filters=16 ...]'

Needs MNIST's four files as they are published, train-images-idx3-ubyte.gz and so on, in
FOLDER/mnist; they are served on loopback in place of their public address. Returns 0 where the test
accuracy reaches 0.99. All steps run through MLflow Projects in the project's own environment.
Everything is written into a temporary folder, but the environment into the checkout's cache.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import mlflow
from tests.fixtures.loopback import serving

from understudy.devstack.place import CHECKOUT
from understudy.runner import projectfile
from understudy.runner.environment.store import EnvironmentStore
from understudy.runner.process.process import ProcessRunner
from understudy.runner.settings import Settings

PROJECT = CHECKOUT / "mlproject" / "images"
PUBLIC = "/cvdf-datasets/mnist"
GOAL = 0.99
SHOWN = ("accuracy", "log_loss", "latency_p50_ms", "latency_p95_ms", "model_bytes")


@dataclass(frozen=True)
class Cost:
    """What a step took.

    Attributes:
        wall: seconds from start to end.
        cpu: seconds of CPU time of its processes.
    """

    wall: float
    cpu: float


def step(entry_point: str, **parameters: str) -> str:
    """Run an entry point, print what it cost, return its run's id."""
    before, start = _children(), time.perf_counter()
    run = mlflow.projects.run(
        str(PROJECT), entry_point=entry_point, parameters=parameters, env_manager="local"
    )
    cost = Cost(time.perf_counter() - start, _children() - before)
    print(f"{entry_point:<10} {cost.wall:6.1f} s, {cost.cpu:6.1f} s of CPU time")  # noqa: T201 - a terminal program
    return str(run.run_id)


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def night(training: dict[str, str]) -> dict[str, float]:
    """Download, preprocess, train and validate; return what validate logged."""
    raw = f"runs:/{step('download', dataset='mnist')}/raw"
    data = f"runs:/{step('preprocess', raw=raw)}/data"
    model = f"runs:/{step('train', data=data, **training)}/model"
    validated = step("validate", data=data, model_uri=model)
    return dict(mlflow.MlflowClient().get_run(validated).data.metrics)


def main(argv: Sequence[str] | None = None) -> int:
    """Return 0 where the test accuracy reaches the goal, else 1."""
    parser = argparse.ArgumentParser(prog="bench mnist", description="How well is MNIST learned?")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--train", nargs="*", default=[], metavar="NAME=VALUE")
    asked = parser.parse_args(argv)
    files = {
        f"{PUBLIC}/{path.name}": path.read_bytes() for path in (asked.data / "mnist").iterdir()
    }
    with tempfile.TemporaryDirectory() as place, serving(files) as address:
        settings = Settings(CHECKOUT / ".state" / "cache", Path(place))
        project = projectfile.load(PROJECT, str(PROJECT))
        with EnvironmentStore(settings, ProcessRunner()).lease(project, "uv", print) as environment:
            os.environ |= {
                "MLFLOW_TRACKING_URI": f"sqlite:///{place}/mlflow.db",
                "PATH": f"{environment.bin}{os.pathsep}{os.environ['PATH']}",
                "UNDERSTUDY_DATA_MIRROR": address,
            }
            experiment = mlflow.create_experiment("mnist", artifact_location=f"{place}/artifacts")
            mlflow.set_experiment(experiment_id=experiment)
            values = night(dict(word.split("=", 1) for word in asked.train))
    for name in SHOWN:
        print(f"{name:<15} {values[name]:.6g}")  # noqa: T201 - a terminal program
    return int(values["accuracy"] < GOAL)
