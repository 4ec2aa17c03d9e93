"""A metric of the user's own: a function of a frame, named as ``module:function``."""

from __future__ import annotations

import importlib
import math
import warnings
from collections.abc import Callable
from typing import Any

import pandas as pd

from understudy.errors import DecisionError
from understudy.evaluation.conditions import NOT_DEFINED
from understudy.evaluation.definition import SHOWN, Definition, Input, UndefinedError
from understudy.evaluation.pairing import Rows


def own(place: str) -> Definition:
    """Return the metric that a function computes.

    Raises:
        DecisionError: when it cannot be imported, or is no function.
    """
    function = _imported(place)

    def score(rows: Rows) -> float:
        try:
            value, undefined = _called(function, rows.frame())
        except Exception as error:  # a user's function may raise anything
            found = f"{place} raised {type(error).__name__}: {error}"
            raise UndefinedError(found.partition("\n")[0][:SHOWN]) from error
        if undefined and math.isnan(value):
            raise UndefinedError(f"{NOT_DEFINED}: {undefined}"[:SHOWN])
        return value

    return Definition(score, Input.FRAME)


def _called(function: Callable[[pd.DataFrame], Any], frame: pd.DataFrame) -> tuple[float, str]:
    """Return a function's value, and what scikit-learn said meanwhile of rows that define none."""
    from sklearn.exceptions import UndefinedMetricWarning

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UndefinedMetricWarning)
        value = float(function(frame))
    undefined = [one for one in caught if issubclass(one.category, UndefinedMetricWarning)]
    for one in caught:
        if one not in undefined:
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
    return value, str(undefined[0].message).partition("\n")[0] if undefined else ""


def _imported(place: str) -> Callable[[pd.DataFrame], Any]:
    module, _, name = place.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise DecisionError(
            f"The metric's function {place!r} cannot be imported: {error}",
            allowed="'module:function', importable by the Python that judges",
            action="put the module where that Python finds it, or correct the name",
        ) from error
    if not callable(found):
        raise DecisionError(
            f"The metric's function {place!r} is a {type(found).__name__}",
            allowed="a function that takes a pandas.DataFrame and returns a number",
            action="name a function",
        )
    return found  # type: ignore[no-any-return]
