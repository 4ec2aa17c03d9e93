"""The entry point `search` on digits: ended early, diverged, killed and gone on with, refused.

What every search does is tested in tests/shared.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from images import download, preprocess, search
from images.facts import TRAIN_FILE, VALIDATION_FILE, Facts
from images.judges import UNSEEN_FILE, Judges, metric_of, read_judges, without_unseen
from images.search import space_of
from images.tables import ROW_ID, read
from shared.errors import DataError

if TYPE_CHECKING:
    from tests.fixtures.project_store import ProjectStore


pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(1800),  # a dozen short trainings, on a machine that is busy
    # Warnings of MLflow and its dependencies about themselves.
    pytest.mark.filterwarnings("default"),
]

trains = pytest.mark.long("trains networks with TensorFlow")

EPOCHS = 3
FIXED = json.dumps({"epochs": EPOCHS, "batch_size": 32, "filters": 8})
RATES = [1e-8, 0.03, 0.02, 0.01, 0.005, 0.003]
"""The first one learns nothing; with this seed it is tried last, when five trials are finished."""


def prepared(store: ProjectStore, raw: Path, **given: Any) -> Path:
    """Return what `preprocess` leaves."""
    return store.path(store.good(preprocess.STEP, raw=raw, **given), "data")


@pytest.fixture(scope="module")
def raw(store: ProjectStore) -> Path:
    """Return the digits as of Saturday, the third of January."""
    return store.path(store.good(download.STEP, dataset="digits", as_of="2026-01-03"), "raw")


@pytest.fixture(scope="module")
def data(store: ProjectStore, raw: Path) -> Path:
    """Return the digits, with many to judge by."""
    return prepared(store, raw, validation_fraction=0.3)


@pytest.fixture(scope="module")
def in_turn(
    store: ProjectStore,
    raw: Path,
    data: Path,
    python: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> list[Any]:
    """Return the runs of searches, all done by one process."""
    studies = tmp_path_factory.mktemp("studies")
    asked = {"fixed": FIXED, "sampler": "grid", "storage": studies}
    endless = prepared(store, raw, validation_fraction=0.3, mean="1e38", std="1e-38")
    rates = json.dumps({"learning_rate": RATES})
    ended = store.in_turn(
        python,
        ("search", {**asked, "data": data, "space": rates, "unseen_fraction": 0}),
        ("search", {**asked, "data": endless, "space": '{"learning_rate": [0.01, 0.001]}'}),
        ("search", {**asked, "data": data, "space": '{"learning_rate": [0.03, 0.01]}'}),
    )
    assert [status for status, _ in ended] == [0, 65, 0]
    return [store.client.get_run(run_id) for _, run_id in ended]


@pytest.fixture(scope="module")
def trained(store: ProjectStore, data: Path, python: Path) -> Any:  # noqa: ANN401 - MLflow's run
    """Return the run of a training in a process of its own."""
    asked = {"data": data, "learning_rate": 0.01, **json.loads(FIXED)}
    ((status, run_id),) = store.in_turn(python, ("train", asked))
    assert status == 0
    return store.client.get_run(run_id)


def trials(store: ProjectStore, run: Any) -> list[Any]:  # noqa: ANN401 - MLflow's run
    """Return the runs of a search's trials, in their order."""
    wanted = f"tags.`search.study` = '{run.data.tags['search.study']}'"
    found = store.client.search_runs([store.experiment_id], wanted)
    below = [one for one in found if "search.trial" in one.data.tags]
    return sorted(below, key=lambda one: int(one.data.tags["search.trial"]))


def curve(store: ProjectStore, run: Any, name: str) -> list[float]:  # noqa: ANN401 - MLflow's run
    """Return the values of a metric, epoch by epoch."""
    return [point.value for point in store.client.get_metric_history(run.info.run_id, name)]


