"""Entry point `search`: an Optuna study over a model's parameters, judged by cross-validation.

Run again with the same data and parameters, it goes on with the same study; run several times at
once, it shares it. Every trial is an MLflow run below the search's. What it leaves for `train` is
`best_params.json`. Touches the MLflow run, those of the trials, the study's storage and a
temporary folder.
"""

import hashlib
import json
import re
import shlex
import sys
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from tabular import models, samplers, study_pictures
from tabular.commandline import Option
from tabular.errors import DataError, ParameterError, TabularError
from tabular.facts import Facts
from tabular.folds import Folds, cut, metric_of
from tabular.identity import content_sha256
from tabular.inputs import log_rows
from tabular.preprocess import TRAIN_FILE, read_part
from tabular.search_space import Space, read_space
from tabular.study import ERROR, METRICS, Budget, SharedStudy, open_study, summary
from tabular.study_storage import address_of, open_storage, without_password
from tabular.tracking import Step, log_new_params, main, say
from tabular.train import check_rows
from tabular.trial_runs import STUDY_TAG, TrialRuns

BEST_FILE, STUDY_FILE, TRIALS_FILE = "best_params.json", "study.json", "trials.csv"
PICTURES = "pictures"
_NAME = re.compile(r"[A-Za-z0-9_.-]{0,200}")

OPTIONS = (
    Option(
        "data", "", "the artifact folder that preprocess logged, runs:/<run id>/data", required=True
    ),
    Option("model", "random_forest", "kind of model"),
    Option("space", "", "'default', 'grid', or JSON: parameter to list or range; '' by sampler"),
    Option("fixed", "", "JSON: parameters with one value in all trials"),
    Option("sampler", samplers.TPE, "how points are chosen", choices=samplers.NAMES),
    Option("trials", 20, "trials of the study; 0 for no limit", minimum=0),
    Option("minutes", 0.0, "minutes that the study is worked on; 0 for no limit", minimum=0),
    Option("metric", "", "what the best trial is best in; '' for rmse or accuracy"),
    Option("folds", 5, "parts of the cross-validation", minimum=2, maximum=100),
    Option("study", "", "first part of the study's name; '' for data set and model"),
    Option("storage", "", "folder, file or database URL of studies; '' as OPTUNA_STORAGE says"),
    Option("random_state", 42, "seed of everything random", minimum=0, maximum=2**32 - 1),
)


