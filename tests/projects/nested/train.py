"""Trains on what another run has loaded."""

import sys

import mlflow

rows = mlflow.MlflowClient().get_run(sys.argv[1]).data.metrics["rows"]
with mlflow.start_run():
    mlflow.log_metric("rmse", 1 / rows)