@trains
def test_trials_without_prospect_are_ended(store: ProjectStore, in_turn: list[Any]) -> None:
    """Their runs are KILLED, say after which epoch, and have the curve so far."""
    found = trials(store, in_turn[0])
    assert len(found) == len(RATES)
    pruned = [run for run in found if run.info.status == "KILLED"]
    assert {run.info.status for run in found} == {"FINISHED", "KILLED"}
    for run in pruned:
        epochs = len(curve(store, run, "epochs/val_accuracy"))
        assert 2 <= epochs < EPOCHS
        assert run.data.tags["search.pruned"] == f"after step {epochs}"
        assert "val_accuracy" not in run.data.metrics
    assert in_turn[0].data.metrics["trials_pruned"] == len(pruned) > 0
    whole = [run for run in found if run.info.status == "FINISHED"]
    best = max(run.data.metrics["val_accuracy"] for run in whole)
    assert in_turn[0].data.metrics["val_accuracy"] == best > 0.5
    table = pd.read_csv(store.path(in_turn[0].info.run_id, "trials.csv"))
    assert Counter(table["state"]) == {"complete": len(whole), "pruned": len(pruned)}
    drawn = store.files(in_turn[0].info.run_id, "pictures")
    assert {"course.png", "parameters.png", "curves.png"} <= drawn


@trains
def test_what_is_left_is_what_train_takes(
    store: ProjectStore,
    in_turn: list[Any],
    trained: Any,  # noqa: ANN401 - MLflow's run
) -> None:
    """And another process gets the very network that was judged, to the last bit of every loss.

    Unless images were kept from the trials: `train` takes these, too, so its network is another.
    """
    best = json.loads(store.path(in_turn[0].info.run_id, "best_params.json").read_text())
    assert best["learning_rate"] in RATES
    assert {name: best[name] for name in ("epochs", "filters", "random_state")} == {
        "epochs": EPOCHS,
        "filters": 8,
        "random_state": 42,
    }
    judged, of_fewer = (
        next(one for one in trials(store, run) if one.data.params["learning_rate"] == "0.01")
        for run in (in_turn[0], in_turn[2])
    )
    losses = curve(store, trained, "train_loss")
    assert curve(store, judged, "epochs/train_loss") == losses
    assert curve(store, of_fewer, "epochs/train_loss") != losses
    ours, theirs = judged.data.metrics, trained.data.metrics
    assert ours["val_accuracy"] == pytest.approx(theirs["best_validation_accuracy"])
    assert ours["val_log_loss"] == pytest.approx(theirs["best_validation_loss"], rel=1e-5)
    assert ours["best_epoch"] == theirs["best_epoch"]


@trains
def test_the_best_one_is_judged_by_images_that_no_trial_saw(in_turn: list[Any]) -> None:
    """A tenth of the 450 training images, by a network trained once more on the others."""
    run = in_turn[2]
    assert 30 < run.data.metrics["unseen_rows"] < 70
    assert run.data.metrics["unseen_accuracy"] > 0.5
    assert not any(name.startswith("unseen_") for name in in_turn[0].data.metrics)


@trains
def test_a_trial_that_diverges_is_a_failed_run(store: ProjectStore, in_turn: list[Any]) -> None:
    """With the reason; the next one is tried. Where all do, nothing is left to train with."""
    found = trials(store, in_turn[1])
    assert [run.info.status for run in found] == ["FAILED", "FAILED"]
    words = "the training diverged: train_loss is nan in batch 1 of epoch 1"
    assert all(run.data.tags["error"].startswith(words) for run in found)
    assert (
        in_turn[1]
        .data.tags["error"]
        .startswith(f"none of 2 trials succeeded; the last one: {words}")
    )
    assert in_turn[1].data.metrics["trials_failed"] == 2
    assert "best_params.json" not in store.files(in_turn[1].info.run_id)


