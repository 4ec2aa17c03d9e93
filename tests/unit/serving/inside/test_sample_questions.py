"""Questions of a rehearsal that are drawn from a holdout, for models of rows and of tensors."""

from __future__ import annotations

import datetime as dt
import json
import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mlflow.models import Model, ModelSignature
from mlflow.models.utils import _save_example
from mlflow.types import ColSpec, DataType, Schema, TensorSpec

from understudy.runner.environment.interpreter import MissingPythonError, find_python
from understudy.serving.inside.sample_questions import from_holdout, main
from understudy.serving.server import INSIDE

pytestmark = [
    pytest.mark.unit,
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred"),  # MLflow about itself
]

IDS = ["a", "b", "c"]
IMAGES = np.arange(3 * 2 * 2, dtype="uint8").reshape(3, 2, 2, 1)
PREDICTIONS = pd.DataFrame(
    {"row_id": IDS, "prediction": ["x", "y", "x"], "probability_x": [0.9, 0.2, 0.7]}
)


def written(
    folder: Path, inputs: list[Any], holdout: dict[str, Any], said: pd.DataFrame = PREDICTIONS
) -> dict[str, Any]:
    """Return the document with the questions about all rows, read as strict JSON."""
    signature = ModelSignature(inputs=Schema(inputs)) if inputs else None
    Model(signature=signature).save(str(folder / "MLmodel"))
    files = folder / "holdout.parquet", folder / "predictions.parquet"
    pd.DataFrame({"row_id": IDS, **holdout}).to_parquet(files[0])
    said.to_parquet(files[1])
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
    found = from_holdout(folder, 2, *files)
    return {one["name"]: one["body"] for one in found if not isinstance(one, str)}


@pytest.mark.parametrize("version", ["3.6", "3.8"])
@pytest.mark.parametrize("script", ["sample_questions", "serve_model"])
def test_the_python_of_a_model_may_be_older_than_ours(version: str, script: str) -> None:
    """Of the environment that its training recorded."""
    try:
        python = find_python(version, os.environ).executable
    except MissingPythonError:
        pytest.skip(f"Python {version} is not here")
    subprocess.run([python, "-B", "-c", f"import {script}"], cwd=INSIDE, check=True)


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


@pytest.mark.filterwarnings("default")  # MLflow about itself, in this process
def test_a_model_without_a_signature_is_asked_what_it_was_fitted_on(tmp_path: Path) -> None:
    """In its order: of any other column scikit-learn says that it has never seen it."""
    import mlflow.sklearn
    from sklearn.ensemble import HistGradientBoostingRegressor

    holdout = pd.DataFrame({"row_id": IDS, "u": [1.5, None, 2.0], "v": [1, 2, 3], "target": 0.0})
    model = HistGradientBoostingRegressor(max_iter=2).fit(holdout[["v", "u"]], holdout["target"])
    folder, files = tmp_path / "model", (tmp_path / "holdout.parquet", tmp_path / "said.parquet")
    mlflow.sklearn.save_model(
        model, folder, serialization_format="cloudpickle", pip_requirements=[]
    )
    holdout.to_parquet(files[0])
    PREDICTIONS.to_parquet(files[1])
    found = [one for one in from_holdout(folder, 3, *files) if not isinstance(one, str)]
    bodies = [one["body"]["dataframe_split"] for one in found]
    assert {tuple(body["columns"]) for body in bodies} == {("v", "u")}
    assert [body["data"][0] for body in bodies] == [[1, 1.5], [2, None], [3, 2.0]]


ANSWERS = {
    "numbers": ([3, 1, 2], [3.0, 1.0, 2.0]),
    "texts": (["u", None, "w"], ["u", None, "w"]),
    "truths": (pd.array([True, None, False], dtype="boolean"), [True, None, False]),
    "classes": ([3, 1, 2], ["3", "1", "2"]),
}
"""A target as a holdout has it, and as the predictions repeat it."""


