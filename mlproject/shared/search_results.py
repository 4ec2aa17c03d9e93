"""What a search leaves: the best trial's parameters, a table of all trials, counts and pictures.

Touches the active MLflow run and a temporary folder.
"""

import json
import shlex
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from optuna.trial import FrozenTrial, TrialState

from shared import study_pictures
from shared.errors import DataError
from shared.objective import Objective
from shared.study import ERROR, METRICS, summary
from shared.tracking import say

BEST_FILE, STUDY_FILE, TRIALS_FILE = "best_params.json", "study.json", "trials.csv"
PICTURES = "pictures"


def log_results(study: str, objective: Objective, trials: Sequence[FrozenTrial]) -> None:
    """Log the best trial, a table of all and the pictures.

    Args:
        study: its name.
        objective: what its trials have in common.
        trials: all of them.

    Raises:
        DataError: if no trial succeeded.
    """
    import mlflow

    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        _table(objective, trials).to_csv(folder / TRIALS_FILE, index=False)
        if complete:
            best = _best(objective, complete)
            _write_best(folder, study, objective, best, trials)
        mlflow.log_artifacts(str(folder))
    mlflow.log_metrics({name: float(count) for name, count in summary(trials).items()})
    if not complete:
        raise _nothing(trials)
    mlflow.log_metrics(best.user_attrs[METRICS])
    _log_course(objective, complete)
    counts = ", ".join(f"{n} {how.removeprefix('trials_')}" for how, n in summary(trials).items())
    say(f"best: trial {best.number} with {objective.metric} {best.value:.5g} ({counts})")
    parameters = objective.parameters(best.params).items()
    options = " ".join(f"-P {name}={shlex.quote(str(value))}" for name, value in parameters)
    say(f"train it with: mlflow run ... -e train -P data=... {options}")
    _log_pictures(objective, trials)


def _log_pictures(objective: Objective, trials: Sequence[FrozenTrial]) -> None:
    """Log the pictures, after all else: numbers that cannot be drawn cost no result."""
    import mlflow

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        try:
            study_pictures.draw_all(trials, objective.metric, objective.direction, folder)
        except (ArithmeticError, ValueError) as error:
            say(f"not every picture could be drawn: {type(error).__name__}: {error}")
        mlflow.log_artifacts(str(folder), PICTURES)


def _best(objective: Objective, complete: Sequence[FrozenTrial]) -> FrozenTrial:
    """Return the best trial; of equal ones the first."""
    sign = 1 if objective.direction == "minimize" else -1
    return min(complete, key=lambda trial: (sign * (trial.value or 0.0), trial.number))


def _write_best(
    folder: Path, study: str, objective: Objective, best: FrozenTrial, trials: Sequence[FrozenTrial]
) -> None:
    told = {
        "study": study,
        "metric": objective.metric,
        "direction": objective.direction,
        "best_trial": best.number,
        "best_value": best.value,
        **summary(trials),
    }
    for name, content in ((BEST_FILE, objective.parameters(best.params)), (STUDY_FILE, told)):
        (folder / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _table(objective: Objective, trials: Sequence[FrozenTrial]) -> pd.DataFrame:
    stepwise = any(trial.intermediate_values for trial in trials)
    return pd.DataFrame(
        [
            {
                "trial": trial.number,
                "state": trial.state.name.lower(),
                objective.metric: trial.value,
                **trial.params,
                **({"steps": len(trial.intermediate_values)} if stepwise else {}),
                "seconds": trial.duration.total_seconds() if trial.duration else None,
                "error": trial.user_attrs.get(ERROR, ""),
            }
            for trial in trials
        ]
    )


def _log_course(objective: Objective, complete: Sequence[FrozenTrial]) -> None:
    """Log the best value so far, by number of finished trials, as a curve of the search's run."""
    import mlflow
    from mlflow.entities import Metric

    better = min if objective.direction == "minimize" else max
    curve: list[Metric] = []
    for step, trial in enumerate(complete, start=1):
        value = trial.value or 0.0
        best = better(value, curve[-1].value) if curve else value
        moment = trial.datetime_complete or trial.datetime_start
        stamp = int(1000 * moment.timestamp()) if moment else 0
        curve.append(Metric(f"best_{objective.metric}", best, stamp, step))
    client, active = mlflow.MlflowClient(), mlflow.active_run()
    for start in range(0, len(curve), 1000):  # what one call may hold
        client.log_batch(active.info.run_id, metrics=curve[start : start + 1000])


def _nothing(trials: Sequence[FrozenTrial]) -> DataError:
    errors = [str(one.user_attrs[ERROR]) for one in trials if ERROR in one.user_attrs]
    last = errors[-1].rstrip(".") if errors else "its worker died"
    return DataError(
        f"none of {len(trials)} trials succeeded; the last one: {last}",
        allowed="at least one trial that can be scored",
        action="read the errors of the trials' runs, then correct space, fixed or metric; a search "
        "that was not changed goes on with the same study, so pass another study or more trials",
    )