@trains
def test_killed_and_gone_on_with_by_two(
    stopped_in_a_trial: Callable[[int, Path], bool],
    store: ProjectStore,
    data: Path,
    python: Path,
    tmp_path: Path,
) -> None:
    """Killed with -9 in a trial; two workers finish the study: each place once, no run RUNNING."""
    asked = {
        "data": data,
        "space": '{"learning_rate": {"low": 0.0001, "high": 0.01, "log": true}}',
        "fixed": FIXED,
        "sampler": "random",
        "trials": 5,
        "metric": "log_loss",
        "pruner": "halving",
        "storage": tmp_path,
    }
    killed, _ = started(store, python, asked)
    while not stopped_in_a_trial(killed.pid, tmp_path):
        assert killed.poll() is None
        time.sleep(0.05)
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    workers = [started(store, python, asked) for _ in range(2)]
    assert [process.wait() for process, _ in workers] == [0, 0]
    ended = [store.client.get_run(run_id) for _, run_id in workers]
    found = trials(store, ended[0])
    states = Counter(run.info.status for run in found)
    assert states["FAILED"] == 1
    assert states["FINISHED"] + states["KILLED"] == 5
    assert len({run.data.tags["search.trial"] for run in found}) == len(found) == 6
    died = next(run for run in found if run.info.status == "FAILED")
    assert "its worker ended without a word" in died.data.tags["error"]
    left = [store.path(run.info.run_id, "best_params.json").read_text() for run in ended]
    assert left[0] == left[1]
    least = min(run.data.metrics.get("val_log_loss", np.inf) for run in found)
    assert ended[0].data.metrics["best_val_log_loss"] == least


def started(store: ProjectStore, python: Path, asked: dict[str, Any]) -> tuple[Any, str]:
    """Start a search in a process of its own; return it and its run."""
    run_id = store.client.create_run(store.experiment_id).info.run_id
    options = [f"--{name}={value}" for name, value in asked.items()]
    process = subprocess.Popen(
        [python, "-m", "images.search", *options],
        cwd=store.project_folder,
        env={**os.environ, "MLFLOW_RUN_ID": run_id},
        stdout=subprocess.DEVNULL,
    )
    return process, run_id


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"space": "{}"}, "the search space is empty. Allowed: one or more of learning_rate"),
        ({"space": '{"learning_rat": [0.1, 1]}'}, "(did you mean 'learning_rate'?)"),
        ({"space": '{"random_state": [1, 2]}'}, "'random_state' is no parameter here"),
        ({"space": '{"learning_rate": [0, 0.1]}'}, "'learning_rate' is '0'. Allowed: a finite"),
        ({"space": '{"learning_rate": [-0.1, 0.1]}'}, "'learning_rate' is '-0.1'"),
        ({"space": '{"learning_rate": [NaN, 0.1]}'}, "'learning_rate' is 'nan'"),
        ({"space": '{"learning_rate": {"low": 0, "high": 1}}'}, "'learning_rate' is '0'"),
        ({"space": '{"epochs": {"low": 0.5, "high": 3}}'}, "'epochs' is '0.5'"),
        ({"space": '{"schedule": ["cosin", "constant"]}'}, "(did you mean 'cosine'?)"),
        ({"space": '{"filters": [8]}'}, "the search space has one point only"),
        ({"fixed": '{"lr": 1}'}, "fixed: 'lr' is no parameter here"),
        ({"fixed": '{"dropout": 1}'}, "'dropout' is '1'. Allowed: a finite number >= 0 and < 1"),
        ({"pruner": "medain"}, "(did you mean 'median'?)"),
        ({"metric": "loss"}, "metric 'loss' is unknown (did you mean 'log_loss'?)"),
        ({"metric": "rmse"}, "metric 'rmse' is unknown"),
        ({"sampler": "grid", "space": "default"}, "would try every value of learning_rate"),
    ],
)
def test_wrong_input_is_refused_before_any_trial(
    store: ProjectStore, data: Path, asked: dict[str, Any], words: str
) -> None:
    """The run fails with the reason, before TensorFlow is imported; it has no number."""
    code, message = store.bad(search.STEP, data=data, **asked)
    assert code == 65
    assert words in message


