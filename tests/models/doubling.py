"""A model as code, for tests: it answers 2 * x, or fails as MLFLOW_TEST_FAULT says."""

import os
import signal
from typing import Any

import mlflow
import pandas as pd

if os.environ.get("MLFLOW_TEST_FAULT") == "load":
    message = "the weights are gone"
    raise OSError(message)


class Doubling(mlflow.pyfunc.PythonModel):
    """Doubles."""

    def predict(
        self, context: object, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.Series:
        """Return twice the column x."""
        del context, params
        fault = os.environ.get("MLFLOW_TEST_FAULT", "")
        if fault == "predict":
            message = "no GPU here"
            raise RuntimeError(message)
        if fault.startswith("SIG"):
            os.kill(os.getpid(), signal.Signals[fault])
        return model_input["x"] * 2


mlflow.models.set_model(Doubling())
