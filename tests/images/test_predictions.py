"""Predictions of any model: ours, a stranger's, one with other classes, one that is broken."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mlflow.types import Schema, TensorSpec

from images import metrics
from images.batches import Pixels
from images.facts import Facts
from images.mistakes import confusion, draw_all, worst_mistakes
from images.predictions import predict
from images.tables import ROW_ID, Images, writing
from shared.errors import DataError
from shared.metrics import CLASSIFICATION, classification, missing
from shared.predictions import probabilities_of

pytestmark = pytest.mark.unit

FACTS = Facts("made", (4, 5, 1), ("a", "b/c", "b c"))
TARGET = ["a", "b/c", "b c", "a"] * 3
RIGHT = np.eye(3)[[0, 1, 2, 0] * 3]


@pytest.fixture
def holdout(random_images: Callable[..., Pixels], tmp_path: Path) -> Path:
    """Return a file of twelve images."""
    path = tmp_path / "holdout.parquet"
    with writing(path, FACTS.shape, ROW_ID) as writer:
        writer.write(Images(random_images(12, *FACTS.shape), TARGET, [f"{n}-0" for n in range(12)]))
    return path


@dataclass
class Model:
    """A model that gives a fixed answer."""

    answer: Any
    classes: list[str] | None = None
    shape: tuple[int, ...] = ()
    seen: list[Any] = field(default_factory=list)

    @property
    def metadata(self) -> Any:  # noqa: ANN401 -- as MLflow has it
        """What MLflow stored beside the model."""
        said = {"classes": self.classes} if self.classes else None
        shape = (-1, *self.shape)
        schema = Schema([TensorSpec(np.dtype("uint8"), shape)]) if self.shape else None
        return SimpleNamespace(metadata=said, get_input_schema=lambda: schema)

    def predict(self, data: Any) -> Any:  # noqa: ANN401 -- as MLflow has it
        """Return the answer, or raise it."""
        self.seen.append(data)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def test_probabilities(holdout: Path) -> None:
    """One column per class; grey images reach the model without channel; float32 is made exact."""
    model = Model((RIGHT * 0.7 + 0.1).astype("float32"), ["a", "b/c", "b c"])
    rows = predict(model, holdout, FACTS)
    assert model.seen[0].shape == (12, 4, 5)
    assert model.seen[0].dtype == np.uint8
    columns = ["probability_a", "probability_b/c", "probability_b c"]
    assert list(rows.columns) == ["row_id", "target", "prediction", *columns]
    assert list(rows["prediction"]) == TARGET == list(rows["target"])
    assert rows[columns].sum(axis=1).to_numpy() == pytest.approx(1.0, abs=1e-15)
    scores = classification(rows["target"], rows["prediction"], probabilities_of(rows))
    assert set(scores) == set(CLASSIFICATION)
    assert scores["log_loss"] == pytest.approx(-np.log(0.8))


def test_a_champion_that_does_not_know_a_class(holdout: Path) -> None:
    """It is scored: what it cannot say is wrong, with a finite log loss."""
    two = np.full((12, 2), 0.5)
    rows = predict(Model(two, ["a", "b/c"]), holdout, FACTS)
    scores = classification(rows["target"], rows["prediction"], probabilities_of(rows))
    assert scores["accuracy"] == 0.5
    assert np.isfinite(scores["log_loss"])
    table = metrics.per_class(rows["target"], rows["prediction"], FACTS.classes)
    assert table.set_index("class")["recall"].to_dict() == {"a": 1.0, "b/c": 0.0, "b c": 0.0}
    # "b/c" and "b c" look alike in a metric's name; nothing was taken for them.
    assert set(metrics.named_per_class(table)) == {
        *("precision_a", "recall_a", "f1_a"),
        *("recall_b_c_1", "recall_b_c_2", "f1_b_c_1", "f1_b_c_2"),
    }


@pytest.mark.parametrize("shape", [(4, 5), (-1, -1)])
def test_a_signature_that_fits(holdout: Path, shape: tuple[int, ...]) -> None:
    """The same size, or any."""
    assert len(predict(Model(RIGHT, shape=shape), holdout, FACTS)) == 12


@pytest.mark.parametrize("shape", [(28, 28), (4, 5, 1), (4, 5, 3), (20,)])
def test_a_model_of_images_of_another_size(holdout: Path, shape: tuple[int, ...]) -> None:
    """Or of other channels: both shapes are named, and it is not asked."""
    model = Model(RIGHT, shape=shape)
    with pytest.raises(DataError, match=re.escape(f"of the shape {shape}, those of made have")):
        predict(model, holdout, FACTS)
    assert model.seen == []


def test_more_classes_than_the_data_have(holdout: Path) -> None:
    """Eleven outputs named in the model's metadata are eleven columns."""
    answer = np.full((12, 11), 1 / 11)
    rows = predict(Model(answer, [str(number) for number in range(11)]), holdout, FACTS)
    shares = probabilities_of(rows)
    assert shares is not None
    assert shares.shape == (12, 11)


