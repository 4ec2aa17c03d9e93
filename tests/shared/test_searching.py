"""What a search does whatever it judges: prunes unpromising trials, fails bad ones, goes on."""

from __future__ import annotations

import json
import math
import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import mlflow
import pandas as pd
import pytest
from mlflow import MlflowClient
from optuna.trial import TrialState

from shared import objective as objectives
from shared import searching
from shared.errors import DataError
from shared.objective import Report, pruner
from shared.search_results import command
from shared.search_space import Choices, Space
from shared.study import Budget, SharedStudy, has_died, open_study
from shared.study_storage import open_storage

pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings("default")]

STEPS = 6
QUALITIES = tuple(round(0.1 * number, 1) for number in range(1, 10))
SPACE = Space({"quality": Choices(QUALITIES)}, {"epochs": STEPS})


def learned(params: Mapping[str, Any], report: Report) -> float:
    """Get better step by step, up to the trial's own quality."""
    for step in range(1, STEPS + 1):
        value = float(params["quality"]) * step / STEPS
        report(step, value, {"epochs/val_accuracy": value}, last=step == STEPS)
    return value


def flattered(params: Mapping[str, Any]) -> dict[str, float]:
    """Return a figure that is a little worse than the trial's."""
    worse = float(params["quality"]) - 0.05
    return {"unseen_rows": 50.0, "unseen_accuracy": worse, "unseen_accuracy_se": 0.02}


@dataclass(frozen=True)
class Learner:
    """An objective whose trials take no time."""

    project: ClassVar[str] = "tabular"

    learn: Callable[[Mapping[str, Any], Report], float] = learned
    again: Callable[[Mapping[str, Any]], dict[str, float]] = flattered
    space: Space = SPACE
    metric: str = "val_accuracy"
    direction: str = "maximize"

    def parameters(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return what would be trained."""
        return {**self.space.fixed, **params}

    def score(self, params: Mapping[str, Any], report: Report) -> dict[str, float]:
        """Return what the trial learned."""
        return {"val_accuracy": self.learn(params, report)}

    def unseen(self, params: Mapping[str, Any]) -> dict[str, float]:
        """Return a figure that is always a little worse."""
        return self.again(params)


@dataclass(frozen=True)
class Done:
    """A search that has ended: its run, and those of its trials."""

    run: Any
    trials: list[Any]
    client: MlflowClient

    def curve(self, run: Any) -> list[int]:  # noqa: ANN401 - MLflow's run
        """Return the steps of a trial's curve."""
        points = self.client.get_metric_history(run.info.run_id, "epochs/val_accuracy")
        return [point.step for point in points]

    def file(self, name: str) -> Path:
        """Return a local copy of an artifact of the search's run."""
        uri = f"runs:/{self.run.info.run_id}/{name}"
        return Path(mlflow.artifacts.download_artifacts(uri))


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowClient]:
    """Return the client of a real store in SQLite, to which everything points."""
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/mlflow.db")
    yield MlflowClient()
    mlflow.set_tracking_uri(before)


@pytest.fixture
def search(client: MlflowClient, tmp_path: Path) -> Callable[..., Done]:
    """Return a function that conducts a search in an experiment of the test's own."""
    name = uuid.uuid4().hex
    experiment = client.create_experiment(name, artifact_location=str(tmp_path / "art"))

    def conducted(objective: Learner, ends: str = objectives.MEDIAN, **given: Any) -> Done:
        defaults = {option.name: option.default for option in searching.OPTIONS}
        values = {**defaults, "sampler": "grid", "storage": str(tmp_path / "studies"), **given}
        with mlflow.start_run(experiment_id=experiment) as active:
            searching.begin(values, objective, pruner(ends), "demo", []).conduct()
        run = client.get_run(active.info.run_id)
        wanted = f"tags.`search.study` = '{run.data.tags['search.study']}'"
        found = client.search_runs([experiment], wanted)
        trials = [one for one in found if "search.trial" in one.data.tags]
        return Done(run, sorted(trials, key=lambda one: int(one.data.tags["search.trial"])), client)

    return conducted