@pytest.mark.filterwarnings("ignore:Operation with range is deprecated")
@pytest.mark.parametrize("kind", ANSWERS)
def test_the_target_is_not_sent_to_a_model_that_says_nothing(tmp_path: Path, kind: str) -> None:
    """It is known as what the predictions repeat, whatever its name and the rows' order."""
    ours, repeated = ANSWERS[kind]
    holdout = {"price": ours, "near": [3, 1, 1], "size": [1.5, None, 2.0]}
    assert columns_of(tmp_path, holdout, repeated) == {("near", "size")}


@pytest.mark.filterwarnings("ignore:Operation with range is deprecated")
def test_what_may_be_a_feature_is_sent(tmp_path: Path) -> None:
    """Of two columns alike only the one that bears the name is known to be the target."""
    alike = {"price": [3, 1, 2], "copy": [3, 1, 2]}
    assert columns_of(tmp_path, alike, [3, 1, 2]) == {("price", "copy")}
    assert columns_of(tmp_path, {**alike, "target": [3, 1, 2]}, [3, 1, 2]) == {("price", "copy")}
    assert columns_of(tmp_path, {"size": [3, 1, 1]}, [3, 1, 2]) == {("size",)}


def columns_of(folder: Path, holdout: dict[str, Any], repeated: list[Any]) -> set[tuple[str, ...]]:
    """Return what a model that says nothing is asked; its predictions repeat these targets."""
    said = PREDICTIONS.assign(target=repeated).iloc[::-1]
    found = written(folder, [], holdout, said)
    return {tuple(one["body"]["dataframe_split"]["columns"]) for one in found["questions"]}


@pytest.mark.filterwarnings("ignore:Operation with range is deprecated")
def test_a_row_that_no_json_holds_is_not_asked(tmp_path: Path) -> None:
    """The others are; where it is all of them, nothing is."""
    holdout = {"u": [1.0, np.inf, -np.inf]}
    found = written(tmp_path, [ColSpec(DataType.double, "u")], holdout)
    assert [one["name"] for one in found["questions"]] == ["row a"]
    lost = written(tmp_path, [ColSpec(DataType.double, "u")], {"u": [np.inf] * 3})
    said = "row {0}, or its answer, holds infinity, which no JSON has"
    unasked = " | ".join(said.format(one) for one in IDS)
    assert lost == {"source": "nothing", "questions": [], "unasked": unasked}


@pytest.mark.filterwarnings("ignore:Operation with range is deprecated")
@pytest.mark.parametrize(
    ("types", "row", "advice"),
    [
        ({"whole": DataType.long}, "row b", r"'whole' \(long\) in a type that can be missing"),
        (
            {"truth": DataType.boolean},
            "row b",
            r"'truth' \(boolean\) in a type that can be missing",
        ),
        ({"text": DataType.string}, "row b", "None as it takes NaN, as the missing 'text' is None"),
        ({"moment": DataType.datetime, "number": DataType.float}, "row b", "^$"),
        ({"whole": DataType.long, "text": DataType.string}, "row a", "^$"),
        ({}, "row a", "with a signature, as 'day', 'moment' is a text in JSON without one$"),
        ({}, "row b", "with a signature, as the missing 'number', 'whole', .* is None without one"),
        ({}, "row b", "None as it takes NaN, as the missing 'text', 'truth', .* is None"),
    ],
)
def test_what_the_server_reads_otherwise_has_an_advice(
    tmp_path: Path, types: dict[str, DataType], row: str, advice: str
) -> None:
    """A missing whole number is refused there, a missing truth value is false, a text is None."""
    inputs = [ColSpec(kind, name) for name, kind in types.items()]
    found = {one["name"]: one["advice"] for one in written(tmp_path, inputs, GAPS)["questions"]}
    assert re.search(advice, found[row])


