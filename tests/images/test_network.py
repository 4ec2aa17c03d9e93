"""The steps with TensorFlow, in the project's own environment: trained, exported, served, repeated.

Digits of 8 x 8 pixels and few epochs: enough to see that everything holds together. How well the
network does on the real MNIST is measured by `tests/bench/mnist.py`.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import mlflow
import numpy as np
import pandas as pd
import pytest
from uv import find_uv_bin

from images import download, metrics, preprocess
from images.facts import Facts
from images.tables import ROW_ID, read
from shared.metrics import CLASSIFICATION, classification

if TYPE_CHECKING:
    from tests.fixtures.project_store import ProjectStore


pytestmark = [
    pytest.mark.integration,
    pytest.mark.long("trains networks with TensorFlow, and serves one"),
    # Warnings of MLflow and its dependencies about themselves.
    pytest.mark.filterwarnings("default"),
]

ASK_SAVED_MODEL = Path(__file__).parents[1] / "programs" / "ask_saved_model.py"
PROJECT = Path(__file__).parents[2] / "mlproject" / "images"
START_LIMIT = 240  # seconds
ASKED = 5
"""Images that are sent to a server."""


@dataclass(frozen=True)
class Night:
    """The runs of one night, and the data that went through it."""

    data: Path
    train: str
    validate: str

    @property
    def model(self) -> str:
        """Address of the trained model."""
        return f"runs:/{self.train}/model"

    def holdout(self) -> tuple[list[str], np.ndarray[Any, Any]]:
        """Return row ids and raw images, as a client has them."""
        facts = Facts.read(self.data)
        (some,) = read(self.data / "holdout.parquet", facts.shape, ROW_ID)
        return some.marks, some.pixels.reshape(-1, *facts.image_shape)


PARAMETERS = {"epochs": 4, "batch_size": 16}


@pytest.fixture(scope="module")
def night(store: ProjectStore, python: Path) -> Night:
    """Return one night of digits, its heavy steps through MLflow Projects."""
    raw = store.path(store.good(download.STEP, dataset="digits"), "raw")
    data = store.path(store.good(preprocess.STEP, raw=raw), "data")
    trained = store.project("train", python, data=str(data), **PARAMETERS)
    model = f"runs:/{trained}/model"
    validated = store.project("validate", python, data=str(data), model_uri=model)
    return Night(data, trained, validated)


CURVES = {f"{part}_{figure}" for part in ("train", "validation") for figure in ("loss", "accuracy")}


def test_train_keeps_the_contract(store: ProjectStore, night: Night) -> None:
    """Params, curves, the dataset, pictures, and a model that says what it takes and gives."""
    run = store.client.get_run(night.train)
    best = {f"best_{name}" for name in CURVES}
    assert set(run.data.metrics) == CURVES | best | {"learning_rate", "epochs_run", "best_epoch"}
    assert run.data.params["epochs"] == "4"
    assert run.data.params["dataset"] == "digits"
    assert [entry.dataset.name for entry in run.inputs.dataset_inputs] == ["digits"]
    assert run.info.run_name == "train epochs=4, batch_size=16"
    assert store.files(night.train) == {
        *("pictures", "saved_model", "checkpoints", "tensorboard_logs", "model_summary.txt"),
    }
    losses = [m.value for m in store.client.get_metric_history(night.train, "validation_loss")]
    better = [n for n, loss in enumerate(losses, 1) if loss < min([*losses[: n - 1], np.inf])]
    weights = {f"epoch_{number:03}.weights.h5" for number in better}
    assert store.files(night.train, "checkpoints") == weights
    for part in ("train", "validation"):
        folder = store.path(night.train, f"tensorboard_logs/{part}")
        (events,) = folder.iterdir()
        assert events.read_bytes().count(b"epoch_loss") == 4
    summary = (store.path(night.train, "model_summary.txt")).read_text()
    assert "convolution_1" in summary
    rates = store.client.get_metric_history(night.train, "learning_rate")
    assert [rate.step for rate in rates] == [1, 2, 3, 4]
    assert sorted((rate.value for rate in rates), reverse=True) == [rate.value for rate in rates]
    assert run.data.metrics["best_validation_loss"] == min(losses)
    (model,) = store.client.search_logged_models([store.experiment_id])
    assert model.name == "model"
    needed = Path(mlflow.pyfunc.get_model_dependencies(night.model)).read_text().split()
    assert {line.partition("==")[0].removesuffix("-cpu") for line in needed} == {
        *("mlflow-skinny", "keras", "numpy", "pandas", "tensorflow"),
    }


def test_validate_keeps_the_contract(store: ProjectStore, night: Night) -> None:
    """Metrics under plain names and per class; predictions from which they are computed again."""
    values = store.metrics(night.validate)
    per_class = {f"{figure}_{digit}" for figure in metrics.PER_CLASS for digit in range(10)}
    costs = {"model_bytes", "latency_p50_ms", "latency_p95_ms"}
    assert set(values) == {*CLASSIFICATION, *per_class, *costs}
    assert values["accuracy"] > 0.8
    assert store.files(night.validate) == {"predictions.parquet", "per_class.csv", "pictures"}
    drawn = {"confusion_matrix.png", "worst_mistakes.png"}
    assert store.files(night.validate, "pictures") == drawn
    tags = store.tags(night.validate)
    assert set(tags) == {"data.sha256", "data.holdout.sha256"}
    rows = pd.read_parquet(store.path(night.validate, "predictions.parquet"))
    classes = [f"probability_{digit}" for digit in range(10)]
    assert list(rows.columns) == ["row_id", "target", "prediction", *classes]
    again = classification(
        rows["target"],
        rows["prediction"],
        rows[classes].rename(columns=lambda name: name.removeprefix("probability_")),
    )
    assert again == pytest.approx({name: values[name] for name in again})


def test_the_same_digest_of_the_holdout_as_preprocess(store: ProjectStore, night: Night) -> None:
    """By which the gate knows that both models saw the same images."""
    raw = store.path(store.good(download.STEP, dataset="digits"), "raw")
    run = store.good(preprocess.STEP, raw=raw)
    digest = store.tags(run)["data.holdout.sha256"]
    assert store.tags(night.validate)["data.holdout.sha256"] == digest


def predictions(store: ProjectStore, run_id: str) -> pd.DataFrame:
    """Return the probabilities by row id."""
    rows = pd.read_parquet(store.path(run_id, "predictions.parquet")).set_index("row_id")
    return rows[[name for name in rows.columns if name.startswith("probability_")]]


@pytest.fixture(scope="module")
def serving_client(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with TensorFlow Serving's own client library, of TensorFlow's version."""
    folder = tmp_path_factory.mktemp("client")
    named = re.search(
        r"^tensorflow==(\S+)", (PROJECT / "requirements.in").read_text(), re.MULTILINE
    )
    assert named
    # Of what it depends on, which is TensorFlow, the environment has the build without CUDA.
    command = [find_uv_bin(), "pip", "install", "--quiet", "--no-deps", "--target", folder]
    command += ["--python", python, f"tensorflow-serving-api=={named[1]}"]
    subprocess.run(command, check=True)
    return folder