@dataclass(frozen=True)
class Task:
    """What every trial of a study has in common.

    Attributes:
        model: kind of model.
        space: what is tried.
        folds: what judges.
        metric: what leads, with its prefix.
        direction: "minimize" or "maximize".
        random_state: seed of the models.
    """

    model: str
    space: Space
    folds: Folds
    metric: str
    direction: str
    random_state: int

    def parameters(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return what `train` needs for the model that a trial judged, beside the data."""
        fixed = {"model": self.model, "random_state": self.random_state, **self.space.fixed}
        return {**fixed, **params}

    def score(self, params: Mapping[str, Any]) -> dict[str, float]:
        """Return the metrics of a trial's parameters.

        Raises:
            Exception: whatever fitting and scoring raise.
        """
        used = _used(self.model, self.folds.facts, self.parameters(params))
        found = self.folds.score(self.model, used)
        if self.metric not in found:
            raise DataError(
                f"the folds do not define {self.metric}",
                allowed=", ".join(found),
                action="choose another metric, or fewer folds",
            )
        return found


def _used(model: str, facts: Facts, given: Mapping[str, Any]) -> dict[str, Any]:
    defaults = {option.name: option.default for option in models.OPTIONS}
    return models.choose(model, facts.task, {**defaults, **given})


def search(values: Mapping[str, Any]) -> None:
    """Do the step within the active MLflow run.

    Args:
        values: the parameters, as `OPTIONS` names them.

    Raises:
        TabularError: see `errors`.
    """
    folder = Path(values["data"])
    facts = Facts.read(folder)
    rows = read_part(folder, TRAIN_FILE)
    task = _task(values, facts, rows)
    budget = _budget(values, task.space)
    name = _name(values, task, content_sha256(rows))
    address = address_of(values["storage"])
    how = samplers.sampler(values["sampler"], task.space, values["random_state"])
    study = open_study(open_storage(address, name), name, task.direction, how)
    say(f"study {name} in {without_password(address)}: {len(study.trials)} trials so far")
    _log_begin(values, task, name, rows)
    _log_end(study, task, _work(study, task, budget))


def _task(values: Mapping[str, Any], facts: Facts, rows: pd.DataFrame) -> Task:
    grid = values["sampler"] == samplers.GRID
    space = read_space(values["space"], values["fixed"], values["model"], facts.task, grid=grid)
    check_rows(rows, facts, _used(values["model"], facts, space.fixed))
    metric, direction = metric_of(values["metric"], facts)
    seed = values["random_state"]
    folds = cut(rows, facts, values["folds"], seed)
    return Task(values["model"], space, folds, metric, direction, seed)


def _budget(values: Mapping[str, Any], space: Space) -> Budget:
    most, minutes = values["trials"] or None, values["minutes"] or None
    if values["sampler"] == samplers.GRID and space.size is not None:
        most = min(most or space.size, space.size)
    if most is None and minutes is None:
        raise ParameterError(
            "trials is 0 and minutes is 0, so the search would never end",
            allowed="a number of trials, of minutes, or both",
            action="pass -P trials=... or -P minutes=...",
        )
    return Budget(most, minutes)


def _name(values: Mapping[str, Any], task: Task, rows_sha256: str) -> str:
    """Return the study's name, which ends with a digest of all that its trials have in common.

    So trials that cannot be compared never meet in one study, and the same search finds its own.
    """
    given, facts = values["study"], task.folds.facts
    if not _NAME.fullmatch(given):
        raise ParameterError(
            f"study is {given!r}",
            allowed="up to 200 letters, digits, '_', '-' and '.'",
            action="pass another -P study=...",
        )
    parts = [rows_sha256, facts.task, facts.target, facts.features, task.model, task.metric]
    settings = [values[name] for name in ("sampler", "folds", "random_state")]
    content = [*parts, *settings, task.space.to_dict(), version("scikit-learn")]
    digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()
    return f"{given or f'{facts.dataset}-{task.model}'}-{digest[:12]}"


def _log_begin(values: Mapping[str, Any], task: Task, name: str, rows: pd.DataFrame) -> None:
    import mlflow

    facts = task.folds.facts
    shown = {one: values[one] for one in ("model", "sampler", "trials", "minutes", "folds")}
    log_new_params({**shown, "metric": task.metric, "dataset": facts.dataset, "task": facts.task})
    mlflow.set_tags({STUDY_TAG: name, "data.sha256": facts.sha256})
    mlflow.log_dict(task.space.to_dict(), "space.json")
    log_rows(rows, facts, "search")


def _work(study: Study, task: Task, budget: Budget) -> Sequence[FrozenTrial]:
    """Do trials until the study is over; return all of them, those of other workers too."""
    import mlflow

    client, active = mlflow.MlflowClient(), mlflow.active_run()
    parent = client.get_run(active.info.run_id)
    runs = TrialRuns(client, parent, study.study_name, task.parameters({}))
    shared = SharedStudy(study, task.space, budget, lambda dead: runs.add(_frozen(study, dead)))
    adopted = runs.write_missing(shared.trials())
    if adopted:
        say(f"{adopted} trials of a worker that died had no MLflow run: they have one now")
    with warnings.catch_warnings():
        # A solver that does not converge says so for every fold of every trial.
        warnings.simplefilter("once")
        while (trial := shared.next()) is not None:
            if _do(shared, task, trial):
                runs.add(_frozen(study, trial))
    runs.close()
    trials = shared.trials()
    runs.write_missing(trials)
    return trials


def _do(shared: SharedStudy, task: Task, trial: Trial) -> bool:
    """Do one trial; whatever its parameters cause is written down, and the study goes on.

    Returns whether it counts: not where others took this worker for dead meanwhile.
    """
    try:
        with shared.seen(trial):
            found = task.score(trial.params)
    except Exception as error:  # noqa: BLE001 - a failed trial is a result
        message = str(error) if isinstance(error, TabularError) else _told(error)
        say(f"trial {trial.number} failed: {message}")
        return shared.failed(trial, message)
    say(f"trial {trial.number}: {task.metric} {found[task.metric]:.5g}, {trial.params}")
    return shared.succeeded(trial, found[task.metric], found)


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _frozen(study: Study, trial: Trial | FrozenTrial) -> FrozenTrial:
    found: FrozenTrial = study._storage.get_trial(trial._trial_id)  # noqa: SLF001 - no other way
    return found


def _log_end(study: Study, task: Task, trials: Sequence[FrozenTrial]) -> None:
    """Log the best trial, a table of all and the pictures.

    Raises:
        DataError: if no trial succeeded.
    """
    import mlflow

    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        _table(task, trials).to_csv(folder / TRIALS_FILE, index=False)
        if complete:
            best = _best(task, complete)
            _write_best(folder, study, task, best, trials)
            (folder / PICTURES).mkdir()
            study_pictures.draw_all(complete, task.metric, task.direction, folder / PICTURES)
        mlflow.log_artifacts(str(folder))
    mlflow.log_metrics({name: float(count) for name, count in summary(trials).items()})
    if not complete:
        raise _nothing(trials)
    mlflow.log_metrics(best.user_attrs[METRICS])
    _log_course(task, complete)
    _say_best(task, best, trials)


def _best(task: Task, complete: Sequence[FrozenTrial]) -> FrozenTrial:
    """Return the best trial; of equal ones the first."""
    sign = 1 if task.direction == "minimize" else -1
    return min(complete, key=lambda trial: (sign * (trial.value or 0.0), trial.number))


def _write_best(
    folder: Path, study: Study, task: Task, best: FrozenTrial, trials: Sequence[FrozenTrial]
) -> None:
    told = {
        "study": study.study_name,
        "metric": task.metric,
        "direction": task.direction,
        "best_trial": best.number,
        "best_value": best.value,
        **summary(trials),
    }
    for name, content in ((BEST_FILE, task.parameters(best.params)), (STUDY_FILE, told)):
        (folder / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _table(task: Task, trials: Sequence[FrozenTrial]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "trial": trial.number,
                "state": trial.state.name.lower(),
                task.metric: trial.value,
                **trial.params,
                "seconds": trial.duration.total_seconds() if trial.duration else None,
                "error": trial.user_attrs.get(ERROR, ""),
            }
            for trial in trials
        ]
    )


def _log_course(task: Task, complete: Sequence[FrozenTrial]) -> None:
    """Log the best value so far, by number of finished trials, as a curve of the search's run."""
    import mlflow
    from mlflow.entities import Metric

    better = min if task.direction == "minimize" else max
    curve: list[Metric] = []
    for step, trial in enumerate(complete, start=1):
        value = trial.value or 0.0
        best = better(value, curve[-1].value) if curve else value
        moment = trial.datetime_complete or trial.datetime_start
        stamp = int(1000 * moment.timestamp()) if moment else 0
        curve.append(Metric(f"best_{task.metric}", best, stamp, step))
    client, active = mlflow.MlflowClient(), mlflow.active_run()
    for start in range(0, len(curve), 1000):  # what one call may hold
        client.log_batch(active.info.run_id, metrics=curve[start : start + 1000])


def _say_best(task: Task, best: FrozenTrial, trials: Sequence[FrozenTrial]) -> None:
    counts = ", ".join(f"{n} {how.removeprefix('trials_')}" for how, n in summary(trials).items())
    say(f"best: trial {best.number} with {task.metric} {best.value:.5g} ({counts})")
    parameters = task.parameters(best.params).items()
    options = " ".join(f"-P {name}={shlex.quote(str(value))}" for name, value in parameters)
    say(f"train it with: mlflow run ... -e train -P data=... {options}")


def _nothing(trials: Sequence[FrozenTrial]) -> DataError:
    errors = [str(one.user_attrs[ERROR]) for one in trials if ERROR in one.user_attrs]
    last = errors[-1].rstrip(".") if errors else "its worker died"
    return DataError(
        f"none of {len(trials)} trials succeeded; the last one: {last}",
        allowed="at least one trial that can be scored",
        action="read the errors of the trials' runs, then correct space, fixed or metric; a search "
        "that was not changed goes on with the same study, so pass another study or more trials",
    )


STEP = Step("search", OPTIONS, search)

if __name__ == "__main__":
    sys.exit(main(STEP))
