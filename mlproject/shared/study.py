"""One Optuna study that any number of processes work on, are killed at, and go on with.

A trial belongs to the worker that began it. Where that worker is gone, the trial is failed and its
place is taken over by a new one with the same parameters, so that nothing is lost and nothing is
done twice. Touches the study's storage, and `/proc` through `workers`.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import optuna
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from shared.samplers import PLACE, SURPLUS, is_original, place_of
from shared.search_space import Space
from shared.workers import SEEN_EVERY, is_gone, this_worker

WORKER, METRICS, ERROR, TRIES = "worker", "metrics", "error", "tries"
"""A trial's own attributes: who works on it, what was measured, what went wrong, how often its
place was taken over."""
CURVE = "curve"
"""And its course: steps, each with its number, the seconds since the epoch, and figures."""

Curve = Sequence[tuple[int, float, Mapping[str, float]]]

MOST_TRIES = 3
POLL_SECONDS = 0.5
DIED = "its worker ended without a word"


@dataclass(frozen=True)
class Budget:
    """When a study is over, whichever comes first.

    Attributes:
        trials: so many trials, failed ones included; None for any number.
        minutes: so long was it worked on, whatever the number of workers; None for any time. A
            trial that has begun goes on to its end. Pauses between two workers do not count.
    """

    trials: int | None
    minutes: float | None


class SharedStudy:
    """A study within its budget, as one of its workers sees it.

    Args:
        study: the study.
        space: what is tried.
        budget: when it is over.
        on_dead: told of each trial whose worker is gone, by the one process that found it.
    """

    def __init__(
        self,
        study: Study,
        space: Space,
        budget: Budget,
        on_dead: Callable[[FrozenTrial], None],
    ) -> None:
        self._study, self._budget, self._on_dead = study, budget, on_dead
        self._distributions = space.distributions()

    def trials(self) -> list[FrozenTrial]:
        """Return all trials that have or had a place, the first one first."""
        every = self._study.get_trials(deepcopy=False)
        return [trial for trial in every if SURPLUS not in trial.user_attrs]

    def next(self) -> Trial | None:
        """Return the next trial to do, with its parameters; None when the study is over.

        Waits while the budget is spent and others still work: one of them may die.
        """
        while True:
            for trial in self.trials():
                if trial.state == TrialState.RUNNING and is_dead(trial):
                    self._fail(trial)
            trials = self.trials()
            if self._is_open(trials):
                if (begun := self._begun()) is not None:
                    return begun
            elif any(trial.state == TrialState.RUNNING for trial in trials):
                time.sleep(POLL_SECONDS)
            else:
                return None

    def has_prospect(self, trial: Trial, step: int, value: float) -> bool:
        """Note how a trial does after a step; return whether it is to go on.

        Not where others took this worker for dead meanwhile, either.
        """
        try:
            trial.report(value, step)
            return not trial.should_prune()
        except optuna.exceptions.UpdateFinishedTrialError:
            return False

    def succeeded(
        self, trial: Trial, value: float, metrics: Mapping[str, float], curve: Curve = ()
    ) -> bool:
        """Finish a trial with its value, and with everything else that was measured.

        Returns whether it counts: not where others took this worker for dead meanwhile.
        """
        return self._finished(trial, {METRICS: dict(metrics), CURVE: curve}, value=value)

    def pruned(self, trial: Trial, curve: Curve) -> bool:
        """Finish a trial that had no prospect; as `succeeded`."""
        return self._finished(trial, {CURVE: curve}, state=TrialState.PRUNED)

    def failed(self, trial: Trial, error: str, curve: Curve = ()) -> bool:
        """Finish a trial that could not be done, and the study goes on; as `succeeded`."""
        return self._finished(trial, {CURVE: curve, ERROR: error}, state=TrialState.FAIL)

    def _finished(
        self,
        trial: Trial,
        told: Mapping[str, Any],
        value: float | None = None,
        state: TrialState | None = None,
    ) -> bool:
        try:
            for name, what in told.items():
                if what:  # each is a write of its own
                    trial.set_user_attr(name, what)
        except optuna.exceptions.UpdateFinishedTrialError:
            return False
        self._study.tell(trial, value, state)
        return True

    @contextmanager
    def seen(self, trial: Trial) -> Iterator[None]:
        """Note on a trial, while it is done, that its worker is there."""
        done = threading.Event()
        thread = threading.Thread(target=self._note, args=(trial, done), daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def _note(self, trial: Trial, done: threading.Event) -> None:
        worker = trial.user_attrs[WORKER]
        while not done.wait(SEEN_EVERY):
            seen = {**worker, "seen": time.time()}
            try:  # past the Trial, which is not for two threads
                self._study._storage.set_trial_user_attr(trial._trial_id, WORKER, seen)  # noqa: SLF001
            except optuna.exceptions.UpdateFinishedTrialError:
                return  # others took this worker for dead

    def _is_open(self, trials: Sequence[FrozenTrial]) -> bool:
        """Return whether there is a place to take, or one to take over, and time for it."""
        minutes, most = self._budget.minutes, self._budget.trials
        if minutes is not None and busy_seconds(trials) >= 60 * minutes:
            return False
        waiting = any(trial.state == TrialState.WAITING for trial in trials)
        return waiting or most is None or sum(map(is_original, trials)) < most

    def _begun(self) -> Trial | None:
        """Take a place; None where others took the last one meanwhile."""
        trial = self._study.ask()
        trial.set_user_attr(WORKER, this_worker())
        if self._is_surplus(self._frozen(trial)):
            trial.set_user_attr(SURPLUS, value=True)
            self._study.tell(trial, state=TrialState.FAIL)
            return None
        for name, distribution in self._distributions.items():
            trial._suggest(name, distribution)  # noqa: SLF001 - as Study.ask does with distributions
        return trial

    def _frozen(self, trial: Trial) -> FrozenTrial:
        return self._study._storage.get_trial(trial._trial_id)  # noqa: SLF001 - no other way

    def _is_surplus(self, trial: FrozenTrial) -> bool:
        """Return whether another trial has its place, or there is none left."""
        if PLACE in trial.user_attrs:
            again = self._successors(trial.user_attrs[PLACE], trial.user_attrs[TRIES])
            return any(other.number < trial.number for other in again)
        most = self._budget.trials
        return most is not None and place_of(self._study, trial) >= most

    def _successors(self, place: int, tries: int) -> list[FrozenTrial]:
        """Return who took over a place for the so-manyth time: two may have been asked to."""
        wanted = (place, tries)
        return [
            trial
            for trial in self.trials()
            if (trial.user_attrs.get(PLACE), trial.user_attrs.get(TRIES)) == wanted
        ]

    def _fail(self, dead: FrozenTrial) -> None:
        """Let the place of a trial whose worker is gone be taken over, then fail the trial.

        In this order: killed between the two, it is done again, and a second successor finds that
        there is a first one.
        """
        tries, place = int(dead.user_attrs.get(TRIES, 1)), place_of(self._study, dead)
        again = tries < MOST_TRIES and not self._is_surplus(dead)
        if again and not self._successors(place, tries + 1):
            attributes = {PLACE: place, TRIES: tries + 1}
            self._study.enqueue_trial(dict(dead.params), user_attrs=attributes)
        storage, number = self._study._storage, dead._trial_id  # noqa: SLF001 - `tell` hides who was first
        with suppress(optuna.exceptions.UpdateFinishedTrialError):
            if storage.set_trial_state_values(number, state=TrialState.FAIL):
                self._on_dead(dead)


def open_study(
    storage: BaseStorage, name: str, direction: str, sampler: BaseSampler, pruner: BasePruner
) -> Study:
    """Return the study of that name, made where there is none.

    Args:
        storage: where it is kept.
        name: of the study.
        direction: "minimize" or "maximize".
        sampler: how this process chooses points.
        pruner: and how it ends trials before their time.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(
        storage=storage,
        study_name=name,
        direction=direction,
        sampler=sampler,
        pruner=pruner,
        load_if_exists=True,
    )


