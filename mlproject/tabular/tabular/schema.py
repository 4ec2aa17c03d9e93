"""Checks rows against the facts with pandera; rows that fail are set aside with the reason.

Touches nothing.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pandera.pandas as pa
from pandera.errors import SchemaErrors

from tabular.declaration import Column
from tabular.facts import Facts
from tabular.rules import Rules, broken

_FAILURE_COLUMNS = ["row", "column", "rule", "value"]


@dataclass(frozen=True)
class Checked:
    """The result of a check.

    Attributes:
        rows: those that passed, in the types that the facts say, with the index 0, 1, 2, ...
        failures: one row per fault, columns `row` (number in the raw file, from 0), `column`,
            `rule` and `value`.
        rejected: how many rows failed at least one rule.
        broken: rules of the user's that the table breaks as a whole, in words.
    """

    rows: pd.DataFrame
    failures: pd.DataFrame
    rejected: int
    broken: tuple[str, ...] = ()


def check(frame: pd.DataFrame, facts: Facts, rules: Rules | None = None) -> Checked:
    """Return the rows that obey the facts, and what is wrong with the others.

    Args:
        frame: raw rows with the index 0, 1, 2, ...
        facts: what each column may hold.
        rules: of the user's, for what the facts let pass; None for none.
    """
    unreadable = _failures(frame, facts, _unread(frame, facts), _readable)
    typed = _typed(_without(frame, unreadable), facts)
    invalid = _failures(typed, facts, facts.columns, _valid)
    rows = _without(typed, invalid)
    against, whole = broken(rows, rules) if rules else (invalid.head(0), [])
    rows = _without(rows, against)
    faults = [part for part in (unreadable, invalid, against) if len(part)]
    failures = pd.concat(faults, ignore_index=True) if faults else invalid
    failures = failures.sort_values(["row", "column"], kind="stable", ignore_index=True)
    rejected = len(frame) - len(rows)
    return Checked(rows.reset_index(drop=True), failures, rejected, tuple(whole))


def _without(frame: pd.DataFrame, failures: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that did not fail; no copy where none did."""
    return frame.drop(index=list(failures["row"].unique())) if len(failures) else frame


def _unread(frame: pd.DataFrame, facts: Facts) -> dict[str, Column]:
    """Return the columns whose values are not numbers already, or that did not come."""
    return {
        name: column
        for name, column in facts.columns.items()
        if name not in frame or not pd.api.types.is_numeric_dtype(frame[name])
    }


def _failures(
    frame: pd.DataFrame,
    facts: Facts,
    columns: Mapping[str, Column],
    rules: Callable[[Column], list[pa.Check]],
) -> pd.DataFrame:
    """Return every fault that pandera finds in these columns, as rows of `_FAILURE_COLUMNS`."""
    schema = pa.DataFrameSchema(
        {
            name: pa.Column(
                checks=rules(column),
                nullable=rules is _readable or (column.nullable and name != facts.target),
            )
            for name, column in columns.items()
        }
    )
    try:
        schema.validate(frame, lazy=True, inplace=True)  # changes nothing, as it coerces nothing
    except SchemaErrors as errors:
        found: pd.DataFrame = errors.failure_cases
        cases = found.rename(columns={"index": "row", "check": "rule", "failure_case": "value"})
        cases["rule"] = cases["rule"].replace("not_nullable", "is not missing")
        return cases[_FAILURE_COLUMNS].astype({"row": "int64"}).reset_index(drop=True)
    return pd.DataFrame({name: pd.Series(dtype="object") for name in _FAILURE_COLUMNS})


def _readable(column: Column) -> list[pa.Check]:
    """First round, on raw values: is what should be a number a number at all?"""
    if column.kind == "text":
        return []
    return [pa.Check(_is_number, ignore_na=True, error="is a number")]


def _valid(column: Column) -> list[pa.Check]:
    """Second round, on typed values: are they finite, in bounds, among the choices?"""
    if column.kind == "text":
        choices = pa.Check.isin(list(column.choices), error=f"is one of {list(column.choices)}")
        return [choices] if column.choices else []
    # What is missing is finite to `_is_finite`: to leave it out first would copy every column.
    checks = [pa.Check(_is_finite, ignore_na=False, error="is finite")]
    if column.minimum is not None:
        checks.append(pa.Check.ge(column.minimum, error=f"is at least {column.minimum:g}"))
    if column.maximum is not None:
        checks.append(pa.Check.le(column.maximum, error=f"is at most {column.maximum:g}"))
    return checks


def _is_number(column: pd.Series) -> pd.Series:
    return pd.to_numeric(column, errors="coerce").notna()


def _is_finite(column: pd.Series) -> pd.Series:
    return pd.Series(np.isfinite(column.to_numpy(dtype="float64", na_value=0.0)), column.index)


def _typed(frame: pd.DataFrame, facts: Facts) -> pd.DataFrame:
    """Return the frame with number columns as numbers and text columns as text."""
    typed = frame.copy(deep=False)
    for name, column in facts.columns.items():
        if column.kind == "text":
            typed[name] = frame[name].astype("str")
        elif not pd.api.types.is_numeric_dtype(frame[name]):
            typed[name] = pd.to_numeric(frame[name])
    return typed
