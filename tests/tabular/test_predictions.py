"""A model of somebody else's is asked rows with gaps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from mlflow.types.schema import ColSpec, Schema

from shared.errors import DataError
from tabular.declaration import Column
from tabular.facts import Facts
from tabular.predictions import predict

# MLflow about itself, in this process.
pytestmark = [pytest.mark.unit, pytest.mark.filterwarnings("default")]

FACTS = Facts(
    "flats",
    "regression",
    "price",
    {"rooms": Column("number", nullable=True), "price": Column("number")},
    ("rooms",),
)
ROWS = pd.DataFrame({"row_id": ["a-0", "b-0"], "rooms": [1.0, 2.0], "price": [10.0, 20.0]})


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Any:  # noqa: ANN401 -- MLflow's
    """Return a model that was logged when no row had a gap: it takes whole numbers."""
    import mlflow.pyfunc

    class Rooms(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
        def predict(self, context: object, model_input: pd.DataFrame) -> pd.Series:  # noqa: ARG002
            return 10 * model_input["rooms"]

    folder: Path = tmp_path_factory.mktemp("foreign") / "model"
    signature = mlflow.models.ModelSignature(inputs=Schema([ColSpec("long", "rooms")]))
    mlflow.pyfunc.save_model(folder, python_model=Rooms(), signature=signature, pip_requirements=[])
    return mlflow.pyfunc.load_model(str(folder))


def test_whole_numbers_that_gaps_of_other_rows_made_floats(foreign: Any) -> None:  # noqa: ANN401
    """They fit its signature."""
    assert predict(foreign, ROWS, FACTS)["prediction"].tolist() == [10.0, 20.0]


def test_gaps_that_the_signature_has_no_room_for(foreign: Any) -> None:  # noqa: ANN401
    """What was asked, what MLflow answered without the rows themselves, and what to do."""
    with pytest.raises(DataError) as refused:
        predict(foreign, ROWS.assign(rooms=[1.0, None]), FACTS)
    assert str(refused.value).startswith(
        "the model failed on the holdout rows, in which 'rooms' (long) is missing somewhere:"
        " MlflowException: Incompatible input types for column rooms."
    )
    assert str(refused.value).endswith(
        "Next: log the model with 'rooms' (long) in a type that can be missing, such as double."
    )


@pytest.mark.parametrize("kind", ["python", "scikit-learn"])
def test_a_model_without_a_signature_is_not_shown_the_target(kind: str, tmp_path: Path) -> None:
    """One that does not say its columns is asked all others, one that was fitted on some these."""
    import mlflow.pyfunc
    import mlflow.sklearn
    from sklearn.linear_model import LinearRegression

    class Adding(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
        def predict(self, context: object, model_input: pd.DataFrame) -> pd.Series:  # noqa: ARG002
            return model_input.sum(axis="columns")

    rows = ROWS.assign(floor=[100.0, 200.0])
    if kind == "python":
        mlflow.pyfunc.save_model(tmp_path / "m", python_model=Adding(), pip_requirements=[])
    else:
        fitted = LinearRegression().fit(rows[["floor"]], rows["price"])
        mlflow.sklearn.save_model(
            fitted, tmp_path / "m", serialization_format="cloudpickle", pip_requirements=[]
        )
    model: Any = mlflow.pyfunc.load_model(str(tmp_path / "m"))
    said = predict(model, rows, FACTS)["prediction"].tolist()
    assert said == pytest.approx([101.0, 202.0] if kind == "python" else [10.0, 20.0])
    if kind == "scikit-learn":
        with pytest.raises(DataError, match="lack columns that the model takes: 'floor'"):
            predict(model, ROWS, FACTS)