def is_dead(trial: FrozenTrial) -> bool:
    """Return whether a trial that says RUNNING has nobody who works on it."""
    worker = trial.user_attrs.get(WORKER)
    if worker is not None:
        return is_gone(worker)
    start = _seconds(trial.datetime_start)
    return is_gone({"machine": "", "seen": start})


def has_died(trial: FrozenTrial) -> bool:
    """Return whether a trial was failed because its worker was gone."""
    return trial.state == TrialState.FAIL and ERROR not in trial.user_attrs


def busy_seconds(trials: Sequence[FrozenTrial]) -> float:
    """Return for how long at least one trial was being done."""
    spans = sorted(_span(trial) for trial in trials if trial.datetime_start is not None)
    total, until = 0.0, float("-inf")
    for start, end in spans:
        total += max(0.0, end - max(start, until))
        until = max(until, end)
    return total


def _span(trial: FrozenTrial) -> tuple[float, float]:
    """Return begin and end; of a trial whose worker died, when that was seen last."""
    start = _seconds(trial.datetime_start)
    if has_died(trial):
        worker = trial.user_attrs.get(WORKER, {"since": start, "seen": start})
        return start, start + worker["seen"] - worker["since"]
    return start, _seconds(trial.datetime_complete or datetime.now())  # noqa: DTZ005 - as Optuna's


def _seconds(moment: datetime | None) -> float:
    """Return seconds since the epoch of one of Optuna's local times."""
    return (moment.astimezone(UTC) if moment else datetime.now(UTC)).timestamp()


def died_of(trial: FrozenTrial) -> str:
    """Return what is written on the run of a trial whose worker is gone."""
    tries = int(trial.user_attrs.get(TRIES, 1))
    if tries < MOST_TRIES:
        return f"{DIED}; another trial has the same parameters"
    return f"{DIED}, for the {tries}rd time with these parameters: it is not tried again"


def summary(trials: Sequence[FrozenTrial]) -> dict[str, Any]:
    """Return how many trials ended how."""
    states = [trial.state for trial in trials]
    died = sum(map(has_died, trials))
    return {
        "trials_complete": states.count(TrialState.COMPLETE),
        "trials_pruned": states.count(TrialState.PRUNED),
        "trials_failed": states.count(TrialState.FAIL) - died,
        "trials_died": died,
    }
