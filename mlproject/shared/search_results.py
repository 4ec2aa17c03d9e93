"""What a search leaves: the best trial's parameters, a table of all trials, counts and pictures.

Touches the active MLflow run and a temporary folder.
"""

import json
import shlex
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from optuna.trial import FrozenTrial, TrialState

from shared import study_pictures
from shared.errors import DataError
from shared.objective import ERROR as STANDARD_ERROR
from shared.objective import UNSEEN, Objective
from shared.study import ERROR, METRICS, summary
from shared.tracking import say

BEST_FILE, STUDY_FILE, TRIALS_FILE = "best_params.json", "study.json", "trials.csv"
PICTURES = "pictures"


def log_results(
    study: str,
    objective: Objective,
    trials: Sequence[FrozenTrial],
    unseen: Mapping[str, float],
    points: int | None = None,
) -> None:
    """Log the best trial, a table of all and the pictures.

    Args:
        study: its name.
        objective: what its trials have in common.
        trials: all of them.
        unseen: metrics of the best one on rows that no trial saw; may be empty.
        points: how many points the grid has; None where there is no grid.

    Raises:
        DataError: if no trial succeeded.
    """
    import mlflow

    best = best_of(objective, trials)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        _table(objective, trials).to_csv(folder / TRIALS_FILE, index=False)
        if best:
            further = {**summary(trials), **_left_out(trials, points), **unseen}
            _write_best(folder, study, objective, best, further)
        mlflow.log_artifacts(str(folder))
    mlflow.log_metrics({name: float(count) for name, count in summary(trials).items()})
    if not best:
        raise _nothing(trials)
    mlflow.log_metrics({**best.user_attrs[METRICS], **unseen})
    complete = _complete(trials)
    _log_course(objective, complete)
    counts = ", ".join(f"{n} {how.removeprefix('trials_')}" for how, n in summary(trials).items())
    if points is not None:
        left_out = _left_out(trials, points)["points_left_out"]
        say(f"{points - left_out} of the grid's {points} points tried, {left_out} left out")
    say(f"best: trial {best.number} with {objective.metric} {best.value:.5g} ({counts})")
    say(_told_of(unseen, objective.metric, len(complete)))
    say(f"train it with: {command(objective.parameters(best.params))}")
    _log_pictures(objective, trials)


def command(parameters: Mapping[str, object]) -> str:
    """Return what trains with these parameters, from where the search's own run came."""
    import mlflow

    run = mlflow.get_run(mlflow.active_run().info.run_id).data
    # By `mlflow run` and by a pipeline; a step that was started by itself knows neither.
    project, data = run.tags.get("mlflow.source.name", ""), run.params.get("data")
    if run.tags.get("mlflow.source.type") != "PROJECT" or not data:
        project, data = "<project>", "runs:/<preprocess run>/data"
    commit = run.tags.get("mlflow.source.git.commit")
    version = ["--version", commit] if commit and "://" in project.removeprefix("file://") else []
    given = [f"{name}={value}" for name, value in {"data": data, **parameters}.items()]
    options = [part for one in given for part in ("-P", one)]
    return shlex.join(["mlflow", "run", project, *version, "-e", "train", *options])


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


def best_of(objective: Objective, trials: Sequence[FrozenTrial]) -> FrozenTrial | None:
    """Return the best trial, of equal ones the first; None where none succeeded."""
    sign = 1 if objective.direction == "minimize" else -1
    by_value = {(sign * (trial.value or 0.0), trial.number): trial for trial in _complete(trials)}
    return by_value[min(by_value)] if by_value else None


def _left_out(trials: Sequence[FrozenTrial], points: int | None) -> dict[str, int]:
    """Return how many points a grid has, and how many of them nobody tried; nothing without one."""
    if points is None:
        return {}
    tried = {json.dumps(trial.params, sort_keys=True) for trial in trials}
    return {"points": points, "points_left_out": points - len(tried)}


def _complete(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    return [trial for trial in trials if trial.state == TrialState.COMPLETE]


def _told_of(unseen: Mapping[str, float], metric: str, count: int) -> str:
    """Return what rows that no trial saw say of the best one of so many, as a sentence."""
    plain, rows = metric.partition("_")[2], unseen.get(f"{UNSEEN}rows", 0)
    name, lucky = f"{UNSEEN}{plain}", f"the best of {count} figures is partly luck"
    if name not in unseen:
        lack = f"the {rows:,.0f} rows that no trial saw define no {plain}" if rows else ""
        return f"{lack or 'no rows were kept from the trials'}: {lucky}, and nothing says how much"
    error = unseen.get(f"{name}{STANDARD_ERROR}")
    margin = "" if error is None else f" +- {error:.2g} (standard error)"
    found = f"on {rows:,.0f} rows that no trial saw: {name} {unseen[name]:.5g}{margin}"
    return f"{found}; {lucky}; train takes these rows, too"


def _write_best(
    folder: Path,
    study: str,
    objective: Objective,
    best: FrozenTrial,
    further: Mapping[str, float],
) -> None:
    told = {
        "study": study,
        "metric": objective.metric,
        "direction": objective.direction,
        "best_trial": best.number,
        "best_value": best.value,
        **further,
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
