"""Entry point `search`: an Optuna study over a model's parameters, judged by cross-validation.

Run again with the same data and parameters, it goes on with the same study; run several times at
once, it shares it. Every trial is an MLflow run below the search's. What it leaves for `train` is
`best_params.json`. Touches the MLflow run, those of the trials, the study's storage and a
temporary folder.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from shared import samplers, searching
from shared.commandline import DATA, Option
from shared.metrics import leading
from shared.objective import NONE, UNSEEN, Report, pruner
from shared.search_space import Space
from shared.tracking import Step, log_new_params, main, say
from tabular import metrics, models
from tabular.facts import Facts
from tabular.folds import PREFIX, Folds, cut
from tabular.identity import content_sha256
from tabular.inputs import log_rows
from tabular.model_spaces import space_of
from tabular.preprocess import FEWEST_CLASSES, TRAIN_FILE, read_part
from tabular.split import unseen
from tabular.train import check_rows

OPTIONS = (
    DATA,
    Option("model", "random_forest", "kind of model"),
    Option("metric", "", "what the best trial is best in; '' for rmse or accuracy"),
    Option("folds", 5, "parts of the cross-validation", minimum=2, maximum=100),
    *searching.OPTIONS,
)


@dataclass(frozen=True)
class CrossValidation:
    """What every trial of a study has in common; an `objective.Objective`.

    Attributes:
        model: kind of model.
        space: what is tried.
        folds: what judges.
        kept: rows that no trial sees, numbered from 0; may be empty.
        metric: what leads, with its prefix.
        direction: "minimize" or "maximize".
        random_state: seed of the models.
    """

    project: ClassVar[str] = "tabular"

    model: str
    space: Space
    folds: Folds
    kept: pd.DataFrame
    metric: str
    direction: str
    random_state: int

    def parameters(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return what `train` needs for the model that a trial judged, beside the data."""
        fixed = {"model": self.model, "random_state": self.random_state, **self.space.fixed}
        return {**fixed, **params}

    def score(self, params: Mapping[str, Any], report: Report) -> dict[str, float]:
        """Return the metrics of a trial's parameters.

        Raises:
            Exception: whatever fitting and scoring raise.
        """
        del report  # a fit has no steps
        used = _used(self.model, self.folds.facts, self.parameters(params))
        return self.folds.score(self.model, used)

    def unseen(self, params: Mapping[str, Any]) -> dict[str, float]:
        """Return the metrics of a trial's parameters on the rows that no trial saw.

        Raises:
            Exception: whatever fitting and scoring raise.
        """
        if self.kept.empty:
            return {}
        used = _used(self.model, self.folds.facts, self.parameters(params))
        plain = self.metric.removeprefix(PREFIX)
        found = self.folds.unseen(self.model, used, self.kept, plain)
        return {f"{UNSEEN}{name}": v for name, v in {"rows": len(self.kept), **found}.items()}


def _used(model: str, facts: Facts, given: Mapping[str, Any]) -> dict[str, Any]:
    defaults = {option.name: option.default for option in models.OPTIONS}
    return models.choose(model, facts.task, {**defaults, **given})


def search(values: Mapping[str, Any]) -> None:
    """Do the step within the active MLflow run, as `Step.work` says."""
    import mlflow

    folder = Path(values["data"])
    facts = Facts.read(folder)
    rows = read_part(folder, TRAIN_FILE)
    objective = cross_validation(values, facts, rows)
    data = [content_sha256(rows), facts.task, facts.target, list(facts.features)]
    code = [objective.model, values["folds"], version("scikit-learn")]
    name = f"{facts.dataset}-{objective.model}"
    begun = searching.begin(values, objective, pruner(NONE), name, [*data, *code])
    shown = {one: values[one] for one in ("model", "folds")}
    log_new_params({**shown, "dataset": facts.dataset, "task": facts.task})
    mlflow.set_tag("data.sha256", facts.sha256)
    log_rows(rows, facts, "search")
    begun.conduct()


def cross_validation(
    values: Mapping[str, Any], facts: Facts, rows: pd.DataFrame
) -> CrossValidation:
    """Return what judges the trials; what is odd about the rows is said.

    Args:
        values: the parameters, as `OPTIONS` names them.
        facts: of the data.
        rows: what `preprocess` left for training.

    Raises:
        ParameterError: for parameters that do not go together.
        DataError: for rows that cannot be trained with, or cannot judge.
    """
    grid = values["sampler"] == samplers.GRID
    space = space_of(values["space"], values["fixed"], values["model"], facts.task, grid=grid)
    check_rows(rows, facts, _used(values["model"], facts, space.fixed))
    known = metrics.REGRESSION if facts.task == "regression" else metrics.CLASSIFICATION
    metric, direction = leading(values["metric"], known, PREFIX)
    seed = values["random_state"]
    seen, kept = _parted(rows, facts, values["unseen_fraction"])
    folds = cut(seen, facts, values["folds"], seed, metric)
    for line in (*folds.notes, *(f"{line}: it is left out" for line in folds.left_out)):
        say(line)
    return CrossValidation(values["model"], space, folds, kept, metric, direction, seed)


def _parted(rows: pd.DataFrame, facts: Facts, fraction: float) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the rows that trials see, and those that judge the best one; these may be none."""
    aside = unseen(rows, facts.split_by, fraction)
    seen, kept = rows[~aside], rows[aside]
    if facts.task == "classification" and seen[facts.target].nunique() < FEWEST_CLASSES:
        return rows, rows.head(0)
    return seen.reset_index(drop=True), kept.reset_index(drop=True)


STEP = Step("search", OPTIONS, search)

if __name__ == "__main__":
    sys.exit(main(STEP))
