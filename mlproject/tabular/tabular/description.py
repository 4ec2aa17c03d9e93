"""Turns a declaration, the user's parameters and the rows that came into facts.

For a declared data set the columns are known, and a missing one is an error. For a file of the
user's the values decide what is a number, what is text, and what is no feature. Touches nothing.
"""

import dataclasses
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

import pandas as pd

from shared.commandline import passing
from shared.errors import DataError, ParameterError, nearest
from tabular.declaration import Column, DataSet, Kind, Task, TimeColumn, UserFile
from tabular.facts import Facts
from tabular.lists import split_list
from tabular.tables import Table

MOST_LEVELS = 100
"""A text column with more different values than this, most of them unique, is no feature."""
MOST_CLASSES = 20
"""Whole numbers with at most this many different values are classes where the task is 'auto'."""


def with_parameters(data_set: DataSet, values: Mapping[str, Any]) -> DataSet:
    """Return the declaration completed by the user's parameters.

    Args:
        data_set: the declaration.
        values: parameters source, target, identity, time_column, leave_out and task.

    Raises:
        ParameterError: if a declared fact is given again, or the target of a file is not given.
    """
    texts = ("target", "identity", "time_column", "leave_out")
    given = {name: values[name] for name in texts if values[name]}
    if values["task"] != "auto":
        given["task"] = values["task"]
    described = isinstance(data_set.source, UserFile) and data_set.source.described
    if values["source"] and not isinstance(data_set.source, UserFile):
        given = {"source": values["source"], **given}
    if not described:
        if given:
            raise ParameterError(
                f"data set '{data_set.name}' is declared, and its declaration has what was given: "
                f"{', '.join(given)}",
                allowed="these parameters with a file of your own; UNDERSTUDY_DATA_MIRROR names a "
                "copy of a public file",
                action="pass -P dataset=csv (or parquet) and -P source=..., or leave them out",
            )
        return data_set
    if "target" not in given:
        raise ParameterError(
            f"data set '{data_set.name}' needs a target and parameter 'target' is empty",
            allowed="the name of the column to predict",
            action="pass -P target=...",
        )
    time = given.get("time_column", "")
    return dataclasses.replace(
        data_set,
        target=given["target"],
        task=given.get("task", "auto"),
        identity=tuple(split_list(given.get("identity", ""))),
        left_out=dict.fromkeys(split_list(given.get("leave_out", "")), "parameter leave_out"),
        time=TimeColumn(time) if time else None,
    )


def check_columns(data_set: DataSet, frame: pd.DataFrame) -> None:
    """Check that every column that the declaration or the user names is there.

    Raises:
        DataError: naming all that are missing.
    """
    time = data_set.time
    needed = [data_set.target, *data_set.columns, *data_set.identity]
    needed += [time.date or time.name, time.hour] if time else []
    there = [str(name) for name in frame.columns]
    missing = [name for name in dict.fromkeys(filter(None, needed)) if name not in there]
    if missing:
        raise DataError(
            "missing column "
            + ", ".join(f"'{name}'{nearest(name, there)}" for name in missing)
            + f" in {data_set.name}",
            allowed=f"a file with these columns; it has {', '.join(map(repr, there))[:1000]}",
            action="correct the file, the separator, or the names given as parameters",
        )


def describe(data_set: DataSet, table: Table) -> Facts:
    """Return the facts of the rows that came, without source, dates and digest.

    Raises:
        DataError: if no feature is left, or the target's values do not fit the task.
    """
    frame = table.frame
    columns = dict(data_set.columns) or {
        name: Column(kind=taken.kind, nullable=name != data_set.target)
        for name, taken in table.taken.items()
    }
    left_out = {**table.dropped, **_left_out(data_set, frame, columns)}
    features = tuple(name for name in columns if name not in left_out and name != data_set.target)
    if not features:
        raise DataError(
            "no column is left as a feature",
            allowed="at least one column of numbers or of text with repeated values",
            action="look at the file, and at which columns target, identity and time_column name",
        )
    task = _task(data_set, frame[data_set.target].dropna(), columns[data_set.target].kind)
    used = {name: columns[name] for name in (*features, data_set.target)}
    kept = {name: columns[name] for name in data_set.identity if name in columns}
    return Facts(
        dataset=data_set.name,
        task=task,
        target=data_set.target,
        columns={**kept, **used},
        features=features,
        left_out=left_out,
        identity=data_set.identity,
        time=data_set.time.name if data_set.time else "",
        slices=data_set.slices,
        holdout=data_set.holdout,
        taken=_taken(data_set, table, columns) | _guessed(data_set, frame, columns, task),
    )


