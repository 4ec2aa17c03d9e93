"""Faults that a gate has to notice: in the rows that a night trains on, or in what it predicts.

``python -m understudy.backtest.faults QUESTION``, a file: makes one night's fault, in a process of
its own. The rows that judge the night stay right.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from pandas.api import types

from understudy.backtest.plan import Fault
from understudy.errors import ProjectError, UnderstudyError, listed

WRONG: Final = 0.2
"""Share of the labels that are wrong."""
_FAR: Final = 3.0
"""By how many standard deviations a wrong number differs from the right one."""
_ID, _TARGET, _PREDICTION, _SHARE = "row_id", "target", "prediction", "probability_"


def spoilt(
    fault: Fault, rows: pd.DataFrame, target: str, rng: np.random.Generator, *, classes: bool
) -> pd.DataFrame:
    """Return training rows with a fault.

    Args:
        fault: LABELS, UNIT or ROWS.
        rows: One row for each training row.
        target: The column with the right answers.
        rng: What draws rows and columns.
        classes: Whether the answers name classes; otherwise they are numbers.

    Raises:
        ProjectError: when the rows have no column that could have a unit.
    """
    if fault is Fault.LABELS:
        wrong = rng.random(len(rows)) < WRONG
        return rows.assign(**{target: _relabelled(rows[target], wrong, rng, classes=classes)})
    if fault is Fault.UNIT:
        name = _measured(rows, target, rng)
        # As Fahrenheit where Celsius was meant.
        return rows.assign(**{name: _like(rows[name], rows[name] * 1.8 + 32)})
    # Not at random: of numbers the larger half is missing; of two classes three quarters of the one
    # and a quarter of the other, so that none is missing altogether.
    order = pd.factorize(rows[target], sort=True)[0].astype(float)
    if classes:
        order += rng.uniform(0, 2, len(rows))
    kept = np.sort(np.argsort(order, kind="stable")[: (len(rows) + 1) // 2])
    return rows.iloc[kept].reset_index(drop=True)


def _relabelled(
    labels: pd.Series, wrong: np.ndarray[Any, np.dtype[np.bool_]], rng: np.random.Generator, *,
    classes: bool,
) -> pd.Series:  # fmt: skip
    if not classes:
        return _like(labels, labels + np.where(wrong, _FAR * labels.std(), 0.0))
    kinds = labels.drop_duplicates().reset_index(drop=True)
    if len(kinds) == 1:
        return labels
    codes = pd.Index(kinds).get_indexer(labels)
    others = (codes + rng.integers(1, len(kinds), len(codes))) % len(kinds)
    return kinds.take(np.where(wrong, others, codes)).set_axis(labels.index)


def _like(old: pd.Series, new: pd.Series) -> pd.Series:
    """Return numbers of the type that the column has: a schema must not notice the fault."""
    return (new.round() if types.is_integer_dtype(old) else new).astype(old.dtype)


def _measured(rows: pd.DataFrame, target: str, rng: np.random.Generator) -> str:
    """Return the name of a column of numbers that takes more than two values."""
    names = [
        str(name)
        for name in rows.columns
        if name not in {_ID, target}
        and types.is_numeric_dtype(rows[name])
        and not types.is_bool_dtype(rows[name])
        and rows[name].nunique() > 2  # noqa: PLR2004 -- a flag has no unit
    ]
    if not names:
        raise _impossible("have no column of numbers, whose unit could be wrong", {Fault.UNIT})
    return str(rng.choice(names))


def constant(predicted: pd.DataFrame) -> dict[str, Any]:
    """Return what a model says that predicts one thing for each row, by column.

    Args:
        predicted: What a sound model predicts, as ``predictions.parquet`` has it.
    """
    names = [n for n in predicted.columns if n == _PREDICTION or str(n).startswith(_SHARE)]
    of_classes = len(names) > 1
    return {
        name: predicted[name].mode().iloc[0]
        if name == _PREDICTION and (of_classes or not types.is_float_dtype(predicted[name]))
        else predicted[name].mean()
        for name in names
    }


def main(arguments: Sequence[str]) -> int:
    """Make the fault that the question describes: see ``BacktestWorker``."""
    asked: dict[str, Any] = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
    fault, held_out = Fault(asked["fault"]), pd.read_parquet(asked["rows"])
    predicted = pd.read_parquet(asked["predictions"])
    if fault is Fault.MEAN:
        known = predicted[predicted[_ID].isin(held_out[_ID])]
        predicted.assign(**constant(known)).to_parquet(asked["out"], index=False)
        return 0
    path = Path(asked["train"])
    if not path.is_file():
        raise _impossible(f"are in no file {path.name} that preprocess has logged", set(_OF_ROWS))
    rows = pd.read_parquet(path)
    target = target_of(held_out, predicted)
    shares = any(str(name).startswith(_SHARE) for name in predicted.columns)
    classes = shares or not types.is_numeric_dtype(rows[target])
    rng = np.random.default_rng(list(f"{fault} {asked['night']}".encode()))
    spoilt(fault, rows, target, rng, classes=classes).to_parquet(asked["out"], index=False)
    return 0


_OF_ROWS: Final = (Fault.LABELS, Fault.UNIT, Fault.ROWS)


def target_of(held_out: pd.DataFrame, predicted: pd.DataFrame) -> str:
    """Return the column with the right answers: the one that validate has copied as ``target``.

    Raises:
        ProjectError: when there is none.
    """
    right = predicted.set_index(_ID)[_TARGET].reindex(held_out[_ID]).reset_index(drop=True)
    for name in sorted(held_out.columns, key=lambda name: name != _TARGET):
        if name != _ID and _same(held_out[name].reset_index(drop=True), right):
            return str(name)
    raise _impossible("have no column that is the target of predictions.parquet", set(_OF_ROWS))


def _same(column: pd.Series, other: pd.Series) -> bool:
    if types.is_numeric_dtype(column) and types.is_numeric_dtype(other):
        return np.array_equal(column.astype(float), other.astype(float), equal_nan=True)
    # As text: a class may be a number in the one and a name in the other.
    return column.astype(str).equals(other.astype(str))


def _impossible(found: str, faults: set[Fault]) -> ProjectError:
    return ProjectError(
        f"The project's training rows {found}, so no such fault can be injected",
        allowed=f"--inject {listed(fault for fault in Fault if fault not in faults)}; or rows in "
        "data/train.parquet and data/holdout.parquet, with the target as validate logs it",
        action="leave the others out",
    )


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except UnderstudyError as error:
        # The text alone, which says what to do; the worker shows it.
        sys.exit(str(error))
