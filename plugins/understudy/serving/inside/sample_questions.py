"""Writes the questions of a rehearsal: rows, and what the model said to them offline.

Started as ``python sample_questions.py MODEL OUT ROWS [HOLDOUT PREDICTIONS]``. With a holdout and
predictions (Parquet with ``row_id``) it runs in the environment of the project whose steps wrote
them: the questions are some of the rows, chosen by a hash of their ids, and the answers are the
predictions that the gate judged. Of each column with missing cells one row with such a cell is
among them, asked as null. A model without a signature is asked the columns that it was fitted on,
where it knows them (scikit-learn, XGBoost), and all but the target where it does not: that is the
column which the predictions repeat. Where the model takes tensors, a cell is one: as lists,
or as its bytes in the type and shape that the signature names, or that its input example has.
Without, it runs in the model's environment: the question is the model's input example, and the
answer what the model, loaded here, predicts for it. A model that has no example gets no question.
What was not asked, and why, is in the document. A model's Python may be as old as 3.6.
"""

import datetime as dt
import decimal
import hashlib
import io
import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from mlflow.types import Schema, TensorSpec

    Question = dict[str, Any]

ROW_ID, TARGET, PREDICTION, PROBABILITY = "row_id", "target", "prediction", "probability_"
# EX_UNAVAILABLE of sysexits.h.
LACKING = 69
# Columns in an advice.
SHOWN = 5
ROOMLESS = {"boolean", "integer", "long", "binary"}
"""Types of MLflow that have no missing value; null is an error there, or false."""
TEXTS_IN_JSON = (dt.date, dt.time, dt.timedelta, bytes, decimal.Decimal)


class MissingValueError(ValueError):
    """A tensor of the signature has no room for a missing value."""


def main(argv: "list[str]") -> int:
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
    Path(out).write_text(json.dumps(_document(source, found)), encoding="utf-8")
    return 0


def _document(source: str, found: "Sequence[Question | str]") -> "dict[str, Any]":
    """Return the questions that can be asked, and in words why others are not."""
    asked, unasked = [], []
    for one in found:
        question = _strict(one)
        if isinstance(one, str):
            unasked.append(one)
        elif _is_json(question):
            asked.append(question)
        else:
            unasked.append(f"{one['name']}, or its answer, holds infinity, which no JSON has")
    return {
        "source": source if asked else "nothing",
        "questions": asked,
        "unasked": " | ".join(list(dict.fromkeys(unasked))[:SHOWN]),
    }


def from_holdout(
    model: Path, rows: int, holdout: Path, predictions: Path
) -> "list[Question | str]":
    """Return a question per row, or why it is not asked; one reason where that is so of all."""
    import pyarrow.parquet as pq

    schema = _input_schema(model)
    if any(ROW_ID not in pq.read_schema(file).names for file in (holdout, predictions)):
        return [f"holdout or predictions have no column {ROW_ID}"]
    predicted_columns = [
        name
        for name in pq.read_schema(predictions).names
        if name in {ROW_ID, PREDICTION} or _is_probability(name)
    ]
    known = pq.read_table(predictions, columns=[ROW_ID]).column(ROW_ID).to_pylist()
    # By the hash of its id a row is chosen or not whatever the order of the file, and the same one
    # in every rehearsal on this holdout.
    known.sort(key=lambda row_id: hashlib.sha256(str(row_id).encode()).digest())
    columns = asked_columns(_input_names(model, schema), holdout, predictions)
    of_tensors = schema is not None and schema.is_tensor_spec()
    ids = _chosen(holdout, known, rows, () if of_tensors else columns)
    questions, predicted = (
        pq.read_table(file, columns=names, filters=[(ROW_ID, "in", ids)]).to_pandas()
        for file, names in ((holdout, None), (predictions, predicted_columns))
    )
    predicted = predicted.set_index(ROW_ID)
    questions = questions[questions[ROW_ID].isin(predicted.index)]
    if questions.empty:
        return [f"holdout and predictions have no {ROW_ID} in common"]
    return [
        one
        if isinstance(one, str)
        else {"name": f"row {row_id}", **one, "expected": _expected(predicted.loc[row_id])}
        for row_id, one in zip(questions[ROW_ID], _bodies(schema, questions, columns))
    ]


