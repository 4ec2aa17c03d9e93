"""The entry point `search` against a real store: what it logs, and what a kill leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from optuna.distributions import IntDistribution
from optuna.trial import create_trial

from shared.search_results import log_results
from shared.study import METRICS
from shared.tracking import Step, main
from tabular import search, train
from tabular.declaration import Column, Holdout
from tabular.facts import Facts
from tabular.folds import cut
from tabular.model_spaces import space_of
from tabular.preprocess import TRAIN_FILE, read_part
from tabular.search import CrossValidation
from tabular.split import with_row_ids

PROJECT = Path(search.__file__).parents[1]

pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings("default")]

SPACE = {"max_depth": {"low": 1, "high": 8}, "criterion": ["squared_error", "poisson"]}


@dataclass(frozen=True)
class Place:
    """A real MLflow store in SQLite, rows to train on, and a folder of studies."""

    client: MlflowClient
    experiment_id: str
    data: Path

    def run(self, step: Step, **values: Any) -> tuple[int, Any]:
        """Run a step in this process; return its exit status and its run."""
        run_id = self.client.create_run(self.experiment_id).info.run_id
        os.environ["MLFLOW_RUN_ID"] = run_id
        given = {"data": self.data, "model": "decision_tree", **values}
        try:
            status = main(step, [f"--{name}={value}" for name, value in given.items()])
        finally:
            os.environ.pop("MLFLOW_RUN_ID", None)
        return status, self.client.get_run(run_id)

    def trials(self, study: str) -> list[Any]:
        """Return the runs of a study's trials."""
        found = self.client.search_runs(
            [self.experiment_id], f"tags.`search.study` = '{study}'", max_results=1000
        )
        return [run for run in found if "search.trial" in run.data.tags]

    def json(self, run: Any, name: str) -> Any:  # noqa: ANN401 - JSON
        """Return a JSON artifact of a run."""
        path = mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path=name)
        return json.loads(Path(path).read_text())


def rows(folder: Path, **facts: Any) -> None:
    """Write what `preprocess` leaves: a hundred rows, some with a target below zero."""
    known = {name: Column() for name in ("day", "size", "price")}
    numbers = np.random.default_rng(1).normal(size=(100, 2))
    frame = pd.DataFrame({"size": numbers[:, 0], "price": 3 * numbers[:, 0] + numbers[:, 1]})
    frame, _ = with_row_ids(frame, ["size"])
    frame["day"] = pd.date_range("2026-01-01", periods=100, tz="UTC")[::-1]
    folder.mkdir(parents=True)
    frame.to_parquet(folder / TRAIN_FILE)
    Facts("demo", "regression", "price", known, ("size",), **facts).write(folder)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the address of a store of this module's own; everything points there."""
    uri, before = f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/m.db", mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(uri)
    yield uri
    mlflow.set_tracking_uri(before)


