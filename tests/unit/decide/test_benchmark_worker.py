"""What a worker hands to its model."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mlflow.types.schema import ColSpec, Schema

from understudy.decide.benchmark import costs_of
from understudy.decide.benchmark_worker import (
    LoadedModel,
    UnreachableError,
    fetched,
    fitted,
    resident,
)
from understudy.errors import TrackingUnavailableError

pytestmark = pytest.mark.unit

FRAME = pd.DataFrame({"other": [1, 2], "size": [3, 4], "name": ["a", "b"]})


class Noting:
    """A model that notes what it is asked."""

    def __init__(self, schema: Schema | None = None) -> None:
        self.asked: list[Any] = []
        self.metadata = SimpleNamespace(get_input_schema=lambda: schema)

    def predict(self, rows: Any) -> None:  # noqa: ANN401 -- any rows
        """Note them."""
        self.asked.append(rows)


def test_rows_become_what_the_signature_says() -> None:
    """Columns that it takes, in its order; whole numbers become floats where it wants these."""
    schema = Schema([ColSpec("string", "name"), ColSpec("double", "size"), ColSpec("long", "new")])
    rows = fitted(FRAME, Noting(schema))
    assert list(rows.columns) == ["name", "size"]
    assert rows["size"].dtype == np.float64


def test_rows_without_a_signature_stay() -> None:
    """Nobody knows better."""
    assert fitted(FRAME, Noting()) is FRAME
    array = np.zeros((2, 3))
    assert fitted(array, Noting(Schema([ColSpec("double", "x")]))) is array


@pytest.mark.parametrize(
    ("rows", "single"),
    [
        (FRAME, [FRAME.iloc[[1]], FRAME.iloc[[0]]]),
        (np.eye(2), [np.eye(2)[1:], np.eye(2)[:1]]),
        ({"x": [1]}, [{"x": [1]}, {"x": [1]}]),
    ],
)
def test_one_row_after_the_other_then_all(rows: Any, single: list[Any]) -> None:  # noqa: ANN401
    """Beginning where it is told, and around again at the end."""
    model = Noting()
    answer = LoadedModel(model, rows).timed(first=1, calls=2)
    assert list(map(str, model.asked)) == list(map(str, [*single, rows]))
    assert len(answer["single"]) == 2
    assert all(seconds >= 0 for seconds in (*answer["single"], answer["batch"]))


def test_a_server_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its model is not one that cannot be measured: the task may be run again."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(UnreachableError):
        fetched("http://127.0.0.1:9/api/2.0/mlflow-artifacts/artifacts/1/m-1/artifacts")
    with pytest.raises(TrackingUnavailableError, match="files of the model 7 could not be") as away:
        costs_of("7", {"error": "refused", "unreachable": True})
    assert away.value.can_retry
    assert costs_of("7", {"error": "broken", "unreachable": False}).error == "broken"


def test_memory() -> None:
    """It is this process's, in bytes."""
    assert 10**7 < resident() < 10**11
