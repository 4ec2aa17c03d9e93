"""What a worker hands to its model."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mlflow.types.schema import ColSpec, Schema

from understudy.decide.benchmark import costs_of
from understudy.errors import TrackingUnavailableError
from understudy.serving.inside.benchmark_worker import (
    LoadedModel,
    RefusedError,
    UnreachableError,
    fetched,
    fitted,
    resident,
)

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
    assert fitted(FRAME, Noting()).equals(FRAME)
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


# MLflow about itself, in this process.
MLFLOW_WARNS = pytest.mark.filterwarnings("default")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Any:  # noqa: ANN401 -- MLflow's
    """Return a model that somebody logged when no row had a gap: it takes whole numbers."""
    import mlflow.pyfunc

    class Rooms(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
        def predict(self, context: object, model_input: pd.DataFrame) -> pd.Series:  # noqa: ARG002
            if not model_input.any(axis=None):
                raise ValueError("a flat of no size")
            return model_input.sum(axis=1)

    inputs = Schema([ColSpec("long", "rooms"), ColSpec("integer", "floors")])
    folder = tmp_path_factory.mktemp("whole") / "model"
    signature = mlflow.models.ModelSignature(inputs=inputs)
    mlflow.pyfunc.save_model(folder, python_model=Rooms(), signature=signature, pip_requirements=[])
    return mlflow.pyfunc.load_model(str(folder))


@MLFLOW_WARNS
def test_whole_numbers_that_gaps_of_other_rows_made_floats(whole: Any) -> None:  # noqa: ANN401
    """They fit the signature; a fraction, or one that is too large, does not."""
    good = pd.DataFrame({"rooms": [1.0, 2.0], "floors": [1.0, 3.0]})
    assert LoadedModel(whole, fitted(good, whole)).timed(first=0, calls=2)
    for odd in (good.assign(rooms=[1.5, 2.0]), good.assign(floors=[1.0, 2.0**40])):
        with pytest.raises(RefusedError, match="Allowed: "):
            LoadedModel(whole, fitted(odd, whole)).timed(first=0, calls=1)


@MLFLOW_WARNS
def test_gaps_that_the_signature_has_no_room_for(whole: Any) -> None:  # noqa: ANN401
    """What was asked, what MLflow answered, and what to do, in the three parts."""
    rows = pd.DataFrame({"rooms": [1.0, None, 2.0], "floors": [1, 2, 3]}).astype({"floors": "i4"})
    with pytest.raises(RefusedError) as refused:
        LoadedModel(whole, fitted(rows, whole)).timed(first=0, calls=0)
    said = str(refused.value)
    assert said.startswith(
        "asked to predict 3 rows, in which 'rooms' (long) is missing somewhere, it answered"
        " MlflowException: Incompatible input types for column rooms."
    ), said
    assert said.endswith(
        "Allowed: a prediction for each row, also one with missing cells. Next: log it with 'rooms'"
        " (long) in a type that can be missing, such as double, and train again."
    )


@MLFLOW_WARNS
def test_a_model_that_refuses_rows_without_gaps(whole: Any) -> None:  # noqa: ANN401
    """Its own words, and no advice about gaps."""
    rows = pd.DataFrame({"rooms": [0], "floors": [0]}).astype({"floors": "i4"})
    with pytest.raises(
        RefusedError, match=r"1 row, it answered ValueError: a flat of no size\. .*"
    ):
        LoadedModel(whole, rows).timed(first=0, calls=1)


@MLFLOW_WARNS
def test_a_model_without_a_signature_is_asked_its_own_columns(tmp_path: Path) -> None:
    """Those that it was fitted on: of others the library says that it has never seen them."""
    import mlflow.pyfunc
    import mlflow.sklearn
    from sklearn.ensemble import HistGradientBoostingRegressor

    rows = pd.DataFrame({"row_id": range(40), "size": [1.0, None] * 20, "price": range(40)})
    model = HistGradientBoostingRegressor(max_iter=2).fit(rows[["size"]], rows["price"])
    mlflow.sklearn.save_model(
        model, tmp_path / "model", serialization_format="cloudpickle", pip_requirements=[]
    )
    loaded = mlflow.pyfunc.load_model(str(tmp_path / "model"))
    asked = fitted(rows, loaded)
    assert list(asked.columns) == ["size"]
    assert LoadedModel(loaded, asked).timed(first=0, calls=2)
    with pytest.raises(RefusedError, match=r"Next: log it with a signature, as it is asked every"):
        LoadedModel(loaded, rows).timed(first=0, calls=0)


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
