"""A model as code, for tests: it answers how many cells of a row are missing."""

from typing import Any

import mlflow
import pandas as pd


class CountingGaps(mlflow.pyfunc.PythonModel):
    """Counts what is missing."""

    def predict(
        self, context: object, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> list[float]:
        """Return the number of missing cells of each row."""
        del context, params
        return [float(gaps) for gaps in model_input.isna().sum(axis="columns")]


mlflow.models.set_model(CountingGaps())
