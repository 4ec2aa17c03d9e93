"""Asks a model for its predictions and puts them into the form of `predictions.parquet`.

Works for any MLflow model that takes raw images of this shape: ours, which says its classes in its
metadata, and others, whose outputs are taken in the order of the data's classes. Touches nothing.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd

from images.batches import Pixels
from images.facts import Facts
from images.tables import ROW_ID, Images, read
from shared.errors import DataError
from shared.named_answers import CLASSES, PROBABILITY, SHAPE
from shared.predictions import asked, probabilities_of

_MATRIX = 2  # dimensions of (images, classes)
_ROUNDING = 1e-3  # by which a sum of probabilities may miss one


class Scorer(Protocol):
    """What is used of `mlflow.pyfunc.PyFuncModel`."""

    metadata: Any

    def predict(self, data: Pixels) -> object:
        """Return probabilities (images, classes), by name or not, or one class per image."""


def known_classes(model: Scorer, facts: Facts) -> tuple[str, ...]:
    """Return the classes of the model's outputs, in their order."""
    said = (model.metadata.metadata or {}).get(CLASSES)
    return tuple(map(str, said)) if said else facts.classes


def predict(model: Scorer, path: Path, facts: Facts) -> pd.DataFrame:
    """Return row_id, target, prediction and, where the model gives them, one probability per class.

    Args:
        model: that is asked.
        path: the holdout images.
        facts: their shape and classes.

    Raises:
        DataError: if the model fails on these images, or gives something else.
    """
    _check_shape(model, facts)
    classes, parts = known_classes(model, facts), []
    for some in read(path, facts.shape, ROW_ID):
        pixels = some.pixels.reshape(-1, *facts.image_shape)
        parts.append(_of_batch(model, Images(pixels, some.labels, some.marks), classes))
    return pd.concat(parts, ignore_index=True)


def _check_shape(model: Scorer, facts: Facts) -> None:
    """Check that the model takes images of this shape, as far as it says so."""
    schema, said = model.metadata.get_input_schema(), model.metadata.metadata or {}
    if SHAPE in said:
        wanted = tuple(said[SHAPE])
    elif schema is None or not schema.is_tensor_spec() or len(schema.inputs) != 1:
        return
    else:
        wanted = schema.inputs[0].shape[1:]
    fits = len(wanted) == len(facts.image_shape) and all(
        size in {-1, there} for size, there in zip(wanted, facts.image_shape, strict=True)
    )
    if not fits:
        raise DataError(
            f"the model takes images of the shape {wanted}, those of {facts.dataset} have "
            f"{facts.image_shape}",
            allowed="a model of images of the same size and channels",
            action="check that model and data set belong together; for pictures of your own "
            "pass the same -P image_size=... and -P channels=... to download or main",
        )


def _of_batch(model: Scorer, some: Images, classes: Sequence[str]) -> pd.DataFrame:
    raw = asked(model.predict, some.pixels, whole(some.pixels))
    by_name = probabilities_of(raw) if isinstance(raw, pd.DataFrame) else None
    answer = np.asarray(raw if by_name is None else by_name)
    if len(answer) != len(some.labels) or answer.ndim > _MATRIX:
        raise _other_answer(answer, len(some.labels), classes)
    known = pd.DataFrame({ROW_ID: some.marks, "target": some.labels})
    if answer.ndim == 1:
        return known.assign(prediction=_class_names(answer, classes))
    if answer.shape[1] != len(classes):
        raise _other_answer(answer, len(some.labels), classes)
    likeliest = [classes[number] for number in answer.argmax(axis=1)]
    names = [f"{PROBABILITY}{name}" for name in classes]
    shares = pd.DataFrame(as_shares(answer), columns=names)
    return pd.concat([known.assign(prediction=likeliest), shares], axis=1)


def as_shares(answer: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    """Return probabilities as float64 that sum to one, of those that float32 has rounded.

    Raises:
        DataError: if they are none.
    """
    shares = answer.astype("float64")
    sums = shares.sum(axis=1, keepdims=True)
    if not (np.abs(sums - 1.0) < _ROUNDING).all() or shares.min() < 0:
        raise DataError(
            f"the model's outputs go from {shares.min():.4g} to {shares.max():.4g}, those of an "
            f"image sum to {sums.min():.4g} to {sums.max():.4g}",
            allowed="probabilities: finite, none below 0, those of an image summing to one",
            action="end the model with a softmax, or look at how it was trained",
        )
    return shares / sums


def _class_names(answer: "np.ndarray[Any, Any]", classes: Sequence[str]) -> list[str]:
    """Return classes that a model names by their number, or by themselves."""
    if answer.dtype.kind not in "iu":
        return [str(name) for name in answer]
    if answer.min() < 0 or answer.max() >= len(classes):
        raise _other_answer(answer, len(answer), classes)
    return [classes[number] for number in answer]


def _other_answer(answer: "np.ndarray[Any, Any]", images: int, classes: Sequence[str]) -> DataError:
    return DataError(
        f"the model's answer for {images} images has the shape {answer.shape}"
        + (f" and numbers from {answer.min()} to {answer.max()}" if answer.ndim == 1 else ""),
        allowed=f"probabilities ({images}, {len(classes)}), or a class for each image",
        action="check that model and data set belong together, and that the model's metadata "
        "'classes' name its outputs",
    )


def whole(pixels: Pixels) -> str:
    """Return some images in words."""
    return f"images of shape {pixels.shape}, {pixels.dtype}"