@pytest.fixture
def place(store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Return an experiment, rows and a folder of studies of the test's own."""
    rows(tmp_path / "data")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    monkeypatch.setenv("OPTUNA_STORAGE", str(tmp_path / "studies"))
    client, name = MlflowClient(), uuid.uuid4().hex
    experiment = client.create_experiment(name, artifact_location=str(tmp_path / "artifacts"))
    return Place(client, experiment, tmp_path / "data")


def test_a_study_in_one_process(place: Place, capfd: pytest.CaptureFixture[str]) -> None:
    """Trials are nested runs, failed ones say why; more trials go on; the best one can be trained.

    Poisson's criterion takes no target below zero, so that about half of the trials fail.
    """
    asked = {"space": json.dumps(SPACE), "trials": 12, "folds": 3}
    status, first = place.run(search.STEP, **asked)
    assert status == 0, capfd.readouterr().err
    study = first.data.tags["search.study"]
    assert study.startswith("demo-decision_tree-")
    trials = place.trials(study)
    assert {run.data.tags["mlflow.parentRunId"] for run in trials} == {first.info.run_id}
    assert sorted(int(run.data.tags["search.trial"]) for run in trials) == list(range(12))
    by_criterion = {
        (run.data.params["criterion"], run.info.status, "error" in run.data.tags) for run in trials
    }
    assert by_criterion == {
        ("squared_error", "FINISHED", False),
        ("poisson", "FAILED", True),
    }
    failed = next(run for run in trials if run.info.status == "FAILED")
    assert "poisson" in failed.data.tags["error"].lower()
    status, second = place.run(search.STEP, **{**asked, "trials": 20})
    assert second.data.tags["search.study"] == study
    trials = place.trials(study)
    assert len(trials) == 20
    assert second.data.metrics["trials_complete"] + second.data.metrics["trials_failed"] == 20
    best = place.json(second, "best_params.json")
    lowest = min(run.data.metrics["cv_rmse"] for run in trials if run.info.status == "FINISHED")
    assert second.data.metrics["cv_rmse"] == second.data.metrics["best_cv_rmse"] == lowest
    assert best["criterion"] == "squared_error"
    judged = {name: v for name, v in second.data.metrics.items() if name.startswith("unseen_")}
    assert judged["unseen_rows"] + len(cut_rows(place)) == 100
    assert judged["unseen_rmse"] > 0
    told = place.json(second, "study.json")
    assert told["unseen_rmse"] == judged["unseen_rmse"]
    assert f"on {judged['unseen_rows']:.0f} rows that no trial saw" in capfd.readouterr().out
    listed = {entry.path for entry in place.client.list_artifacts(second.info.run_id, "pictures")}
    assert {f"pictures/{name}.png" for name in ("course", "parameters", "seconds")} <= listed
    status, trained = place.run(train.STEP, **best)
    assert status == 0, capfd.readouterr().err
    assert trained.data.params["max_depth"] == str(best["max_depth"])


def cut_rows(place: Place) -> pd.DataFrame:
    """Return the rows that the trials of a search by the defaults see."""
    values = {"space": "", "fixed": "", "sampler": "tpe", "model": "decision_tree", "metric": ""}
    values |= {"folds": 3, "random_state": 42, "unseen_fraction": 0.1}
    facts, rows = Facts.read(place.data), read_part(place.data, TRAIN_FILE)
    made = search.cross_validation(values, facts, rows)
    assert not set(made.kept["size"]) & set(made.folds.rows["size"])
    return made.folds.rows


def test_numbers_that_cannot_be_drawn_cost_no_result(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the search found is logged first; matplotlib has no axis for all numbers there are."""
    facts = Facts.read(place.data)
    space = space_of('{"max_depth": [1, 2]}', "", "decision_tree", facts.task, grid=False)
    rows = read_part(place.data, TRAIN_FILE)
    folds, none = cut(rows, facts, 2, 0), rows.head(0)
    objective = CrossValidation("decision_tree", space, folds, none, "cv_rmse", "minimize", 0)
    trials = [
        create_trial(
            value=value,
            params={"max_depth": number},
            distributions={"max_depth": IntDistribution(1, 2)},
            user_attrs={METRICS: {"cv_rmse": value}},
        )
        for number, value in enumerate((1.7e308, -1.7e308), start=1)
    ]
    with mlflow.start_run(experiment_id=place.experiment_id) as run:
        log_results("study", objective, trials, {})
    assert place.json(run, "best_params.json")["max_depth"] == 2
    assert "not every picture could be drawn: ValueError" in capsys.readouterr().out


def test_a_killed_search_goes_on(
    stopped_in_a_trial: Callable[[int, Path], bool], place: Place, tmp_path: Path
) -> None:
    """Killed with -9 and run again: every place once, each trial one run, no run left RUNNING."""
    asked = {
        "model": "random_forest",
        "space": '{"max_depth": {"low": 1, "high": 8}}',
        "fixed": '{"n_estimators": 60}',
        "sampler": "random",
        "trials": 6,
        "folds": 2,
    }
    begun = place.client.create_run(place.experiment_id).info.run_id
    options = [f"--{name}={value}" for name, value in {"data": place.data, **asked}.items()]
    with subprocess.Popen(
        [sys.executable, "-m", "tabular.search", *options],
        cwd=PROJECT,
        env={**os.environ, "MLFLOW_RUN_ID": begun},
    ) as process:
        while not stopped_in_a_trial(process.pid, tmp_path / "studies"):
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGKILL)
    status, run = place.run(search.STEP, **asked)
    assert status == 0, run.data.tags.get("error")
    trials = place.trials(run.data.tags["search.study"])
    assert Counter(one.info.status for one in trials) == {"FINISHED": 6, "FAILED": 1}
    died = next(one for one in trials if one.info.status == "FAILED")
    assert "its worker ended without a word" in died.data.tags["error"]
    assert run.data.metrics["trials_complete"] == 6
    assert run.data.metrics["trials_died"] == 1
    undisturbed = tmp_path / "other"
    _, alone = place.run(search.STEP, **asked, storage=undisturbed)
    assert place.json(alone, "best_params.json") == place.json(run, "best_params.json")


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"space": "{}"}, "the search space is empty"),
        ({"space": '{"max_dept": [1, 2]}'}, "did you mean 'max_depth'?"),
        ({"metric": "accuracy"}, "metric 'accuracy' is unknown"),
        ({"folds": 90, "study": "a b"}, "study is 'a b'"),
        ({"storage": "sqlite://u:p@/x"}, "storage holds a password"),
        ({"storage": "postgresql://h/x?password=p"}, "storage holds a password: postgresql://h/x."),
        ({"fixed": "{"}, "parameter 'fixed' is '{'"),
        ({"fixed": '{"criterion": "poisson"}'}, "criterion is 'poisson' and the smallest target"),
        ({"fixed": '{"early_stopping_rounds": 5}'}, "early_stopping_rounds is 5 in a search"),
    ],
)
def test_wrong_input_is_refused_before_any_trial(
    place: Place, asked: dict[str, Any], words: str
) -> None:
    """The run fails with the reason; there is no trial."""
    status, run = place.run(search.STEP, **asked)
    assert (status, run.info.status) == (65, "FAILED")
    assert words in run.data.tags["error"]
    assert len(place.client.search_runs([place.experiment_id])) == 1


def test_without_a_good_trial_nothing_is_left_to_train(place: Place) -> None:
    """The search fails with the last trial's error, and there are no best parameters."""
    asked = {"space": '{"max_depth": [1, 2], "criterion": ["poisson"]}', "trials": 2}
    status, run = place.run(search.STEP, **asked, sampler="grid")
    assert (status, run.info.status) == (65, "FAILED")
    assert "none of 2 trials succeeded; the last one: ValueError" in run.data.tags["error"]
    listed = {entry.path for entry in place.client.list_artifacts(run.info.run_id)}
    assert "best_params.json" not in listed
    assert "trials.csv" in listed


def test_folds_keep_to_the_time_where_the_holdout_does(tmp_path: Path) -> None:
    """Every fold is judged on rows that are newer than those it was fitted on."""
    from tabular.folds import cut

    rows(tmp_path / "timed", time="day", holdout=Holdout("newest", 7))
    facts = Facts.read(tmp_path / "timed")
    frame = pd.read_parquet(tmp_path / "timed" / TRAIN_FILE)
    folds = cut(frame, facts, 4, 1)
    ordered = frame.sort_values("day")["size"].reset_index(drop=True)
    assert list(folds.rows["size"]) == list(ordered)
    assert all(max(fit) < min(judge) for fit, judge in folds.parts)
