"""A model as code, for tests: it answers 2 * x, or fails as MLFLOW_TEST_FAULT says.

A row of which x is CRASH ends its process, one of which x is SLOW takes three seconds.
"""

import os
import signal
import time
from typing import Any

import mlflow
import pandas as pd

CRASH, SLOW = -666.0, -333.0

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
        if (model_input["x"] == CRASH).any():
            os.kill(os.getpid(), signal.SIGSEGV)
        if (model_input["x"] == SLOW).any():
            time.sleep(3)
        return model_input["x"] * 2


mlflow.models.set_model(Doubling())