@pytest.mark.parametrize("answer", [np.array([0, 1, 2, 0] * 3), np.array(TARGET)])
def test_classes_without_probabilities(holdout: Path, answer: object) -> None:
    """A stranger's model may name classes, or number them."""
    rows = predict(Model(answer), holdout, FACTS)
    assert list(rows["prediction"]) == TARGET
    assert probabilities_of(rows) is None
    assert "log_loss" in missing(
        classification(rows["target"], rows["prediction"], None), CLASSIFICATION
    )


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (np.full((12, 11), 1 / 11), r"shape \(12, 11\).*Allowed: probabilities \(12, 3\)"),
        (RIGHT[:5], r"for 12 images has the shape \(5, 3\)"),
        (np.zeros((12, 3, 1)), r"shape \(12, 3, 1\)"),
        (np.array([0, 1, 2, 3] * 3), "numbers from 0 to 3"),
        (RIGHT * 4 - 2, "outputs go from -2 to 2"),
        (RIGHT * np.nan, "outputs go from nan"),
        (ValueError("Shape of input (12, 4, 5)"), r"shape \(12, 4, 5\), uint8: ValueError: Shape"),
    ],
)
def test_what_is_no_answer(holdout: Path, answer: object, words: str) -> None:
    """Other numbers of classes or images, logits, NaN, an error: never a metric."""
    with pytest.raises(DataError, match=words):
        predict(Model(answer), holdout, FACTS)


def test_the_worst_mistakes(holdout: Path, tmp_path: Path) -> None:
    """The surest first; the pictures are drawn for any number of mistakes."""
    answer = RIGHT * 0.7 + 0.1
    answer[3] = [0.05, 0.9, 0.05]
    answer[5] = [0.6, 0.2, 0.2]
    rows = predict(Model(answer), holdout, FACTS)
    worst = worst_mistakes(rows)
    assert list(worst["row_id"]) == ["3-0", "5-0"]
    assert list(worst["certainty"]) == pytest.approx([0.9, 0.6])
    assert confusion(rows, list(FACTS.classes)).tolist() == [[5, 1, 0], [1, 2, 0], [0, 0, 3]]
    for made in (rows, predict(Model(RIGHT), holdout, FACTS)):
        draw_all(made, holdout, FACTS, tmp_path)
    assert (tmp_path / "worst_mistakes.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "confusion_matrix.png").read_bytes().startswith(b"\x89PNG")


def test_metric_names_fit_mlflow() -> None:
    """Any name of a class; no two of them fall together."""
    assert metrics.metric_keys(["7", "T-shirt/top", "Ankle boot", "a b", "a/b"]) == [
        *("7", "T-shirt_top", "Ankle_boot"),
        *("a_b_3", "a_b_4"),
    ]


def test_a_class_without_images_has_no_recall() -> None:
    """Left out, not zero."""
    table = metrics.per_class(pd.Series(["a", "a"]), pd.Series(["a", "b"]), ["a", "b"])
    assert "recall_b" not in metrics.named_per_class(table)
    assert metrics.named_per_class(table)["precision_b"] == 0.0
