"""What MLflow is told of rows is told by a few of them."""

from __future__ import annotations

import pandas as pd
import pytest
from mlflow.types.utils import _infer_schema

from tabular.inputs import typical

# MLflow asks pandas for what it will no longer have one day.
pytestmark = [pytest.mark.unit, pytest.mark.filterwarnings("default::DeprecationWarning")]


def test_a_few_rows_tell_types_and_what_may_be_missing() -> None:
    """The same schema as of all rows, wherever in them something is missing."""
    count = 500
    frame = pd.DataFrame(
        {
            "number": [float(n) for n in range(count)],
            "gap": [float(n) for n in range(count)],
            "text": pd.Series(["a"] * count, dtype="str"),
            "no text": pd.Series([None] * count, dtype="str"),
            "late text": pd.Series([None] * (count - 1) + ["a"], dtype="str"),
            "time": pd.date_range("2026-01-01", periods=count, freq="h", tz="UTC"),
        }
    )
    frame.loc[400, "gap"] = None
    frame.loc[300, "text"] = None
    some = typical(frame)
    assert len(some) < 10
    assert _infer_schema(some) == _infer_schema(frame)
    assert len(typical(frame.head(1))) == 1
