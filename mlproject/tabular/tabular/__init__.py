"""An MLproject for any table with a target: data sets, checks, split, models and metrics.

Each entry point of the MLproject is one module here (`download`, `explore`, `preprocess`, `train`,
`validate`, `main`). The package touches only the MLflow run of its step and a temporary folder.
"""