@pytest.mark.filterwarnings("ignore:Operation with range is deprecated")
def test_a_rare_gap_is_asked(tmp_path: Path) -> None:
    """Of each column that the model takes and that has any, whatever the lot says."""
    count, inputs = 3000, [ColSpec(DataType.double, "u"), ColSpec(DataType.string, "v")]
    holdout = pd.DataFrame({"row_id": range(count), "u": 1.5, "v": "x", "of no model": 2.5})
    holdout["v"] = holdout["v"].mask(holdout["row_id"] == 1234)
    holdout["u"] = holdout["u"].mask(holdout["row_id"].isin([17, 1717]))
    holdout["of no model"] = holdout["of no model"].mask(holdout["row_id"] == 7)
    Model(signature=ModelSignature(inputs=Schema(inputs))).save(str(tmp_path / "MLmodel"))
    files = tmp_path / "holdout.parquet", tmp_path / "predictions.parquet"
    holdout.to_parquet(files[0])
    holdout[["row_id"]].assign(prediction=1.0).to_parquet(files[1])
    found = [one for one in from_holdout(tmp_path, 5, *files) if not isinstance(one, str)]
    data = [tuple(one["body"]["dataframe_split"]["data"][0]) for one in found]
    assert sorted(data, key=str) == [*[(1.5, "x")] * 3, (1.5, None), (None, "x")]
    assert len({one["name"] for one in found}) == 5


@pytest.mark.filterwarnings("ignore:Operation with range is deprecated")
@pytest.mark.parametrize("said", [pd.array([1, None, 2], "Int64"), [None] * 3, ["u", None, "w"]])
def test_a_prediction_that_is_missing_is_expected_as_null(
    tmp_path: Path, said: Sequence[object]
) -> None:
    """Of whatever kind the predictions are."""
    Model().save(str(tmp_path / "MLmodel"))
    files = tmp_path / "holdout.parquet", tmp_path / "predictions.parquet"
    pd.DataFrame({"row_id": IDS, "u": [1.0, 2.0, 3.0]}).to_parquet(files[0])
    pd.DataFrame({"row_id": IDS, "prediction": said}).to_parquet(files[1])
    found = {
        one["name"]: one["expected"]["prediction"]
        for one in from_holdout(tmp_path, 3, *files)
        if not isinstance(one, str)
    }
    assert found["row b"] is None


@pytest.mark.parametrize(
    ("cells", "kind"),
    [([[7.0], [np.nan], [9.0]], "int64"), ([None, [8.0], [9.0]], "float32")],
)
def test_a_row_whose_tensor_is_missing_is_not_asked(
    tmp_path: Path, cells: list[Any], kind: str
) -> None:
    """Named is it; the others are asked, and no whole number is made of NaN."""
    found = written(tmp_path, [TensorSpec(np.dtype(kind), (-1, 1))], {"x": cells})
    odd = IDS[[cell is None or np.isnan(cell[0]) for cell in cells].index(True)]
    assert found["unasked"].startswith(f"row {odd} has no such tensor: ")
    asked = {one["name"]: one["body"]["instances"] for one in found["questions"]}
    assert len(asked) == 2
    assert asked["row c"] == [[9]]


def test_a_cell_that_is_no_tensor_is_not_repeated(tmp_path: Path) -> None:
    """Reasons go on into tags and notices, and a cell may be about a person."""
    cells = [[7.0], [8.0], [424242.0, 9.0]]
    found = written(tmp_path, [TensorSpec(np.dtype("float32"), (-1, 1))], {"x": cells})
    assert found["unasked"] == f"row {IDS[2]} has no such tensor: its cell is none (ValueError)"
    assert len(found["questions"]) == 2


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


def test_a_tensor_of_any_shape_is_as_the_input_example(tmp_path: Path) -> None:
    """Whose whole numbers are bytes."""
    model = Model(signature=ModelSignature(inputs=Schema([TensorSpec(np.dtype("O"), (-1,))])))
    _save_example(model, IMAGES[:1], str(tmp_path))
    model.save(str(tmp_path / "MLmodel"))
    files = tmp_path / "holdout.parquet", tmp_path / "predictions.parquet"
    pixels = [image.tobytes() for image in IMAGES]
    pd.DataFrame({"row_id": IDS, "pixels": pixels}).to_parquet(files[0])
    PREDICTIONS.to_parquet(files[1])
    images = {f"row {one}": [image.tolist()] for one, image in zip(IDS, IMAGES, strict=True)}
    for one in from_holdout(tmp_path, 3, *files):
        assert not isinstance(one, str)
        assert one["body"] == {"instances": images[one["name"]]}


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
