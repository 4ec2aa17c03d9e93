"""Logs a model that is code: ``log_model.py FILE EXPERIMENT_ID [NAME:TYPE...]``.

With names and types of MLflow the signature has these columns, and there is no input example; with
the one word ``unsigned`` there is neither. The last word that is written is the model's id.
"""

import sys

import mlflow
import pandas as pd
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema

if __name__ == "__main__":
    code, experiment_id, *columns = sys.argv[1:]
    pairs = [column.rpartition(":") for column in columns if column != "unsigned"]
    inputs = [ColSpec(kind, name) for name, _, kind in pairs]
    signature = ModelSignature(inputs=Schema(inputs)) if inputs else False
    with mlflow.start_run(experiment_id=experiment_id):
        info = mlflow.pyfunc.log_model(
            name="model",
            python_model=code,
            signature=signature if columns else None,
            input_example=None if columns else pd.DataFrame({"x": [1.5, 2.5]}),
            pip_requirements=["mlflow-skinny==3.17.2", "pandas==3.1.1"],
        )
    sys.stdout.write(f"\n{info.model_id}\n")
