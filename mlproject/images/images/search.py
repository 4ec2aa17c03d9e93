"""Entry point `search`: an Optuna study over the network's parameters, judged while it trains.

Judges are the validation images that `preprocess` set aside. After each epoch a trial without
prospect may be ended. Run again with the same data and parameters, it goes on with the same study;
run several times at once, it shares it. Every trial is an MLflow run below the search's. What it
leaves for `train` is `best_params.json`. Touches the MLflow run, those of the trials, the study's
storage and a temporary folder.
"""

import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from images import train
from images.facts import Facts
from images.judges import Judges, metric_of, read_judges, without_unseen
from shared import samplers, searching
from shared.commandline import DATA, Option
from shared.objective import MEDIAN, PRUNERS, Report, pruner
from shared.search_space import Space
from shared.space_reading import DEFAULT, GRID, Searchable, read_fixed, read_space
from shared.tracking import Step, log_new_params, main, say

_NOT_SEARCHED = ("data", "random_state")
_EXAMPLE = '{"learning_rate": {"low": 0.0001, "high": 0.01, "log": true}, "filters": [8, 16, 32]}'
_SPACES: Mapping[str, Mapping[str, Any]] = {
    DEFAULT: {
        "learning_rate": {"low": 1e-4, "high": 0.03, "log": True},
        "filters": {"low": 8, "high": 32, "log": True},
        "dropout": {"low": 0.0, "high": 0.6},
        "batch_size": [32, 64, 128],
    },
    GRID: {
        "learning_rate": [0.01, 0.001, 0.0001],
        "filters": [8, 16, 32],
    },
}
"""The number of epochs is in none: more of them are hardly ever worse, so that searching it costs a
study its time and teaches little. Early stopping and pruning spare what is idle."""

OPTIONS = (
    DATA,
    Option("metric", "", "what the best trial is best in; '' for accuracy"),
    Option("pruner", MEDIAN, "when a trial is ended early", choices=PRUNERS),
    *searching.OPTIONS,
)


@dataclass(frozen=True)
class Validation:
    """What every trial of a study has in common; an `objective.Objective`.

    Attributes:
        judges: the validation images.
        space: what is tried.
        metric: what leads, with its prefix.
        direction: "minimize" or "maximize".
        random_state: seed of the networks.
    """

    project: ClassVar[str] = "images"

    judges: Judges
    space: Space
    metric: str
    direction: str
    random_state: int

    def parameters(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return what `train` needs for the network that a trial judged, beside the data."""
        return {"random_state": self.random_state, **self.space.fixed, **params}

    def score(self, params: Mapping[str, Any], report: Report) -> dict[str, float]:
        """Return the metrics of a trial's parameters.

        Raises:
            Exception: whatever training raises, and what `report` does.
        """
        from images import trial

        return trial.score(self.judges, self._values(params), self.metric, report)

    def unseen(self, params: Mapping[str, Any]) -> dict[str, float]:
        """Return the metrics of a trial's parameters on the images that no trial saw.

        Raises:
            TrainingError: if the training diverges.
        """
        from images import trial

        if self.judges.unseen.empty:
            return {}
        return trial.unseen(self.judges, self._values(params), self.metric)

    def _values(self, params: Mapping[str, Any]) -> dict[str, Any]:
        defaults = {option.name: option.default for option in train.OPTIONS}
        return {**defaults, **self.parameters(params)}


def search(values: Mapping[str, Any]) -> None:
    """Do the step within the active MLflow run, as `Step.work` says."""
    import mlflow

    folder = Path(values["data"])
    facts = Facts.read(folder)
    train.check_fitted(facts, folder)
    judges = read_judges(folder, facts)
    if judges.repeated:
        say(
            f"{judges.repeated:,} images repeat the pixels of another one: equal ones are in one "
            "part, so that none judges what it was fitted on"
        )
    with tempfile.TemporaryDirectory() as place:
        judges = without_unseen(judges, values["unseen_fraction"], Path(place))
        objective = _objective(values, judges)
        data = [judges.sha256, facts.classes, facts.mean, facts.std]
        code = [values["pruner"], train.requirements()]
        how = pruner(values["pruner"])
        begun = searching.begin(values, objective, how, facts.dataset, [*data, *code])
        log_new_params({"pruner": values["pruner"], "dataset": facts.dataset, "form": facts.form})
        mlflow.set_tag("data.sha256", facts.sha256)
        train.log_input(facts, "search")
        begun.conduct()


def _objective(values: Mapping[str, Any], judges: Judges) -> Validation:
    grid = values["sampler"] == samplers.GRID
    space = space_of(values["space"], values["fixed"], grid=grid)
    metric, direction = metric_of(values["metric"], judges)
    return Validation(judges, space, metric, direction, values["random_state"])


def space_of(text: str, fixed: str, *, grid: bool) -> Space:
    """Return the space that a search for the network's parameters shall try.

    Args:
        text: a name of `space_reading.NAMES`, or a JSON object; '' for the default.
        fixed: a JSON object of parameters with one value in all trials; '' for none.
        grid: whether every point is to be tried.

    Raises:
        ParameterError: for a space that is empty or wrong, naming everything that is.
    """
    options = {one.name: one for one in train.OPTIONS if not one.required}
    values = read_fixed(fixed, options, _EXAMPLE)
    searched = {name: one for name, one in options.items() if name not in _NOT_SEARCHED}
    return read_space(text, values, Searchable(searched, _SPACES, _EXAMPLE), grid=grid)


STEP = Step("search", OPTIONS, search)

if __name__ == "__main__":
    sys.exit(main(STEP))
