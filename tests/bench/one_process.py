"""A night in one Python process, in the project's folder: the least that its steps can take.

Reads DATASET, SOURCE, TARGET, MODEL, N_ESTIMATORS and CHAMPION; every step is one MLflow run, and
fetches its inputs from the tracking server as a step does.
"""

import os
import sys

from plain_step import main


def step(name: str, *arguments: str) -> str:
    """Run a step; return its run's id."""
    status, run_id = main(name, *arguments)
    if status:
        sys.exit(status)
    return run_id


download = step(
    "download",
    *(f"--{name.lower()}={os.environ[name]}" for name in ("DATASET", "SOURCE", "TARGET")),
)
preprocess = step("preprocess", f"--raw=runs:/{download}/raw")
data = f"--data=runs:/{preprocess}/data"
model = (f"--model={os.environ['MODEL']}", f"--n_estimators={os.environ['N_ESTIMATORS']}")
train = step("train", data, *model)
step("validate", data, f"--model_uri=runs:/{train}/model")
step("validate", data, f"--model_uri={os.environ['CHAMPION']}")