def test_images_that_cannot_judge_are_refused(
    store: ProjectStore, raw: Path, tmp_path: Path
) -> None:
    """None were set aside; or the metric is not defined without a class that they lack."""
    with_none = prepared(store, raw, validation_fraction=0)
    code, message = store.bad(search.STEP, data=with_none)
    assert (code, "no validation images" in message) == (65, True)
    assert "-P validation_fraction=0.1 to preprocess" in message
    facts = Facts("x", (6, 5, 1), ("a", "b", "c"), mean=(1.0,), std=(1.0,))
    some = Judges(tmp_path, facts, pd.Series(["a", "b", "a"]), "")
    assert metric_of("", some) == ("val_accuracy", "maximize")
    assert metric_of("val_log_loss", some) == ("val_log_loss", "minimize")
    with pytest.raises(DataError, match=re.escape("do not define roc_auc, for they have 2 of 3")):
        metric_of("roc_auc", some)


def test_spaces_by_name() -> None:
    """Ranges, three learning rates by three widths; what has one value is not searched."""
    assert set(space_of("", "", grid=False).dimensions) == {
        *("learning_rate", "filters", "dropout", "batch_size")
    }
    assert space_of("", "", grid=True).size == 9
    fixed = space_of("", '{"filters": 8, "epochs": 2}', grid=True)
    assert (set(fixed.dimensions), fixed.fixed) == ({"learning_rate"}, {"filters": 8, "epochs": 2})
    named = space_of('{"epochs": {"low": 2, "high": 8, "step": 2}}', "", grid=True)
    assert [point["epochs"] for point in named.points()] == [2, 4, 6, 8]


def test_no_image_judges_what_it_was_fitted_on(
    store: ProjectStore,
    npz: Callable[..., bytes],
    random_images: Callable[..., Any],
    tmp_path: Path,
) -> None:
    """Images that are there thrice lie in one part each: fitted, judging, or seen by no trial."""
    different = random_images(120, 6, 5, seed=1)
    pixels = np.repeat(different, 3, axis=0)
    labels = np.repeat(np.arange(120) % 2, 3)
    file = tmp_path / "thrice.npz"
    file.write_bytes(npz(x_train=pixels, y_train=labels))
    raw = store.path(store.good(download.STEP, dataset="npz", source=file), "raw")
    folder = prepared(store, raw, validation_fraction=0.3)
    judges = read_judges(folder, Facts.read(folder))
    part = tmp_path / "part"
    part.mkdir()
    kept = without_unseen(judges, 0.3, part)
    parts = [
        {
            image.tobytes()
            for some in read(part / name, judges.facts.shape, ROW_ID)
            for image in some.pixels
        }
        for name in (TRAIN_FILE, VALIDATION_FILE, UNSEEN_FILE)
    ]
    assert all(parts)
    assert not any(one & other for one, other in itertools.combinations(parts, 2))
    assert judges.repeated == 2 * sum(map(len, parts))
    assert len(kept.unseen) == len(kept.whose) == 3 * len(set(kept.whose)) == 3 * len(parts[2])
    answers = np.tile([0.6, 0.4], (len(kept.unseen), 1))
    figures = kept.unseen_figures(answers, "val_accuracy")
    assert figures["unseen_accuracy"] == pytest.approx((kept.unseen == "0").mean())
    # As many answers as different images count: equal ones are right or wrong together.
    share, number = figures["unseen_accuracy"], len(parts[2])
    expected = np.sqrt(share * (1 - share) / number)
    assert figures["unseen_accuracy_se"] == pytest.approx(expected, rel=0.6)
    assert list(kept.targets) == list(judges.targets)


def test_too_few_images_are_kept_from_none(data: Path, tmp_path: Path) -> None:
    """Then the trials see all, as they do where nothing is to be kept from them."""
    judges = read_judges(data, Facts.read(data))
    for fraction in (0.0, 0.001):
        part = tmp_path / str(fraction)
        part.mkdir()
        assert without_unseen(judges, fraction, part) is judges
