"""Whether a model says the same of every row: it has learnt nothing that tells rows apart."""

from __future__ import annotations

from typing import Final

import numpy as np

from understudy.evaluation.columns import Column, Floats
from understudy.evaluation.pairing import Rows
from understudy.gate.evidence import CONSTANT, Finding
from understudy.gate.verdict import CheckResult

_ROUNDING: Final = 1e-9
"""Relative difference of two numbers that are one but for rounding, in single precision too."""


def look(rows: Rows, level: str) -> Finding | None:
    """Return whether one value is predicted for all rows whose targets differ.

    Of classes with probabilities it is these that must differ: where one class is rare, the other
    is rightly called the likelier one of every row.

    Args:
        rows: The challenger's predictions.
        level: What the guard is declared to do.

    Returns:
        None where a single row, or a prediction that is missing or infinite, leaves nothing to say.
    """
    said, shares = rows.source.prediction, rows.source.probabilities
    columns = [Column(values) for values in shares.values()] or ([said] if said else [])
    if len(rows) < 2 or not columns or not all(map(_is_known, columns)):  # noqa: PLR2004 -- one row
        return None
    what = "the same probabilities" if shares else f"one value, {_shown(columns[0])},"
    same, varied = all(map(_is_same, columns)), not _is_same(rows.source.target, 0.0)
    if same and not shares and columns[0].is_number and rows.source.target.is_number:
        # Far from zero all numbers are alike: what counts is how far the targets are apart.
        same = _range(columns[0]) <= _ROUNDING * _range(rows.source.target)
    told = f"the challenger predicts {what} for all {len(rows):,} rows"
    if not same:
        told = f"the challenger tells rows apart: {len(rows):,} of them, not one value for all"
    elif not varied:
        told += ", as are their targets"
    result = CheckResult.FAILED if same and varied else CheckResult.PASSED
    return Finding(CONSTANT, level, result.value, told, {"rows": len(rows)})


def _is_known(column: Column) -> bool:
    if column.names is not None or column.is_time:
        return True
    return bool(np.isfinite(column.data).all())


def _is_same(column: Column, rounding: float = _ROUNDING) -> bool:
    if column.names is not None or column.is_time:
        return bool((column.data == column.data[0]).all())
    return _range(column) <= rounding * float(abs(column.data).max()) / 2


def _range(column: Column) -> float:
    """Return half of how far numbers are apart: the whole of it may overflow."""
    return float(column.data.max()) / 2 - float(column.data.min()) / 2


def _shown(column: Column) -> str:
    values: Floats = column.data
    return (
        f"{values[0]:.6g}"
        if column.is_number
        else repr(str(column.take(slice(0, 1)).to_pandas()[0]))
    )
