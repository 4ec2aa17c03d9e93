"""Writes the questions of a rehearsal: rows, and what the model said to them offline.

Started as ``python sample_questions.py MODEL OUT ROWS [HOLDOUT PREDICTIONS]``. With a holdout and
predictions (Parquet with ``row_id``) it runs in the environment of the project whose steps wrote
them: the questions are some of the rows, chosen by a hash of their ids, and the answers are the
predictions that the gate judged. Without, it runs in the model's environment: the question is the
model's input example, and the answer what the model, loaded here, predicts for it. A model that has
no example gets no question.
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

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
    document = {"source": source if found else "nothing", "questions": found}
    Path(out).write_text(json.dumps(document), encoding="utf-8")
    return 0


def from_holdout(model: Path, rows: int, holdout: Path, predictions: Path) -> list[Question]:
    """Return a question per row; none where the two files have no row ids in common."""
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
    columns = _columns(model, list(asked.columns))
    return [
        {
            "name": f"row {asked[ROW_ID].iloc[place]}",
            "body": _body(asked[columns].iloc[[place]]),
            "expected": _expected(said.loc[asked[ROW_ID].iloc[place]]),
        }
        for place in range(len(asked))
        if asked[ROW_ID].iloc[place] in said.index
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


def _columns(model: Path, names: list[str]) -> list[str]:
    """Return the columns that the model takes, as its signature says, else all."""
    from mlflow.models import Model

    schema = Model.load(str(model)).get_input_schema()
    if schema is None or not schema.has_input_names():
        return [name for name in names if name != ROW_ID]
    return [name for name in schema.input_names() if name in names]


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


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
