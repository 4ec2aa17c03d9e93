"""Logs a model that is code: ``log_model.py FILE EXPERIMENT_ID``; the last word is its id."""

import sys

import mlflow
import pandas as pd

if __name__ == "__main__":
    code, experiment_id = sys.argv[1:]
    with mlflow.start_run(experiment_id=experiment_id):
        info = mlflow.pyfunc.log_model(
            name="model",
            python_model=code,
            input_example=pd.DataFrame({"x": [1.5, 2.5]}),
            pip_requirements=["mlflow-skinny==3.17.2", "pandas==3.1.1"],
        )
    sys.stdout.write(f"\n{info.model_id}\n")
