"""What a model of classes answers: the class, and the probability of each, under their names.

MLflow would answer with a class alone, or with bare numbers. This file goes with each model that
`log_model` logs, as its code, and is what MLflow loads it by, so it imports nothing of a project.
Touches nothing but the model's folder.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from mlflow.models import Model
    from mlflow.models.model import ModelInfo
    from mlflow.types import Schema

Array = np.ndarray[Any, Any]
PREDICTION, PROBABILITY = "prediction", "probability_"
CLASSES, SHAPE, BRIGHTEST = "classes", "image_shape", "brightest_pixel"
"""In a model's metadata: names in the order of its outputs; of images their shape, and the largest
value that a pixel may have."""


def named(shares: Array, classes: Sequence[str]) -> pd.DataFrame:
    """Return `prediction`, the likeliest class, and `probability_<class>` of each.

    Args:
        shares: probabilities of shape (rows, classes).
        classes: their names, in the same order.
    """
    likeliest = np.array(classes, dtype=object)[shares.argmax(axis=1)]
    names = [f"{PROBABILITY}{name}" for name in classes]
    answers = pd.DataFrame(shares.astype("float64"), columns=names)
    answers.insert(0, PREDICTION, likeliest)
    return answers


def schema(classes: Sequence[str]) -> "Schema":
    """Return what `named` gives, for a model's signature."""
    from mlflow.types import ColSpec, DataType, Schema

    shares = [ColSpec(DataType.double, f"{PROBABILITY}{name}") for name in classes]
    return Schema([ColSpec(DataType.string, PREDICTION), *shares])


def as_images(data: object, shape: tuple[int, ...], brightest: int) -> Array:
    """Return images as uint8 of shape (images, *shape).

    Args:
        data: one image or several, each of `shape`, flat, or with a channel where grey ones need
            none. Numbers between two whole ones are rounded.
        shape: (rows, columns) of grey images, (rows, columns, 3) of colour.
        brightest: largest value that a pixel may have.

    Raises:
        MlflowException: status 400, for another shape, or for what clearly has another range.
    """
    try:
        values = np.array(np.asarray(data).tolist() if _is_boxed(data) else data)
    except ValueError:  # lists of unequal length
        values = np.array(None)
    if values.dtype.kind not in "iuf":
        _refuse("what was sent is no array of numbers", shape, brightest)
    forms = {shape, (prod(shape),), (*shape[:2], prod(shape[2:]))}
    if not values.size or not {values.shape, values.shape[1:]} & forms:
        _refuse(f"what was sent has the shape {values.shape}", shape, brightest)
    low, high = values.min(), values.max()
    divided = values.dtype.kind == "f" and 0 < high <= 1 < brightest
    if divided or not 0 <= low <= high <= brightest:
        _refuse(f"the pixels go from {low:g} to {high:g}", shape, brightest)
    return values.round().astype("uint8").reshape(-1, *shape)


def _is_boxed(data: object) -> bool:
    """Whether numbers are objects, as where a signature takes an array of any shape."""
    return isinstance(data, np.ndarray) and data.dtype == object


def _refuse(found: str, shape: tuple[int, ...], brightest: int) -> NoReturn:
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE

    raise MlflowException(
        f"{found}. Allowed: one image of the shape {shape} or several, also flat, of whole numbers "
        f"from 0 to {brightest}. Next: send the pixels as they are in the image, neither divided "
        "nor normalised: the model does that itself",
        error_code=INVALID_PARAMETER_VALUE,
    )


@dataclass(frozen=True)
class Classifier:
    """A model as MLflow's `PyFuncModel` wraps one.

    Attributes:
        model: MLflow's own wrapper: of scikit-learn for rows, of Keras for images.
        metadata: what was stored with the model, see `CLASSES`.
    """

    model: Any
    metadata: dict[str, Any]

    def get_raw_model(self) -> object:
        """Return the library's own model."""
        return self.model.get_raw_model()

    def predict(self, data: Any, params: dict[str, Any] | None = None) -> pd.DataFrame:  # noqa: ANN401, ARG002 - as MLflow calls it
        """Return the answers for rows or images, one row each, see `named`."""
        if SHAPE not in self.metadata:
            return named(self.get_raw_model().predict_proba(data), self.metadata[CLASSES])  # type: ignore[attr-defined]
        shape = tuple(self.metadata[SHAPE])
        images = as_images(data, shape, self.metadata[BRIGHTEST])
        return named(np.asarray(self.model.predict(images)), self.metadata[CLASSES])


def _load_pyfunc(path: str) -> Classifier:
    """Return the model in a folder; MLflow calls it with the folder, or that of the network."""
    import mlflow
    from mlflow.models import Model

    place = Path(path)
    folder = place if (place / "MLmodel").is_file() else place.parent
    metadata = dict(Model.load(str(folder)).metadata or {})
    library = mlflow.tensorflow if SHAPE in metadata else mlflow.sklearn
    return Classifier(library._load_pyfunc(path), metadata)  # noqa: SLF001 - what a loader calls


@dataclass(frozen=True)
class _Flavor:
    """A flavor of MLflow: a library's, which is loaded by this file.

    Attributes:
        library: `mlflow.sklearn` or `mlflow.tensorflow`.
    """

    library: Any

    def save_model(self, path: str, mlflow_model: "Model", model: object, **details: Any) -> None:
        """Write the model into a new folder, as `Model.log` asks for."""
        self.library.save_model(
            model, path, mlflow_model=mlflow_model, code_paths=[__file__], **details
        )
        mlflow_model.flavors["python_function"]["loader_module"] = Path(__file__).stem
        mlflow_model.save(str(Path(path) / "MLmodel"))


def log_model(library: Any, model: object, metadata: dict[str, Any], **details: Any) -> "ModelInfo":  # noqa: ANN401 - the library's
    """Log a model of classes as `model`; the library's own `load_model` gives it as it is.

    Args:
        library: `mlflow.sklearn` or `mlflow.tensorflow`.
        model: what its `save_model` takes.
        metadata: with `CLASSES`; of images with `SHAPE` and `BRIGHTEST`, too.
        details: further arguments of `save_model`.
    """
    from mlflow.models import Model

    return Model.log(
        artifact_path=None,
        name="model",
        flavor=_Flavor(library),
        flavor_name=library.FLAVOR_NAME,
        metadata=metadata,
        model=model,
        **details,
    )
