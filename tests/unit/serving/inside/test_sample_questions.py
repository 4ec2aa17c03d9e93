"""Questions of a rehearsal that are drawn from a holdout, for models of rows and of tensors."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, DataType, Schema, TensorSpec

from understudy.serving.inside.sample_questions import from_holdout, main

pytestmark = pytest.mark.unit

IDS = ["a", "b", "c"]
IMAGES = np.arange(3 * 2 * 2, dtype="uint8").reshape(3, 2, 2, 1)
PREDICTIONS = pd.DataFrame(
    {"row_id": IDS, "prediction": ["x", "y", "x"], "probability_x": [0.9, 0.2, 0.7]}
)


def written(folder: Path, inputs: list[Any], holdout: dict[str, Any]) -> dict[str, Any]:
    """Return the document with the questions about all rows, read as strict JSON."""
    signature = ModelSignature(inputs=Schema(inputs)) if inputs else None
    Model(signature=signature).save(str(folder / "MLmodel"))
    files = folder / "holdout.parquet", folder / "predictions.parquet"
    pd.DataFrame({"row_id": IDS, **holdout}).to_parquet(files[0])
    PREDICTIONS.to_parquet(files[1])
    assert main([str(folder), str(folder / "out.json"), "3", *map(str, files)]) == 0
    found: dict[str, Any] = json.loads(
        (folder / "out.json").read_text(), parse_constant=pytest.fail
    )
    return found


def drawn(folder: Path, inputs: list[Any], holdout: dict[str, list[Any]]) -> dict[str, Any]:
    """Return the bodies of two questions by their names."""
    Model(signature=ModelSignature(inputs=Schema(inputs))).save(str(folder / "MLmodel"))
    files = folder / "holdout.parquet", folder / "predictions.parquet"
    pd.DataFrame({"row_id": IDS, **holdout}).to_parquet(files[0])
    PREDICTIONS.to_parquet(files[1])
    return {one["name"]: one["body"] for one in from_holdout(folder, 2, *files)}


@pytest.mark.filterwarnings("ignore:Operation with range is deprecated")  # MLflow's use of pandas
def test_rows_are_asked_by_the_columns_that_the_model_takes(tmp_path: Path) -> None:
    """What else the holdout has is not sent."""
    inputs = [ColSpec(DataType.double, "u")]
    bodies = drawn(tmp_path, inputs, {"u": [1.0, 2.0, 3.0], "target": ["x", "y", "x"]})
    rows = dict(zip((f"row {one}" for one in IDS), ([1.0], [2.0], [3.0]), strict=True))
    assert len(bodies) == 2
    for name, body in bodies.items():
        assert body == {"dataframe_split": {"columns": ["u"], "data": [rows[name]]}}


GAPS = {
    "number": [1.5, np.nan, 2.5],
    "whole": pd.array([1, None, 3], dtype="Int64"),
    "whole_as_float": [1.0, np.nan, 3.0],
    "text": ["u", None, "w"],
    "truth": [True, None, False],
    "truth_of_pandas": pd.array([True, None, False], dtype="boolean"),
    "day": [dt.date(2026, 1, 1), None, dt.date(2026, 1, 3)],
    "moment": pd.to_datetime(["2026-01-01T06:00", None, "2026-01-03T00:00"]),
    "list": [[1.0, 2.0], [np.nan, 2.0], [3.0, 4.0]],
}
"""A column of each kind, whose second row is missing."""
ASKED = {
    "row a": [1.5, 1, 1.0, "u", True, True, "2026-01-01", "2026-01-01T06:00:00", [1.0, 2.0]],
    "row b": [None] * 8 + [[None, 2.0]],
    "row c": [2.5, 3, 3.0, "w", False, False, "2026-01-03", "2026-01-03T00:00:00", [3.0, 4.0]],
}


@pytest.mark.filterwarnings("ignore:Operation with range is deprecated")
@pytest.mark.parametrize("signature", [True, False])
def test_what_is_missing_is_asked_as_null(tmp_path: Path, *, signature: bool) -> None:
    """Of whatever kind the column is: the document is strict JSON, which has no NaN."""
    types = {"number": DataType.double, "whole": DataType.long, "text": DataType.string}
    inputs = [ColSpec(types.get(name, DataType.double), name, required=False) for name in GAPS]
    found = written(tmp_path, inputs if signature else [], GAPS)
    assert found["source"].startswith("the holdout")
    bodies = {one["name"]: one["body"]["dataframe_split"] for one in found["questions"]}
    assert bodies == {name: {"columns": list(GAPS), "data": [row]} for name, row in ASKED.items()}


@pytest.mark.filterwarnings("ignore:Operation with range is deprecated")
def test_a_row_that_no_json_holds_is_not_asked(tmp_path: Path) -> None:
    """The others are; where it is all of them, nothing is."""
    holdout = {"u": [1.0, np.inf, -np.inf]}
    found = written(tmp_path, [ColSpec(DataType.double, "u")], holdout)
    assert [one["name"] for one in found["questions"]] == ["row a"]
    lost = written(tmp_path, [ColSpec(DataType.double, "u")], {"u": [np.inf] * 3})
    assert lost == {"source": "nothing", "questions": []}


@pytest.mark.parametrize(
    "cells",
    [
        [image.tobytes() for image in IMAGES],
        [image.ravel().tolist() for image in IMAGES],
        [image[..., 0].tolist() for image in IMAGES],
    ],
)
def test_a_tensor_is_a_cell(tmp_path: Path, cells: list[Any]) -> None:
    """Bytes, or lists, of the signature's type and shape; a label of another form is none."""
    inputs = [TensorSpec(np.dtype("uint8"), (-1, 2, 2, 1))]
    bodies = drawn(tmp_path, inputs, {"pixels": cells, "label": ["x", "y", "x"]})
    images = {f"row {one}": [image.tolist()] for one, image in zip(IDS, IMAGES, strict=True)}
    assert len(bodies) == 2
    assert all(body == {"instances": images[name]} for name, body in bodies.items())


def test_tensors_with_names_are_columns(tmp_path: Path) -> None:
    """Each is asked by its name."""
    inputs = [
        TensorSpec(np.dtype("float32"), (-1, 2), name="u"),
        TensorSpec(np.dtype("int64"), (-1, 1), name="v"),
    ]
    bodies = drawn(tmp_path, inputs, {"u": [[1, 2], [3, 4], [5, 6]], "v": [[7], [8], [9]]})
    wanted = {"row a": (1, 2, 7), "row b": (3, 4, 8), "row c": (5, 6, 9)}
    assert len(bodies) == 2
    for name, body in bodies.items():
        one, two, three = wanted[name]
        assert body == {"inputs": {"u": [[one, two]], "v": [[three]]}}


@pytest.mark.parametrize(
    "holdout",
    [
        {"pixels": [b"abc", b"abc", b"abc"]},
        {"pixels": [b"abcd", b"abcd", b"abcd"], "mask": [b"abcd", b"abcd", b"abcd"]},
        {"u": [1.0, 2.0, 3.0]},
    ],
)
def test_rows_without_the_tensor_give_no_questions(
    tmp_path: Path, holdout: dict[str, list[Any]]
) -> None:
    """Of another size, of two columns, or of none: the model's input example is asked instead."""
    inputs = [TensorSpec(np.dtype("uint8"), (-1, 2, 2, 1))]
    assert drawn(tmp_path, inputs, holdout) == {}