def test_the_saved_model_needs_no_code_of_ours(
    store: ProjectStore, night: Night, python: Path, serving_client: Path, tmp_path: Path
) -> None:
    """TensorFlow alone answers as the MLflow model does, through TensorFlow Serving's messages.

    Over REST in both of its forms, too, in the shape of MLflow's own server.
    """
    (number,) = store.files(night.train, "saved_model")
    assert number.isdecimal()
    folder = store.path(night.train, f"saved_model/{number}")
    ids, images = night.holdout()
    np.save(tmp_path / "images.npy", images)
    done = subprocess.run(
        [python, "-P", ASK_SAVED_MODEL, folder, tmp_path / "images.npy"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(serving_client)},
        check=True,
        capture_output=True,
        text=True,
    )
    answer = json.loads(done.stdout)
    assert answer["tags"] == ["serve"]
    assert answer["method"] == "tensorflow/serving/predict"
    assert answer["inputs"] == {"images": ["uint8", [-1, 8, 8]]}
    ours = predictions(store, night.validate).loc[ids]
    assert answer["batched"] == dict.fromkeys(["prediction", *ours.columns], True)
    theirs = pd.DataFrame(answer["answers"])
    assert theirs[ours.columns].to_numpy() == pytest.approx(ours.to_numpy(), abs=1e-6)
    assert list(theirs["prediction"]) == [str(n) for n in np.argmax(ours.to_numpy(), axis=1)]
    assert answer["rest"]["inputs"] == {"outputs": answer["answers"]}
    assert answer["rest"]["instances"] == {"predictions": theirs.to_dict("records")}
    classes = json.loads((folder / "assets.extra" / "classes.json").read_text())
    assert classes == [str(digit) for digit in range(10)]


