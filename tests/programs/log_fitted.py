"""Fits and logs a model that has no signature: ``log_fitted.py ROWS EXPERIMENT_ID LIBRARY``.

It is fitted on all columns of a Parquet file but ``row_id``, ``text`` and ``target``, and its
predictions for these rows become ``predictions.parquet`` beside the file. The last word that is
written is the model's id.
"""

import sys
from pathlib import Path

import mlflow
import pandas as pd

if __name__ == "__main__":
    rows, experiment_id, library = sys.argv[1:]
    frame = pd.read_parquet(rows)
    features = frame.drop(columns=["row_id", "text", "target"]).astype("float64")
    with mlflow.start_run(experiment_id=experiment_id):
        if library == "xgboost":
            from xgboost import XGBRegressor

            model = XGBRegressor(n_estimators=2).fit(features, frame["target"])
            info = mlflow.xgboost.log_model(model, name="model", pip_requirements=[])
        else:
            from sklearn.ensemble import HistGradientBoostingRegressor

            model = HistGradientBoostingRegressor(max_iter=2).fit(features, frame["target"])
            info = mlflow.sklearn.log_model(
                model, name="model", pip_requirements=[], serialization_format="cloudpickle"
            )
    said = frame[["row_id"]].assign(prediction=model.predict(features))
    said.to_parquet(Path(rows).with_name("predictions.parquet"))
    sys.stdout.write(f"\n{info.model_id}\n")
