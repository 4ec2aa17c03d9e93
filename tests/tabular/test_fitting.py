"""Learning curves, early stopping, and trainings that do not end in numbers."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from shared.errors import ParameterError, TrainingError
from tabular import models, train
from tabular.declaration import Column, Task
from tabular.facts import Facts
from tabular.fitting import Curves, Part, fit

pytestmark = pytest.mark.unit

DEFAULTS = {option.name: option.default for option in models.OPTIONS}
ROWS = pd.DataFrame({"x": np.linspace(0, 6, 200), "kind": ["a", "b"] * 100})
NOISE = np.random.default_rng(0).normal(scale=0.5, size=200)


def fitted(name: str, task: Task, target: pd.Series, patience: int = 0, **given: float) -> Curves:
    """Fit every row but each fourth, score these, and return the curves."""
    facts = Facts("demo", task, "y", {"x": Column(), "kind": Column(kind="text")}, ("x", "kind"))
    pipeline = models.build(name, facts, models.choose(name, task, {**DEFAULTS, **given}))
    aside = ROWS.index % 4 == 0
    parts = [Part(ROWS[mask], target[mask]) for mask in (~aside, aside)]
    curves = fit(pipeline, parts[0], parts[1], patience)
    assert len(pipeline.predict(ROWS)) == len(ROWS)
    return curves


def test_a_regression_stops_early() -> None:
    """Both errors have one value per round; the fit ended when the second one rose."""
    target = pd.Series(np.sin(ROWS["x"]) + NOISE)
    curves = fitted("xgboost", "regression", target, patience=5, n_estimators=500)
    train_rmse, validation_rmse = curves["train_rmse"], curves["validation_rmse"]
    assert len(train_rmse) == len(validation_rmse) < 500
    assert int(np.argmin(validation_rmse)) == len(validation_rmse) - 6
    assert train_rmse[-1] < train_rmse[0]


@pytest.mark.parametrize("classes", [2, 3])
def test_classes_have_a_log_loss(classes: int) -> None:
    """Under our name, whatever XGBoost calls it; a class that was not fitted is left out."""
    target = pd.Series(np.digitize(ROWS["x"], np.linspace(0, 6, classes + 1)[1:-1])).astype("str")
    target[0] = "never fitted"
    curves = fitted("xgboost", "classification", target, n_estimators=5)
    assert {name: len(values) for name, values in curves.items()} == {
        "train_log_loss": 5,
        "validation_log_loss": 5,
    }


def test_stopping_early_needs_rounds() -> None:
    """A tree has none, and without rows to score nobody knows when to stop."""
    with pytest.raises(ParameterError, match="the model has no rounds"):
        fitted("decision_tree", "regression", pd.Series(NOISE), patience=5)
    facts = Facts("demo", "regression", "y", {"x": Column()}, ("x",))
    used = models.choose("xgboost", "regression", DEFAULTS)
    pipeline = models.build("xgboost", facts, used)
    with pytest.raises(ParameterError, match=re.escape("pass -P validation_fraction=0.2")):
        fit(pipeline, Part(ROWS[["x"]], pd.Series(NOISE)), None, 5)


def test_a_training_that_diverges_is_an_error() -> None:
    """Rounds that each overshoot end in infinity, and the message says when."""
    with pytest.raises(TrainingError, match=r"diverged: train_rmse is (inf|nan) after round \d+"):
        fitted("xgboost", "regression", pd.Series(1e3 * NOISE), learning_rate=10, n_estimators=500)


def test_xgboost_is_imported_only_where_it_is_asked_for() -> None:
    """No other model, and no other step, waits for it."""
    code = (
        "import sys; from tabular import main, models; from tabular.facts import Facts; "
        "from tabular.declaration import Column; "
        "facts = Facts('d', 'regression', 'y', {'x': Column()}, ('x',)); "
        "values = {option.name: option.default for option in models.OPTIONS}; "
        "name = 'hist_gradient_boosting'; "
        "models.build(name, facts, models.choose(name, 'regression', values)); "
        "print('xgboost' in sys.modules)"
    )
    project = Path(train.__file__).parents[1]
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=project, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "False"
