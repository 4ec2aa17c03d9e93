"""Writes the questions of a rehearsal: rows, and what the model said to them offline.

Started as ``python sample_questions.py MODEL OUT ROWS [HOLDOUT PREDICTIONS]``. With a holdout and
predictions (Parquet with ``row_id``) it runs in the environment of the project whose steps wrote
them: the questions are some of the rows, chosen by a hash of their ids, and the answers are the
predictions that the gate judged. A missing cell is asked as null. Where the model takes tensors, a
cell is one: as lists, or as its bytes in the type and shape that the signature names. Without, it
runs in the model's environment: the question is the model's input example, and the answer what the
model, loaded here, predicts for it. A model that has no example gets no question.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.types import TensorSpec

ROW_ID, PREDICTION, PROBABILITY = "row_id", "prediction", "probability_"
LACKING = 69  # sysexits.h EX_UNAVAILABLE
Question = dict[str, Any]


def main(argv: list[str]) -> int:
    """Write the questions as JSON; return the exit code."""
    model, out, rows, *files = argv
    try:
        if files:
            source = "the holdout, and the predictions that the gate judged"
            found = from_holdout(Path(model), int(rows), *map(Path, files))
        else:
            source, found = "the model's input example", from_example(Path(model))
    except ImportError as error:
        sys.stderr.write(f"There is no {error.name} here.\n")
        return LACKING
    asked = [one for one in map(_strict, found) if _is_json(one)]
    document = {"source": source if asked else "nothing", "questions": asked}
    Path(out).write_text(json.dumps(document), encoding="utf-8")
    return 0


def from_holdout(model: Path, rows: int, holdout: Path, predictions: Path) -> list[Question]:
    """Return a question per row; none without row ids in common, or what the model takes."""
    import pyarrow.parquet as pq

    if any(ROW_ID not in pq.read_schema(file).names for file in (holdout, predictions)):
        return []
    names = pq.read_schema(predictions).names
    wanted = [name for name in names if name in {ROW_ID, PREDICTION} or _is_probability(name)]
    known = pq.read_table(predictions, columns=[ROW_ID]).column(ROW_ID).to_pylist()
    ids = sorted(known, key=_lot)[:rows]
    asked, said = (
        pq.read_table(file, columns=columns, filters=[(ROW_ID, "in", ids)]).to_pandas()
        for file, columns in ((holdout, None), (predictions, wanted))
    )
    said = said.set_index(ROW_ID)
    asked = asked[asked[ROW_ID].isin(said.index)]
    bodies = [] if asked.empty else _bodies(model, asked)
    if not bodies:
        return []
    return [
        {"name": f"row {row_id}", "body": body, "expected": _expected(said.loc[row_id])}
        for row_id, body in zip(asked[ROW_ID], bodies, strict=True)
    ]


def from_example(model: Path) -> list[Question]:
    """Return the model's input example as one question; nothing where it has none."""
    from mlflow.models import Model
    from mlflow.pyfunc import load_model
    from mlflow.pyfunc.scoring_server import predictions_to_json

    body = model / "serving_input_example.json"
    example = Model.load(str(model)).load_input_example(str(model))
    if example is None or not body.is_file():
        return []
    answer = io.StringIO()
    predictions_to_json(load_model(str(model)).predict(example), answer)
    asked = json.loads(body.read_text(encoding="utf-8"))
    expected = json.loads(answer.getvalue())
    return [{"name": "input example", "body": asked, "expected": expected}]


def _lot(row_id: object) -> bytes:
    return hashlib.sha256(str(row_id).encode()).digest()


def _is_probability(name: str) -> bool:
    return name.startswith(PROBABILITY)


def _bodies(model: Path, rows: pd.DataFrame) -> list[Question]:
    """Return the request for each row; none where the rows have not what the model takes."""
    from mlflow.models import Model

    schema = Model.load(str(model)).get_input_schema()
    if schema is not None and schema.is_tensor_spec():
        taken = _tensor_columns(cast("list[TensorSpec]", schema.inputs), rows)
        return [_tensors(taken, rows.iloc[place]) for place in range(len(rows))] if taken else []
    names = list(rows.columns.drop(ROW_ID))
    if schema is not None and schema.has_input_names():
        names = [name for name in schema.input_names() if name in names]
    # As objects, for only these can be None: NaN, NaT and NA are no JSON, and MLflow keeps them.
    cells = rows[names].astype("object").where(rows[names].notna(), None)
    return [_body(cells.iloc[[place]]) for place in range(len(cells))]


def _tensor_columns(specs: list[TensorSpec], rows: pd.DataFrame) -> dict[str, TensorSpec]:
    """Return the column of each of the model's tensors; none where one has not exactly one.

    That of a tensor without a name is the only one whose first cell fits.
    """
    found = {}
    for spec in specs:
        cells = {str(name): rows[name].iloc[0] for name in rows if spec.name in {None, name}}
        fitting = [name for name, cell in cells.items() if _is_tensor(cell, spec)]
        if len(fitting) != 1:
            return {}
        found[fitting[0]] = spec
    return found


def _is_tensor(cell: object, spec: TensorSpec) -> bool:
    if isinstance(cell, str) or not hasattr(cell, "__len__"):
        return False
    try:
        _tensor(cell, spec)
    except (TypeError, ValueError):
        return False
    return True


def _tensor(cell: Any, spec: TensorSpec) -> list[Any]:  # noqa: ANN401 - bytes, or nested lists
    """Return one row's tensor, with a first dimension of one.

    Raises:
        TypeError, ValueError: if it has not the signature's type and shape.
    """
    import numpy as np

    values = np.frombuffer(cell, spec.type) if isinstance(cell, bytes) else np.stack(cell)
    return list(values.astype(spec.type).reshape((1, *spec.shape[1:])).tolist())


def _tensors(columns: dict[str, TensorSpec], row: pd.Series) -> Question:
    found = {spec.name: _tensor(row[column], spec) for column, spec in columns.items()}
    return {"instances": found[None]} if None in found else {"inputs": found}


def _body(rows: pd.DataFrame) -> dict[str, Any]:
    from mlflow.models import convert_input_example_to_serving_input

    body: dict[str, Any] = json.loads(str(convert_input_example_to_serving_input(rows)))
    return body


def _expected(said: pd.Series) -> dict[str, Any]:
    probabilities = [float(said[name]) for name in said.index if _is_probability(name)]
    shares = {"probabilities": probabilities} if probabilities else {}
    if PREDICTION not in said.index:
        return shares
    value = said[PREDICTION]
    return {PREDICTION: value if isinstance(value, str) else float(value), **shares}


def _strict(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Return a JSON value with null for NaN, which JSON has not, and most clients do not send."""
    if isinstance(value, dict):
        return {name: _strict(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_strict(one) for one in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _is_json(question: Question) -> bool:
    """Whether a question can be asked, and its answer said: infinity is in no JSON."""
    try:
        json.dumps(question, allow_nan=False)
    except ValueError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