def from_example(model: Path) -> "list[Question | str]":
    """Return the model's input example as one question; the reason where it has none."""
    from mlflow.models import Model
    from mlflow.pyfunc import load_model
    from mlflow.pyfunc.scoring_server import predictions_to_json

    body = model / "serving_input_example.json"
    example = Model.load(str(model)).load_input_example(str(model))
    if example is None or not body.is_file():
        return ["the model was logged without an input_example"]
    answer = io.StringIO()
    predictions_to_json(load_model(str(model)).predict(example), answer)
    asked = json.loads(body.read_text(encoding="utf-8"))
    expected = json.loads(answer.getvalue())
    return [{"name": "input example", "body": asked, "expected": expected}]


def _input_schema(model: Path) -> "Schema | None":
    """Return what the model takes; for an array of any shape what its input example is."""
    import numpy as np
    from mlflow.models import Model
    from mlflow.types import Schema, TensorSpec

    known = Model.load(str(model))
    schema: Schema | None = known.get_input_schema()
    if schema is None or not schema.is_tensor_spec() or schema.inputs[0].type != np.dtype("O"):
        return schema
    example: Any = known.load_input_example(str(model))
    if len(schema.inputs) > 1 or not isinstance(example, np.ndarray):
        return schema
    values = np.array(example.tolist())
    # Whole numbers are bytes where they can be, as those of pictures are.
    kind = np.min_scalar_type(values.max()) if values.dtype.kind == "i" else values.dtype
    return Schema([TensorSpec(kind, (-1, *values.shape[1:]), schema.inputs[0].name)])


def _is_probability(name: str) -> bool:
    return name.startswith(PROBABILITY)


def _chosen(
    holdout: Path, known: "Sequence[object]", rows: int, columns: "Sequence[str]"
) -> "list[object]":
    """Return the ids of as many rows, in the order of their hashes but for those needed first.

    A column's missing cells are rare where they hurt most, so each column that has some has one
    among the rows, as far as there is room.
    """
    import numpy as np
    import pyarrow.parquet as pq

    file, places = pq.ParquetFile(holdout), {row_id: place for place, row_id in enumerate(known)}
    ids = file.read(columns=[ROW_ID]).column(0).to_pylist()
    place = np.array([places.get(row_id, len(known)) for row_id in ids])
    kept = place < rows
    needed: list[int] = []
    for name in columns:
        # One column at a time: a whole holdout of wide rows may not fit into memory.
        column = file.read(columns=[name], use_pandas_metadata=False).column(0)
        gaps = np.asarray(column.is_null(nan_is_null=True)) & (place < len(known))
        if not gaps.any() or (gaps & kept).any() or len(needed) == rows:
            continue
        needed.append(int(place[gaps].min()))
        kept |= place == needed[-1]
    others = (one for one in range(len(known)) if one not in needed)
    return [known[one] for one, _ in zip((*needed, *others), range(rows))]


def asked_columns(wanted: "Sequence[str]", holdout: Path, predictions: Path) -> "list[str]":
    """Return the columns of a holdout that a model is asked.

    Args:
        wanted: Those that it says it takes, in its order; none where it says nothing: then it is
            asked all but the ids and the target.
        holdout: Parquet file of the rows.
        predictions: Parquet file of what it predicted for them, which repeats the target.
    """
    import pyarrow.parquet as pq

    given = [name for name in pq.read_schema(holdout).names if name != ROW_ID]
    if wanted:
        return [name for name in wanted if name in given]
    targets = _copied(holdout, predictions, given)
    # Of several alike any may be a feature, unless one bears the name.
    target = TARGET if TARGET in targets else targets[0] if len(targets) == 1 else None
    return [name for name in given if name != target]


