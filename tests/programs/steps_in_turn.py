"""Runs steps one after another in one process, because each import of TensorFlow takes 10 s.

    steps_in_turn.py PROJECT

Reads from standard input a JSON list of [experiment id, step, parameters]; prints as its last line
a JSON list of [exit status, run id]. The project's package must be on PYTHONPATH.
"""

import importlib
import json
import os
import sys

import mlflow

(project,) = sys.argv[1:]
main = importlib.import_module("shared.tracking").main
done = []
for experiment, name, parameters in json.load(sys.stdin):
    run_id = mlflow.MlflowClient().create_run(experiment).info.run_id
    os.environ["MLFLOW_RUN_ID"] = run_id
    step = importlib.import_module(f"{project}.{name}").STEP
    done.append([main(step, [f"--{key}={value}" for key, value in parameters.items()]), run_id])
sys.stdout.write(f"\n{json.dumps(done)}\n")