def test_the_median_ends_trials_without_prospect(search: Callable[..., Done]) -> None:
    """Not the first five, not at the first step; their runs are KILLED, with the curve so far."""
    done = search(Learner())
    pruned = [run for run in done.trials if run.info.status == "KILLED"]
    assert 0 < len(pruned) < 5
    assert {run.info.status for run in done.trials[:5]} == {"FINISHED"}
    for run in pruned:
        assert done.curve(run) == [1, 2]
        assert run.data.tags["search.pruned"] == "after step 2"
        assert "val_accuracy" not in run.data.metrics
    whole = [run for run in done.trials if run.info.status == "FINISHED"]
    assert all(done.curve(run) == [1, 2, 3, 4, 5, 6] for run in whole)
    assert done.run.data.metrics["trials_pruned"] == len(pruned)
    assert json.loads(done.file("best_params.json").read_text()) == {"epochs": 6, "quality": 0.9}
    table = pd.read_csv(done.file("trials.csv"))
    assert set(table[table["state"] == "pruned"]["steps"]) == {2}
    assert done.file("pictures/curves.png").stat().st_size > 0


@pytest.mark.parametrize(
    ("tags", "line"),
    [
        (
            {
                "mlflow.source.name": "file:///srv/my models#tabular",
                "mlflow.source.git.commit": "c",
            },
            "mlflow run 'file:///srv/my models#tabular' -e train -P data=runs:/1/data -P",
        ),
        (
            {"mlflow.source.name": "https://git.example/m#t", "mlflow.source.git.commit": "c1"},
            "mlflow run 'https://git.example/m#t' --version c1 -e train -P data=runs:/1/data -P",
        ),
    ],
)
def test_the_line_that_trains_can_be_pasted(
    client: MlflowClient, tags: dict[str, str], line: str
) -> None:
    """It names the project as the search was started from it, its commit, and the same data."""
    experiment = client.create_experiment(uuid.uuid4().hex)
    kind = {"mlflow.source.type": "PROJECT"}
    with mlflow.start_run(experiment_id=experiment, tags={**tags, **kind}):
        mlflow.log_param("data", "runs:/1/data")
        assert command({"model": "tree"}) == f"{line} model=tree"


def test_halving_ends_most_at_once(search: Callable[..., Done]) -> None:
    """At steps 1, 2 and 4, and from the first trials on; the best one is found all the same."""
    done = search(Learner(), objectives.HALVING)
    steps = [len(done.curve(run)) for run in done.trials if run.info.status == "KILLED"]
    assert set(steps) <= {1, 2, 4}
    assert steps.count(1) >= 2
    assert done.run.data.metrics["val_accuracy"] == pytest.approx(0.9)


def test_without_a_pruner_every_trial_is_done(search: Callable[..., Done]) -> None:
    """And all have their curves."""
    done = search(Learner(), objectives.NONE)
    assert {run.info.status for run in done.trials} == {"FINISHED"}
    assert all(len(done.curve(run)) == STEPS for run in done.trials)


def test_nobody_is_ended_at_the_last_step(search: Callable[..., Done]) -> None:
    """There is nothing to be saved by it."""

    def late(params: Mapping[str, Any], report: Report) -> float:
        for step in range(1, STEPS + 1):
            value = float(params["quality"]) if step == STEPS else 0.0
            report(step, value, {"epochs/val_accuracy": value}, last=step == STEPS)
        return value

    done = search(Learner(late))
    assert {run.info.status for run in done.trials} == {"FINISHED"}


def test_what_diverges_is_a_failed_run_with_its_curve(search: Callable[..., Done]) -> None:
    """Whether the training says so, or the result is no number; the study goes on."""

    def diverging(params: Mapping[str, Any], report: Report) -> float:
        if params["quality"] == 0.1:
            report(1, 0.1, {"epochs/val_accuracy": 0.1})
            raise DataError("the training diverged", allowed="numbers", action="go slower")
        return math.nan if params["quality"] == 0.2 else learned(params, report)

    done = search(Learner(diverging))
    failed = {run.data.params["quality"]: run for run in done.trials if run.info.status == "FAILED"}
    assert set(failed) == {"0.1", "0.2"}
    assert failed["0.1"].data.tags["error"].startswith("the training diverged")
    assert done.curve(failed["0.1"]) == [1]
    assert "val_accuracy: it is nan" in failed["0.2"].data.tags["error"]
    assert done.run.data.metrics["trials_failed"] == 2
    assert done.run.data.metrics["trials_died"] == 0
    assert len(done.trials) == len(QUALITIES)


