"""Nights that search: two workers on one study, one of them killed, and a night that is cleared."""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

if TYPE_CHECKING:
    from tests.fixtures.airflow import Installation

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(3600),
    pytest.mark.long("dozens of trainings, and TensorFlow's environment"),
]

LIMIT = 1500
"""Seconds that a night may take on a machine that is busy."""
FORCED = 3
"""Dashes in the name of a forced night's study: pipeline, code, night, content."""


def studies(installation: Installation, pipeline: str = "searching") -> dict[str, list[Any]]:
    """Return the runs of trials, by study."""
    found: dict[str, list[Any]] = {}
    for run in installation.runs(pipeline):
        if "search.trial" in run.data.tags:
            found.setdefault(run.data.tags["search.study"], []).append(run)
    return found


def searches(installation: Installation, night: str) -> list[Any]:
    """Return the runs of a night's workers, also of those that died."""
    wanted = f"tags.`understudy.task_id` = 'search' AND tags.`understudy.dag_run_id` = '{night}'"
    return installation.runs("searching", wanted)


def trained(installation: Installation, night: str, pipeline: str = "searching") -> Any:  # noqa: ANN401 -- MLflow's run
    """Return the run of a night's training."""
    wanted = f"tags.`understudy.task_id` = 'train' AND tags.`understudy.dag_run_id` = '{night}'"
    (run,) = installation.runs(pipeline, wanted)
    return run


def test_two_workers_search_and_the_best_is_trained(
    installation: Installation, tmp_path: Path
) -> None:
    """One study, ten trials below both workers; what the training got is the best of them."""
    installation.trigger("searching", "first")
    assert installation.wait("searching", "first", LIMIT) == "success"
    ((study, trials),) = studies(installation).items()
    assert study.startswith("searching-")
    assert sorted(int(run.data.tags["search.trial"]) for run in trials) == list(range(10))
    workers = searches(installation, "first")
    assert {run.data.tags["mlflow.parentRunId"] for run in trials} <= {
        run.info.run_id for run in workers
    }
    best = min(trials, key=lambda run: run.data.metrics["cv_rmse"])
    path = installation.client.download_artifacts(
        workers[0].info.run_id, "best_params.json", str(tmp_path)
    )
    left = json.loads(Path(path).read_text())
    assert left["n_estimators"] == 60
    assert str(left["max_depth"]) == best.data.params["max_depth"]
    got = trained(installation, "first").data.params
    assert {name: got[name] for name in left} == {name: str(v) for name, v in left.items()}
    (night,) = installation.nights("searching")
    assert night["understudy.outcome"] == "PROMOTED"
    shown = [{**run.data.tags, **run.data.params} for run in workers]
    assert not any("studies" in text for texts in shown for text in texts.values())


def test_a_killed_worker_s_trial_is_tried_again(installation: Installation) -> None:
    """The step is killed with -9 in the middle of a trial; the night ends as if it had not been.

    Cleared afterwards, it searches nothing again.
    """
    installation.trigger("searching", "second", force=True, trials=16)
    _killed_in_a_trial(installation)
    assert installation.wait("searching", "second", LIMIT) == "success"
    (study,) = (name for name in studies(installation) if name.count("-") == FORCED)
    trials = studies(installation)[study]
    statuses = Counter(run.info.status for run in trials)
    assert statuses == {"FINISHED": 16, "FAILED": 1}
    assert sum(statuses.values()) == len({run.data.tags["search.trial"] for run in trials})
    body = {"dry_run": False, "only_failed": False, "task_ids": ["search"]}
    installation.call(
        "POST",
        "dags/searching/clearTaskInstances",
        **body,
        dag_run_id="second",
        include_downstream=True,
    )
    assert installation.wait("searching", "second", LIMIT) == "success"
    assert len(studies(installation)[study]) == len(trials)


def _killed_in_a_trial(installation: Installation) -> None:
    """End a worker of the forced night's study, surely in the middle of a trial."""
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        for pid in _at_work(installation):
            os.kill(pid, signal.SIGSTOP)
            if pid in _at_work(installation):
                os.kill(pid, signal.SIGKILL)
                return
            os.kill(pid, signal.SIGCONT)
        time.sleep(0.2)
    pytest.fail(f"no worker has begun a trial: {installation.tasks('searching', 'second')}")


def _at_work(installation: Installation) -> set[int]:
    """Return the processes that have a trial of the forced night's study."""
    names = [file.stem for file in installation.stack.place.studies.glob("searching-*.journal")]
    found: set[int] = set()
    for name in (one for one in names if one.count("-") == FORCED):
        file = installation.stack.place.studies / f"{name}.journal"
        storage = JournalStorage(JournalFileBackend(str(file)))
        study = optuna.load_study(study_name=name, storage=storage)
        running = (one for one in study.trials if one.state == TrialState.RUNNING)
        found |= {one.user_attrs["worker"]["pid"] for one in running if "worker" in one.user_attrs}
    return found


def _curve(installation: Installation, run: Any, name: str) -> list[float]:  # noqa: ANN401 -- MLflow's run
    """Return the values of a metric, epoch by epoch."""
    return [one.value for one in installation.client.get_metric_history(run.info.run_id, name)]


def test_two_workers_search_a_network(installation: Installation) -> None:
    """By the validation images, by the gate's metric; the best network is trained and promoted.

    No image is kept from the trials, so it is the very network that was judged.
    """
    installation.trigger("searching_images", "night")
    assert installation.wait("searching_images", "night", LIMIT) == "success"
    ((_, trials),) = studies(installation, "searching_images").items()
    states = Counter(run.info.status for run in trials)
    assert states["FINISHED"] + states["KILLED"] == len(trials) == 4
    whole = [run for run in trials if run.info.status == "FINISHED"]
    best = max(whole, key=lambda run: run.data.metrics["val_accuracy"])
    again = trained(installation, "night", "searching_images")
    got = again.data
    assert _curve(installation, again, "train_loss") == _curve(
        installation, best, "epochs/train_loss"
    )
    assert got.params["learning_rate"] == best.data.params["learning_rate"]
    assert got.params["epochs"] == "3"
    assert got.metrics["best_validation_accuracy"] == pytest.approx(
        best.data.metrics["val_accuracy"]
    )
    (night,) = installation.nights("searching_images")
    assert night["understudy.outcome"] == "PROMOTED"
