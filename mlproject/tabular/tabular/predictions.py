"""Asks a model for its predictions and puts them into the form of `predictions.parquet`.

Works for any MLflow model, also one of an older commit with other features. Touches nothing.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import pandas as pd

from shared.errors import DataError, nearest
from shared.named_answers import PREDICTION, PROBABILITY
from shared.predictions import asked
from tabular.facts import Facts
from tabular.identity import EXACT_IN_FLOAT64
from tabular.split import ROW_ID

ROOMLESS = ("boolean", "integer", "long", "binary")
"""Types of an MLflow signature that have no missing value."""
MOST_NAMED = 5
"""Columns that a message names."""


class Scorer(Protocol):
    """What is used of `mlflow.pyfunc.PyFuncModel`."""

    metadata: Any

    def predict(self, data: pd.DataFrame) -> object:
        """Return one value per row, or a table of classes, see `named_answers.named`."""

    def get_raw_model(self) -> object:
        """Return the library's own model."""


def inputs(model: Scorer, frame: pd.DataFrame, facts: Facts) -> pd.DataFrame:
    """Return the columns that the model takes, in its order and types.

    Without a signature they are those that it was fitted on, or all but the target and the ids
    where it does not say: it is never shown what it is to predict.

    Raises:
        DataError: if the rows lack columns that the model requires.
    """
    schema = model.metadata.get_input_schema()
    if schema is None:
        names = fitted_names(model) or list(frame.columns.drop([ROW_ID, facts.target]))
        _check_there(names, names, frame)
        return frame[names]
    if not schema.has_input_names():
        return frame
    _check_there(schema.input_names(), schema.required_input_names(), frame)
    types = dict(zip(schema.input_names(), schema.pandas_types(), strict=True))
    kept = [name for name in types if name in frame]
    fitting = {name: types[name] for name in kept if _fits(frame[name], types[name])}
    return frame[kept].astype(fitting)


def fitted_names(model: Scorer) -> list[str]:
    """Return the columns that a library's model says it was fitted on; [] where it says none."""
    try:
        raw = model.get_raw_model()
    except NotImplementedError:
        return []
    names = getattr(raw, "feature_names_in_", getattr(raw, "feature_names", None))
    return [] if names is None else [str(name) for name in names]


def _check_there(names: Sequence[str], required: Sequence[str], frame: pd.DataFrame) -> None:
    needed = set(required)
    missing = [name for name in names if name in needed and name not in frame]
    if missing:
        raise DataError(
            "the holdout rows lack columns that the model takes:"
            + ", ".join(f" '{name}'{nearest(name, map(str, frame.columns))}" for name in missing),
            allowed=f"rows with {', '.join(map(repr, names))[:1000]}",
            action="score it with data of its own time, or promote one without these columns",
        )


def _fits(column: pd.Series, kind: object) -> bool:
    """Whether a column becomes a number of this type without a loss.

    Whole numbers are floats in a column with gaps, and may be so in rows that have none of them.
    """
    if not isinstance(kind, np.dtype) or kind.kind not in "fi":
        return False
    if kind.kind == "f" or not pd.api.types.is_float_dtype(column):
        return kind.kind == "f"
    most = min(int(np.iinfo(kind).max), EXACT_IN_FLOAT64)
    return bool((column.abs() <= most).all() and (column % 1 == 0).all())


def _question(model: Scorer, rows: pd.DataFrame) -> tuple[str, str]:
    """Return in words what is asked, and what to do if the model does not answer."""
    schema = model.metadata.get_input_schema()
    named = schema is not None and schema.has_input_names()
    kinds = dict(zip(schema.input_names(), schema.input_types(), strict=True)) if named else {}
    gaps = [
        f"'{name}' ({kinds[name].name})"
        for name in rows.columns
        if getattr(kinds.get(name), "name", "") in ROOMLESS and rows[name].isna().any()
    ]
    if not gaps:
        return "the holdout rows", "check that model and data set belong together"
    told = ", ".join(gaps[:MOST_NAMED])
    action = f"log the model with {told} in a type that can be missing, such as double"
    return f"the holdout rows, in which {told} is missing somewhere", action


def predict(model: Scorer, holdout: pd.DataFrame, facts: Facts) -> pd.DataFrame:
    """Return row_id, target, prediction and, for classes, one probability column per class.

    Classes are text throughout, whole numbers without '.0', so that both models agree on them.

    Raises:
        DataError: if the model fails on these rows, or gives another number of predictions.
    """
    rows = inputs(model, holdout, facts)
    answer = asked(model.predict, rows, *_question(model, rows))
    table = answer if isinstance(answer, pd.DataFrame) and PREDICTION in answer else None
    guess = _one_each(answer if table is None else table[PREDICTION], len(rows))
    if facts.task == "regression":
        return pd.DataFrame(
            {
                ROW_ID: holdout[ROW_ID],
                "target": holdout[facts.target].astype("float64"),
                "prediction": pd.to_numeric(guess, errors="coerce").astype("float64"),
            }
        )
    result = pd.DataFrame(
        {
            ROW_ID: holdout[ROW_ID],
            "target": class_names(holdout[facts.target]),
            "prediction": class_names(guess),
        }
    )
    probabilities = _probabilities(model, rows) if table is None else _by_name(table)
    return result if probabilities is None else pd.concat([result, probabilities], axis=1)


def class_names(values: pd.Series) -> pd.Series:
    """Return classes as text: 3, 3.0 and '3' are all '3', and 0.1 is '0.1'."""
    if pd.api.types.is_float_dtype(values) or values.dtype == object:
        return values.map(_as_name).astype("str")
    return values.astype("str")


def _as_name(value: object) -> str:
    """Return a whole number without '.0', any other as short as it can be read again."""
    if not isinstance(value, float):
        return str(value)
    whole = f"{value:.17g}"
    return whole if "." not in whole and "e" not in whole else repr(float(value))


def _by_name(answer: pd.DataFrame) -> pd.DataFrame | None:
    names = [name for name in answer.columns if str(name).startswith(PROBABILITY)]
    return answer[names].reset_index(drop=True) if names else None


def _probabilities(model: Scorer, rows: pd.DataFrame) -> pd.DataFrame | None:
    try:
        raw = model.get_raw_model()
    except NotImplementedError:
        return None
    if not hasattr(raw, "predict_proba") or not hasattr(raw, "classes_"):
        return None
    values = np.asarray(asked(raw.predict_proba, rows, "the holdout rows"))
    names = class_names(pd.Series(raw.classes_))
    return pd.DataFrame(values, columns=[f"{PROBABILITY}{name}" for name in names])


def _one_each(answer: object, rows: int) -> pd.Series:
    values = np.asarray(answer)
    if values.size != rows:
        raise DataError(
            f"the model gave {values.size} predictions for {rows} rows",
            allowed="one prediction per row",
            action="use a model that predicts one value",
        )
    return pd.Series(values.reshape(-1))
