"""Entry point `main`: download, preprocess, train and validate in one go, for a first look.

Each step has a nested MLflow run of its own, as in a pipeline. Touches these runs and a temporary
folder.
"""

import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from images import download, preprocess, train, validate
from shared import nested
from shared.commandline import Option
from shared.tracking import Step, main

OPTIONS = (
    Option("dataset", "digits", "name of the data set"),
    Option("as_of", "", "ISO 8601 date or time, UTC; '' for everything there is"),
    *(option for option in train.OPTIONS if option.name in {"epochs", "learning_rate"}),
)


def run_all(values: Mapping[str, Any]) -> None:
    """Do all steps within the active MLflow run, as `Step.work` says."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        source = {"dataset": values["dataset"], "as_of": values["as_of"]}
        raw = nested.artifacts(nested.run(download.STEP, source), "raw", folder)
        data = nested.artifacts(nested.run(preprocess.STEP, {"raw": raw}), "data", folder)
        chosen = {name: str(values[name]) for name in ("epochs", "learning_rate")}
        trained = nested.run(train.STEP, {"data": data, **chosen})
        nested.run(validate.STEP, {"data": data, "model_uri": f"runs:/{trained}/model"})


STEP = Step("main", OPTIONS, run_all)

if __name__ == "__main__":
    sys.exit(main(STEP))
