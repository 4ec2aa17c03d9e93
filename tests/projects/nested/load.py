"""Loads: the word says how it ends."""

import sys
import time

import mlflow

with mlflow.start_run():
    mlflow.log_param("word", sys.argv[1])
    mlflow.log_metric("rows", 3)
    if sys.argv[1] == "stays":
        sys.stdout.write("loading\n")
        time.sleep(600)
    if sys.argv[1] == "fails":
        raise ValueError("no rows")