def _guessed(
    data_set: DataSet, frame: pd.DataFrame, columns: Mapping[str, Column], task: Task
) -> dict[str, str]:
    """Return in words that whole numbers were taken for classes, where nobody said so."""
    target = data_set.target
    if (data_set.task, task, columns[target].kind) != ("auto", "classification", "number"):
        return {}
    count = frame[target].nunique()
    return {
        target: f"{count} classes, as it holds so many whole numbers (-P task=regression "
        "predicts a number)"
    }


def _taken(data_set: DataSet, table: Table, columns: Mapping[str, Column]) -> dict[str, str]:
    """Return in words what each column was taken for, in the order of the file."""
    time = data_set.time.name if data_set.time else ""
    words = {
        str(name): str(table.taken.get(str(name), columns[name].kind if name in columns else ""))
        for name in table.frame.columns
    }
    return {name: text for name, text in words.items() if text and name != time} | (
        {time: table.time} if time else {}
    )


def _left_out(
    data_set: DataSet, frame: pd.DataFrame, columns: Mapping[str, Column]
) -> dict[str, str]:
    reasons: dict[str, str] = {}
    for name in map(str, frame.columns):
        matching = [why for known, why in data_set.left_out.items() if fnmatchcase(name, known)]
        if matching:
            reasons[name] = matching[0]
        elif data_set.time and name == data_set.time.name:
            reasons[name] = "the time of the row"
        elif name not in columns:
            reasons[name] = "not declared"
        elif not data_set.columns and name != data_set.target:
            reason = _unfit(data_set, frame[name], columns[name])
            reasons.update({name: reason} if reason else {})
    return reasons


def _unfit(data_set: DataSet, column: pd.Series, declared: Column) -> str:
    """Return why a column of the user's file is no feature; '' if it is one."""
    if str(column.name) in data_set.identity:
        return "the identity of the row"
    if pd.api.types.is_datetime64_any_dtype(column):
        return "a time"
    if not column.notna().any():
        return "no values"
    levels = column.nunique() if declared.kind == "text" else 0
    if levels > MOST_LEVELS and levels > len(column) / 2:
        return f"text with {levels} different values"
    return ""


def _task(data_set: DataSet, target: pd.Series, kind: Kind) -> Task:
    """Return what kind of prediction the target's known values ask for."""
    if target.empty:
        raise DataError(
            f"target '{data_set.target}' has no value in any row",
            allowed="a target whose values are known, in some rows at least",
            action="name another target, or look at where the file comes from",
        )
    number = kind == "number"
    number_cure = passing("column_types", f"{data_set.target}:number")
    if data_set.task == "regression" and not number:
        raise DataError(
            f"target '{data_set.target}' holds text, for instance {target.iloc[:1].tolist()}",
            allowed="numbers for a regression",
            action="name another target, or pass -P task=classification; of numbers that were kept "
            f"as texts, pass {number_cure}",
        )
    if data_set.task != "auto":
        return data_set.task
    if not number:
        levels = pd.Series(target.unique())
        if len(levels) > MOST_CLASSES and pd.to_numeric(levels, errors="coerce").notna().all():
            raise DataError(
                f"target '{data_set.target}' holds {len(levels):,} different texts that look like "
                f"numbers, for instance {levels.iloc[0]!r} (they have leading zeros, or a float "
                "would round them)",
                allowed="numbers, or classes",
                action=f"pass {number_cure}, or -P task=classification",
            )
        return "classification"
    numbers = pd.to_numeric(target, errors="coerce").dropna()
    few = numbers.nunique() <= MOST_CLASSES and bool((numbers % 1 == 0).all())
    return "classification" if few else "regression"