def _copied(holdout: Path, predictions: Path, names: "Sequence[str]") -> "list[str]":
    """Return the columns of the holdout that have, row by row, the predictions' ``target``."""
    import pyarrow.parquet as pq

    if TARGET not in pq.read_schema(predictions).names:
        return []
    answers = pq.read_table(predictions, columns=[ROW_ID, TARGET]).to_pandas()
    answers = answers.drop_duplicates(ROW_ID).set_index(ROW_ID)[TARGET]
    ids = pq.read_table(holdout, columns=[ROW_ID]).to_pandas()[ROW_ID]
    known = (~ids.duplicated() & ids.isin(answers.index)).to_numpy()
    answers = answers.loc[ids[known]].reset_index(drop=True)

    def column(name: str) -> "pd.Series":
        # One column at a time: a whole holdout of wide rows may not fit into memory.
        file = pq.read_table(holdout, columns=[name], use_pandas_metadata=False)
        cells: pd.Series = file.to_pandas()[name].loc[known].reset_index(drop=True)
        return cells

    return [name for name in names if known.any() and _are_same(column(name), answers)]


def _are_same(cells: "pd.Series", others: "pd.Series") -> bool:
    """Whether two columns have the same values, and miss the same."""
    there = cells.notna()
    if not there.equals(others.notna()):
        return False
    one, other = cells[there], others[there]
    if one.dtype.kind in "biuf" and other.dtype.kind in "biuf":
        return bool((one.astype("float64") == other.astype("float64")).all())
    # As text: a class may be a number in the one and a name in the other.
    return bool((one.astype("str") == other.astype("str")).all())


def _input_names(model: Path, schema: "Schema | None") -> "list[str]":
    """Return the names that the model says of its columns, in its order; [] where it says none."""
    if schema is not None:
        return [str(name) for name in schema.input_names()] if schema.has_input_names() else []
    from mlflow.pyfunc import load_model

    # The environment of the project, which has fitted and scored the model, can load it, too.
    try:
        return fitted_names(load_model(str(model)))
    except Exception as error:  # noqa: BLE001 -- whatever a model raises; then all columns are asked
        sys.stderr.write(f"The model's own columns are not known: {error}\n")
        return []


def fitted_names(model: Any) -> "list[str]":  # noqa: ANN401 -- MLflow's, without a signature
    """Return the columns that a loaded model was fitted on; [] where it says none."""
    try:
        raw = model.get_raw_model()
    except (AttributeError, NotImplementedError):
        # MLflow's models have it since 2.15, and not for every library.
        return []
    names = getattr(raw, "feature_names_in_", getattr(raw, "feature_names", None))
    return [] if names is None else [str(name) for name in names]


def _bodies(
    schema: "Schema | None", rows: "pd.DataFrame", names: "list[str]"
) -> "list[Question | str]":
    """Return the request for each row, with an advice, or why there is none."""
    if schema is not None and schema.is_tensor_spec():
        taken = _tensor_columns(cast("list[TensorSpec]", schema.inputs), rows)
        if not taken:
            return ["no column, or more than one, has the tensors of the signature"] * len(rows)
        return [_tensors(taken, rows.iloc[place]) for place in range(len(rows))]
    # As objects, for only these can be None: NaN, NaT and NA are no JSON, and MLflow keeps them.
    cells = rows[names].astype("object").where(rows[names].notna(), None)
    numbers = [str(name) for name in names if rows[name].dtype.kind in "biufM"]
    from mlflow.models import convert_input_example_to_serving_input

    return [
        {
            # MLflow's own conversion: a question of another form could fail for a reason of ours.
            "body": json.loads(str(convert_input_example_to_serving_input(cells.iloc[[place]]))),
            "advice": _advice(cells.iloc[place], schema, numbers),
        }
        for place in range(len(cells))
    ]


