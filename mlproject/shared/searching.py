"""Conducts a search: the project says what is tried and how it is judged, here it is done.

A search that is run again goes on with its study; one that is run several times at once shares it.
Whatever a trial's parameters cause is a result of that trial, and the study goes on.

The best trial is chosen by its figure, and the best of many figures is lucky as well as good: it
flatters, the more so the more trials there were and the fewer rows judged. So a share of the
training rows is kept from all trials, and the best one's parameters are fitted once more and judged
by these: one level of the nesting that Varma and Simon ("Bias in error estimation when using
cross-validation for model selection", BMC Bioinformatics 7:91, 2006) and Cawley and Talbot ("On
over-fitting in model selection", JMLR 11, 2010) ask for, at the price of one fit.

Touches the MLflow run, those of the trials, and the study's storage.
"""

import hashlib
import json
import math
import re
import statistics
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.pruners import BasePruner
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial

from shared import samplers
from shared.commandline import Option
from shared.errors import DataError, ParameterError, StepError
from shared.objective import Objective, Pruned
from shared.search_results import best_of, log_results
from shared.search_space import Space
from shared.study import Budget, SharedStudy, open_study
from shared.study_storage import address_of, open_storage, without_password
from shared.tracking import log_new_params, say
from shared.trial_runs import STUDY_TAG, TrialRuns, without_links

_NAME = re.compile(r"[A-Za-z0-9_.-]{0,200}")

OPTIONS = (
    Option("space", "", "'default', 'grid', or JSON: parameter to list or range; '' by sampler"),
    Option("fixed", "", "JSON: parameters with one value in all trials"),
    Option("sampler", samplers.TPE, "how points are chosen", choices=samplers.NAMES),
    Option("trials", 0, "0 for 20; of a grid for every point; with minutes, for any", minimum=0),
    Option("minutes", 0.0, "minutes that the study is worked on; 0 for no limit", minimum=0),
    Option(
        "unseen_fraction",
        0.1,
        "share of the training rows kept from the trials, to judge the best one",
        minimum=0,
        maximum=0.4,
    ),
    Option("study", "", "first part of the study's name; '' for that of the data"),
    Option("storage", "", "folder, file or database URL of studies; '' as OPTUNA_STORAGE says"),
    Option("random_state", 42, "seed of everything random", minimum=0, maximum=2**32 - 1),
)
"""What a search takes in every project."""

USUAL_TRIALS = 20
_TIMED = 3
"""Trials after which is said how long all may take: the first one imports libraries, too."""
_UNSEEN = "unseen"
"""A study's own attribute: which trial was judged by rows that none saw, and the metrics."""


@dataclass(frozen=True)
class Search:
    """A search that has begun.

    Attributes:
        study: the study, which has trials already if it goes on.
        objective: what its trials have in common.
        budget: when it is over.
        points: how many points the grid has; None where there is no grid.
    """

    study: Study
    objective: Objective
    budget: Budget
    points: int | None = None

    def conduct(self) -> None:
        """Do trials until the study is over, and log what came out in the active MLflow run.

        Raises:
            DataError: if no trial succeeded.
        """
        trials = self.work()
        best = best_of(self.objective, trials)
        unseen = self._unseen(best) if best else {}
        log_results(self.study.study_name, self.objective, trials, unseen, self.points)

    @without_links()
    def work(self) -> Sequence[FrozenTrial]:
        """Do trials until the study is over; return all of them, those of other workers too."""
        runs = _runs(self.study, self.objective)
        shared = SharedStudy(
            self.study, self.objective.space, self.budget, lambda dead: runs.add(self._frozen(dead))
        )
        adopted = runs.write_missing(shared.trials())
        if adopted:
            say(f"{adopted} trials of a worker that died had no MLflow run: they have one now")
        with warnings.catch_warnings():
            # What a library warns of, it would warn of in every trial.
            warnings.simplefilter("once")
            seconds = list[float]()
            while (trial := shared.next()) is not None:
                begun = time.monotonic()
                if _do(shared, self.objective, trial):
                    runs.add(self._frozen(trial))
                seconds.append(time.monotonic() - begun)
                if len(seconds) == _TIMED:
                    self._say_time(len(shared.trials()), statistics.median(seconds))
        runs.close()
        trials = shared.trials()
        runs.write_missing(trials)
        return trials

    def _say_time(self, begun: int, seconds: float) -> None:
        """Say how long the trials that are left may take, if their number is known."""
        if self.budget.trials is not None and begun < self.budget.trials:
            left = self.budget.trials - begun
            whole = "points" if self.points is not None else "trials"
            say(f"{left} of {self.budget.trials} {whole} are left, about {_time(left * seconds)}")

    def _unseen(self, best: FrozenTrial) -> Mapping[str, float]:
        """Return the metrics of the best trial on rows that no trial saw; one worker finds them."""
        known = self.study.user_attrs.get(_UNSEEN, {})
        if known.get("trial") != best.number:
            try:
                found = self.objective.unseen(best.params)
            except Exception as error:  # noqa: BLE001 - the search has its result without it
                say(f"the best trial could not be judged by rows that none saw: {_told(error)}")
                return {}
            known = {"trial": best.number, "metrics": found}
            self.study.set_user_attr(_UNSEEN, known)
        metrics: Mapping[str, float] = known["metrics"]
        return metrics

    def _frozen(self, trial: Trial | FrozenTrial) -> FrozenTrial:
        found: FrozenTrial = self.study._storage.get_trial(trial._trial_id)  # noqa: SLF001 - no other way
        return found


