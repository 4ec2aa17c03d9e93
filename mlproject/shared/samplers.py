"""How a search chooses its next point: by grid, at random, or by what earlier trials taught (TPE).

What a trial tries depends on the seed, on its place in the study and, for TPE, on the trials that
were finished before it: never on which worker has it, or on how often the study was interrupted.
So two workers do not draw the same numbers, and a resumed study does not draw them again.
Touches the study that is given.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from shared.search_space import Space, Value

GRID, RANDOM, TPE = "grid", "random", "tpe"
NAMES = (TPE, RANDOM, GRID)

STARTUP_TRIALS = 10
"""Trials at random before TPE (Optuna's number, too)."""

PLACE, SURPLUS = "place", "surplus"
"""A trial's own attributes: the place that it has taken over; whether it has none."""


def place_of(study: Study, trial: FrozenTrial) -> int:
    """Return a trial's place in its study, counted from 0, which no other living trial has.

    It is the trial's number among those that are no repetition of one whose worker died; a
    repetition has the place of the first. Numbers are given by the storage, so that this needs no
    lock.
    """
    taken_over = trial.user_attrs.get(PLACE)
    if taken_over is not None:
        return int(taken_over)
    return sum(
        is_original(other)
        for other in study.get_trials(deepcopy=False)
        if other.number < trial.number
    )


def is_original(trial: FrozenTrial) -> bool:
    """Return whether a trial takes a place of its own."""
    return PLACE not in trial.user_attrs and SURPLUS not in trial.user_attrs


def sampler(name: str, space: Space, random_state: int) -> BaseSampler:
    """Return the sampler of a study.

    Args:
        name: one of `NAMES`.
        space: what is tried.
        random_state: seed of everything random.
    """
    if name == GRID:
        points = list(space.points())
        order = np.random.default_rng(random_state).permutation(len(points))
        # One that finds no place left is given up at once, whatever its point.
        return _Placed(lambda place: _Point(points[order[place % len(points)]]))

    def seed(place: int) -> int:
        return int(np.random.SeedSequence([random_state, place]).generate_state(1)[0])

    if name == RANDOM:
        return _Placed(lambda place: RandomSampler(seed=seed(place)))
    return _Placed(lambda place: TPESampler(seed=seed(place), n_startup_trials=STARTUP_TRIALS))


class _Placed(BaseSampler):
    """Asks, for each trial, a sampler of that trial's own place."""

    def __init__(self, make: Callable[[int], BaseSampler]) -> None:
        self._make = make
        self._present: tuple[int, BaseSampler] | None = None

    def _of(self, study: Study, trial: FrozenTrial) -> BaseSampler:
        if self._present is None or self._present[0] != trial.number:
            self._present = (trial.number, self._make(place_of(study, trial)))
        return self._present[1]

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return what the place's sampler draws together."""
        return self._of(study, trial).infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return what the place's sampler draws together."""
        return self._of(study, trial).sample_relative(study, trial, search_space)

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:  # noqa: ANN401 - Optuna's own type
        """Return what the place's sampler draws for one parameter alone."""
        return self._of(study, trial).sample_independent(
            study, trial, param_name, param_distribution
        )


class _Point(RandomSampler):
    """Draws nothing: one point of a grid."""

    def __init__(self, point: Mapping[str, Value]) -> None:
        super().__init__()
        self._point = point

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Value:
        """Return the point's value."""
        del study, trial, param_distribution
        return self._point[param_name]