def test_the_best_one_is_judged_by_what_no_trial_saw(
    search: Callable[..., Done], capsys: pytest.CaptureFixture[str]
) -> None:
    """Once, however often the study is gone on with; a larger study with another winner anew."""
    asked = list[float]()

    def again(params: Mapping[str, Any]) -> dict[str, float]:
        asked.append(float(params["quality"]))
        return flattered(params)

    learner = Learner(again=again)
    done = [search(learner, trials=number, random_state=1) for number in (3, 3, 9, 9)]
    best = [run.run.data.metrics["val_accuracy"] for run in done]
    assert best[0] == best[1] < best[2] == best[3] == 0.9
    assert asked == [pytest.approx(best[0]), 0.9]
    for one in done:
        found = one.run.data.metrics
        assert found["unseen_accuracy"] == pytest.approx(found["val_accuracy"] - 0.05)
        assert json.loads(one.file("study.json").read_text())["unseen_rows"] == 50
    words = (
        "on 50 rows that no trial saw: unseen_accuracy 0.85 +- 0.02 (standard error); the best of"
    )
    assert words in capsys.readouterr().out


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (dict[str, float](), "no rows were kept from the trials: the best of"),
        ({"unseen_rows": 12.0}, "the 12 rows that no trial saw define no accuracy: the best of"),
        (None, "the best trial could not be judged by rows that none saw: no room"),
    ],
)
def test_without_such_a_figure_the_search_has_its_result(
    search: Callable[..., Done],
    capsys: pytest.CaptureFixture[str],
    found: dict[str, float] | None,
    words: str,
) -> None:
    """The log says why there is none."""

    def again(_params: Mapping[str, Any]) -> dict[str, float]:
        if found is None:
            raise DataError("no room", allowed="room", action="make some")
        return found

    done = search(Learner(again=again))
    assert json.loads(done.file("best_params.json").read_text())["quality"] == 0.9
    assert words in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "number", "words"),
    [
        ({}, 9, "the grid has 9 points, all of which are tried"),
        ({"trials": 4}, 4, "the grid has 9 points, 5 of which are left out: trials is 4"),
        ({"sampler": "random"}, searching.USUAL_TRIALS, ""),
    ],
)
def test_how_much_of_a_grid_is_tried(
    search: Callable[..., Done],
    capsys: pytest.CaptureFixture[str],
    given: dict[str, Any],
    number: int,
    words: str,
) -> None:
    """All unless somebody bounds it; what is left out is said first and last, and the time."""
    done = search(Learner(), objectives.NONE, **given)
    assert len(done.trials) == number
    said = capsys.readouterr().out
    assert words in said
    assert re.search(r"\d+ of \d+ (points|trials) are left, about \d+ s\n", said)
    told = json.loads(done.file("study.json").read_text())
    if words:
        assert f"{number} of the grid's 9 points tried, {9 - number} left out" in said
        assert (told["points"], told["points_left_out"]) == (9, 9 - number)
    else:
        assert "points" not in told


def test_minutes_alone_bound_a_search(search: Callable[..., Done]) -> None:
    """It does as many trials as they hold."""
    done = search(Learner(), objectives.NONE, sampler="random", minutes=0.02)
    assert len(done.trials) > searching.USUAL_TRIALS


def test_one_whose_place_was_taken_over_stops(tmp_path: Path) -> None:
    """Others took its worker for dead, so that what it goes on with would count for nothing."""
    objective = Learner()
    storage = open_storage(str(tmp_path), "s")
    how = searching.samplers.sampler("random", objective.space, 1)
    study = open_study(storage, "s", "maximize", how, pruner(objectives.MEDIAN))
    shared = SharedStudy(study, objective.space, Budget(1, None), lambda _dead: None)
    trial = shared.next()
    assert trial is not None
    assert shared.has_prospect(trial, 1, 0.5)
    study.tell(trial.number, state=TrialState.FAIL)
    assert not shared.has_prospect(trial, 2, 0.6)
    assert not shared.pruned(trial, [(1, 0.0, {"x": 1.0})])
    assert has_died(study.trials[0])