def begin(
    values: Mapping[str, Any],
    objective: Objective,
    pruner: BasePruner,
    name: str,
    content: Sequence[Any],
) -> Search:
    """Open the study, and log in the active MLflow run what is searched.

    Args:
        values: the parameters, as `OPTIONS` names them.
        objective: what all trials have in common.
        pruner: what ends trials before their time.
        name: first part of the study's name, unless the parameters have one.
        content: JSON values of all that trials of one study have in common: data, code, settings.

    Raises:
        ParameterError: for parameters that do not go together.
        UnavailableError: if the storage does not answer.
    """
    budget = _budget(values, objective.space)
    full = _name(values, objective, name, content)
    address = address_of(values["storage"], objective.project)
    how = samplers.sampler(values["sampler"], objective.space, values["random_state"])
    storage = open_storage(address, full)
    study = open_study(storage, full, objective.direction, how, pruner)
    say(f"study {full} in {without_password(address)}: {len(study.trials)} trials so far")
    _log_begin(values, objective, full)
    points = objective.space.size if values["sampler"] == samplers.GRID else None
    if points is not None and budget.trials is not None:
        left_out = points - budget.trials
        bounded = f", {left_out} of which are left out: trials is {budget.trials}"
        say(f"the grid has {points} points{bounded if left_out else ', all of which are tried'}")
    return Search(study, objective, budget, points)


def _budget(values: Mapping[str, Any], space: Space) -> Budget:
    most, minutes = values["trials"] or None, values["minutes"] or None
    if values["sampler"] == samplers.GRID and space.size is not None:
        most = min(most or space.size, space.size)
    elif most is None and minutes is None:
        most = USUAL_TRIALS
    return Budget(most, minutes)


def _time(seconds: float) -> str:
    """Return a span of time for people."""
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 1):.0f} s"


def _name(
    values: Mapping[str, Any], objective: Objective, name: str, content: Sequence[Any]
) -> str:
    """Return the study's name, which ends with a digest of all that its trials have in common.

    So trials that cannot be compared never meet in one study, and the same search finds its own.
    """
    given = values["study"]
    if not _NAME.fullmatch(given):
        raise ParameterError(
            f"study is {given!r}",
            allowed="up to 200 letters, digits, '_', '-' and '.'",
            action="pass another -P study=...",
        )
    settings = [values[one] for one in ("sampler", "random_state", "unseen_fraction")]
    whole = [*content, objective.metric, *settings, objective.space.to_dict()]
    digest = hashlib.sha256(json.dumps(whole).encode()).hexdigest()
    return f"{given or name}-{digest[:12]}"


def _log_begin(values: Mapping[str, Any], objective: Objective, name: str) -> None:
    import mlflow

    shown = {one: values[one] for one in ("sampler", "trials", "minutes", "unseen_fraction")}
    log_new_params({**shown, "metric": objective.metric})
    mlflow.set_tag(STUDY_TAG, name)
    mlflow.log_dict(objective.space.to_dict(), "space.json")


def _runs(study: Study, objective: Objective) -> TrialRuns:
    import mlflow

    client, active = mlflow.MlflowClient(), mlflow.active_run()
    parent = client.get_run(active.info.run_id)
    return TrialRuns(client, parent, study.study_name, objective.parameters({}))


class _Progress:
    """The report of one trial; keeps the points of its curves."""

    def __init__(self, shared: SharedStudy, trial: Trial) -> None:
        self._shared, self._trial = shared, trial
        self.curve: list[tuple[int, float, Mapping[str, float]]] = []

    def __call__(
        self, step: int, value: float, figures: Mapping[str, float], *, last: bool = False
    ) -> None:
        """Report a step; see `objective.Report`."""
        self.curve.append((step, time.time(), dict(figures)))
        if not self._shared.has_prospect(self._trial, step, value) and not last:
            raise Pruned


def _do(shared: SharedStudy, objective: Objective, trial: Trial) -> bool:
    """Do one trial; whatever its parameters cause is written down, and the study goes on.

    Returns whether it counts: not where others took this worker for dead meanwhile.
    """
    progress, metric = _Progress(shared, trial), objective.metric
    try:
        with shared.seen(trial):
            found = objective.score(trial.params, progress)
        _check(found, metric)
    except Pruned:
        say(f"trial {trial.number} ended after step {progress.curve[-1][0]}, {trial.params}")
        return shared.pruned(trial, progress.curve)
    except Exception as error:  # noqa: BLE001 - a failed trial is a result
        message = _told(error)
        say(f"trial {trial.number} failed: {message}")
        return shared.failed(trial, message, progress.curve)
    say(f"trial {trial.number}: {metric} {found[metric]:.5g}, {trial.params}")
    return shared.succeeded(trial, found[metric], found, progress.curve)


def _check(found: Mapping[str, float], metric: str) -> None:
    if not math.isfinite(found.get(metric, math.nan)):
        raise DataError(
            f"the rows that judge define no {metric}: it is {found.get(metric, 'missing')}",
            allowed=", ".join(name for name, value in found.items() if math.isfinite(value)),
            action="choose another metric, or judge by more rows",
        )


def _told(error: Exception) -> str:
    return str(error) if isinstance(error, StepError) else f"{type(error).__name__}: {error}"