@pytest.fixture(scope="module")
def other_images(
    npz: Callable[..., bytes],
    random_images: Callable[..., np.ndarray[Any, Any]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """Return a file of images of another size, in eleven classes."""
    path = tmp_path_factory.mktemp("other") / "set.npz"
    path.write_bytes(npz(x_train=random_images(200, 6, 5), y_train=np.arange(200) % 11))
    return path


@pytest.fixture(scope="module")
def in_turn(store: ProjectStore, night: Night, python: Path, other_images: Path) -> list[list[Any]]:
    """Return exit status and run id of further steps, all run by one process."""
    raw = store.path(store.good(download.STEP, dataset="digits"), "raw")
    endless = store.good(preprocess.STEP, raw=raw, mean="1e38", std="1e-38")
    raw = store.path(store.good(download.STEP, dataset="npz", source=other_images), "raw")
    other = store.path(store.good(preprocess.STEP, raw=raw), "data")
    return store.in_turn(
        python,
        ("train", {"data": night.data, **PARAMETERS}),
        ("train", {"data": store.path(endless, "data"), "epochs": 1}),
        ("validate", {"data": other, "model_uri": night.model}),
        ("train", {"data": night.data, "epochs": 50, "patience": 1, "learning_rate": 10}),
    )


def test_the_same_seed_is_the_same_network(
    store: ProjectStore, night: Night, in_turn: list[list[Any]]
) -> None:
    """In another process, to the last bit of every loss."""
    (status, run_id), *_ = in_turn
    assert status == 0
    for name in CURVES:
        histories = [
            [m.value for m in store.client.get_metric_history(run, name)]
            for run in (night.train, run_id)
        ]
        assert histories[0] == histories[1]


def test_a_training_that_diverges_fails(store: ProjectStore, in_turn: list[list[Any]]) -> None:
    """With the reason; no number and no model of it reaches anybody."""
    status, run_id = in_turn[1]
    assert status == 65
    run = store.client.get_run(run_id)
    assert run.info.status == "FAILED"
    message = run.data.tags["error"]
    assert "the training diverged: train_loss is nan in batch 1 of epoch 1" in message
    assert "Next: pass a smaller -P learning_rate" in message
    assert run.data.metrics == {}
    assert store.files(run_id) == {"model_summary.txt"}
    models = store.client.search_logged_models([store.experiment_id])
    assert run_id not in {model.source_run_id for model in models}


def test_a_model_of_other_images_is_refused(store: ProjectStore, in_turn: list[list[Any]]) -> None:
    """The two shapes are named."""
    status, run_id = in_turn[2]
    assert status == 65
    words = "the model takes images of the shape (8, 8), those of npz have (6, 5)"
    assert words in store.tags(run_id)["error"]
    assert store.metrics(run_id) == {}


def test_a_training_without_gain_ends_early(store: ProjectStore, in_turn: list[list[Any]]) -> None:
    """And the weights are those of its best epoch."""
    status, run_id = in_turn[3]
    assert status == 0
    values = store.metrics(run_id)
    assert values["best_epoch"] < values["epochs_run"] < 50
    losses = [m.value for m in store.client.get_metric_history(run_id, "validation_loss")]
    assert values["best_validation_loss"] == min(losses)


@pytest.fixture(scope="module")
def served(
    night: Night,
    python: Path,
    tmp_path_factory: pytest.TempPathFactory,
    free_port: Callable[[], int],
    await_server: Callable[..., None],
) -> Iterator[str]:
    """Serve the model as a user does; return the server's address."""
    log = tmp_path_factory.mktemp("serve") / "log"
    port = free_port()
    command = [python.parent / "mlflow", "models", "serve", "--model-uri", night.model]
    command += ["--env-manager", "local", "--port", str(port), "--workers", "1"]
    with log.open("wb") as file:
        server = subprocess.Popen(
            command,
            env={**os.environ, "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}"},
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        await_server(f"http://127.0.0.1:{port}/ping", server, log, START_LIMIT)
        yield f"http://127.0.0.1:{port}/invocations"
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)


def test_it_answers_raw_images_over_rest(store: ProjectStore, night: Night, served: str) -> None:
    """Nobody normalises: the answers are those of validate, by class; flat ones, too."""
    ids, images = night.holdout()
    ours = predictions(store, night.validate).loc[ids[:ASKED]]
    for sent in (images[:ASKED], images[:ASKED].reshape(ASKED, -1)):
        body = {"instances": sent.tolist()}
        answer = httpx.post(served, json=body, timeout=60, trust_env=False)
        rows = pd.DataFrame(answer.json()["predictions"])
        assert list(rows.columns) == ["prediction", *ours.columns]
        assert rows[ours.columns].to_numpy() == pytest.approx(ours.to_numpy(), abs=1e-6)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"instances": [[[0] * 7] * 8]}, "the shape (1, 8, 7). Allowed: one image of the shape"),
        ({"instances": [[[[0] * 3] * 8] * 8]}, "the shape (1, 8, 8, 3). Allowed"),
        ({"instances": [[[17] * 8] * 8]}, "whole numbers from 0 to 16. Next: send the pixels"),
        ({"instances": [[[0.5] * 8] * 8]}, "neither divided nor normalised"),
        ({"columns": ["a"], "data": [[1]]}, "dataframe_split"),
    ],
)
def test_a_wrong_request_is_refused(served: str, body: dict[str, Any], words: str) -> None:
    """Other sizes, other channels, no byte, and the old form that courses still show."""
    answer = httpx.post(served, json=body, timeout=60, trust_env=False)
    assert answer.status_code == 400
    assert words in answer.text