def _advice(cells: "pd.Series", schema: "Schema | None", numbers: "Sequence[str]") -> str:
    """Return what to do where the server does not read these cells as they are; '' for nothing.

    Args:
        cells: One row; None is what is missing.
        schema: What the model takes; None where it does not say.
        numbers: The columns of numbers, truth values and times.
    """
    kinds: dict[str, str] = {}
    # The name of each column's type; one that is no single value has none.
    if schema is not None and schema.has_input_names():
        for name, kind in zip(schema.input_names(), schema.input_types()):
            kinds[str(name)] = str(getattr(kind, "name", ""))
    gaps = [str(name) for name, cell in cells.items() if cell is None]
    roomless = [f"{name!r} ({kinds[name]})" for name in gaps if kinds.get(name) in ROOMLESS]
    untyped = [repr(name) for name in gaps if not kinds and name in numbers]
    none = [
        repr(name)
        for name in gaps
        if kinds.get(name, "string") == "string" and repr(name) not in untyped
    ]
    texts = [
        repr(str(name))
        for name, cell in cells.items()
        if not kinds and isinstance(cell, TEXTS_IN_JSON)
    ]
    parts = {
        "let the signature have {} in a type that can be missing, such as double": roomless,
        "log the model with a signature, as {} is a text in JSON without one": texts,
        "log the model with a signature, as the missing {} is None without one": untyped,
        "let the model take None as it takes NaN, as the missing {} is None when served": none,
    }
    return "; ".join(
        text.format(", ".join(names[:SHOWN])) for text, names in parts.items() if names
    )


def _tensor_columns(specs: "list[TensorSpec]", rows: "pd.DataFrame") -> "dict[str, TensorSpec]":
    """Return the column of each of the model's tensors; none where one has not exactly one.

    That of a tensor without a name is the only one whose first cell fits that is not missing.
    """
    found = {}
    for spec in specs:
        cells = {str(name): rows[name].dropna() for name in rows if spec.name in {None, name}}
        fitting = [name for name, some in cells.items() if _is_tensor(some, spec)]
        if len(fitting) != 1:
            return {}
        found[fitting[0]] = spec
    return found


def _is_tensor(cells: "pd.Series", spec: "TensorSpec") -> bool:
    if cells.empty or isinstance(cells.iloc[0], str) or not hasattr(cells.iloc[0], "__len__"):
        return False
    try:
        _tensor(cells.iloc[0], spec)
    except (TypeError, ValueError):
        return False
    return True


def _tensor(cell: Any, spec: "TensorSpec") -> "list[Any]":  # noqa: ANN401 - bytes, or nested lists
    """Return one row's tensor, with a first dimension of one.

    Raises:
        TypeError, ValueError: if it has not the signature's type and shape.
    """
    import numpy as np

    values = np.frombuffer(cell, spec.type) if isinstance(cell, bytes) else np.stack(cell)
    if spec.type.kind in "iub" and values.dtype.kind == "f" and np.isnan(values).any():
        message = f"a missing value, which {spec.type} has not"
        raise MissingValueError(message)
    return list(values.astype(spec.type).reshape((1, *spec.shape[1:])).tolist())


def _tensors(columns: "dict[str, TensorSpec]", row: "pd.Series") -> "Question | str":
    try:
        found = {spec.name: _tensor(row[column], spec) for column, spec in columns.items()}
    except MissingValueError as error:
        return f"row {row[ROW_ID]} has no such tensor: {error}"
    except (TypeError, ValueError) as error:
        # NumPy's words repeat the cell, which may be about a person; these go on into tags.
        why = f"its cell is none ({type(error).__name__})"
        return f"row {row[ROW_ID]} has no such tensor: {why}"
    return {"body": {"instances": found[None]} if None in found else {"inputs": found}}


def _expected(predicted: "pd.Series") -> "dict[str, Any]":
    import pandas as pd

    probabilities = [float(predicted[name]) for name in predicted.index if _is_probability(name)]
    shares = {"probabilities": probabilities} if probabilities else {}
    if PREDICTION not in predicted.index:
        return shares
    value = predicted[PREDICTION]
    if pd.isna(value):
        return {PREDICTION: None, **shares}
    return {PREDICTION: value if isinstance(value, str) else float(value), **shares}


def _strict(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Return a JSON value with null for NaN, which JSON has not, and most clients do not send."""
    if isinstance(value, dict):
        return {name: _strict(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_strict(one) for one in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _is_json(question: "Question") -> bool:
    """Whether a question can be asked, and its answer said: infinity is in no JSON."""
    try:
        json.dumps(question, allow_nan=False)
    except ValueError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
