"""What a project says of its search: what is tried, what leads, how a trial is judged or ended.

A pruner compares a trial with what the others had at the same step. The median's judges are
finished trials only, so that nothing depends on who works beside whom, and the first five run to
their end. Halving lets only the better half of all that came so far go on at steps 1, 2, 4, 8, ...:
sooner, and harder on those that learn slowly (Li et al. 2020, "A System for Massively Parallel
Hyperparameter Tuning"). Touches nothing.
"""

from collections.abc import Mapping
from typing import Any, Protocol

from optuna.pruners import BasePruner, MedianPruner, NopPruner, SuccessiveHalvingPruner

from shared.search_space import Space

MEDIAN, HALVING, NONE = "median", "halving", "none"
PRUNERS = (MEDIAN, HALVING, NONE)

FIRST_TRIALS = 5
"""Finished trials before the median is worth anything (Optuna's number, too)."""
FIRST_STEP = 2
"""The first step, from 1, at which the median ends a trial: before, there is mostly chance."""
HALF = 2
UNSEEN = "unseen_"
"""What the names of metrics on rows that no trial saw begin with."""
ERROR = "_se"
"""What the name of a metric's standard error ends with."""


class Pruned(Exception):  # noqa: N818 - a result, no error
    """Ends a trial that has no prospect."""


class Report(Protocol):
    """Tells the study how a trial is doing."""

    def __call__(
        self, step: int, value: float, figures: Mapping[str, float], *, last: bool = False
    ) -> None:
        """Report a step that is done.

        Args:
            step: its number, from 1.
            value: the leading metric's after it.
            figures: the points of the run's curves.
            last: whether it was the last one, after which there is nothing to save.

        Raises:
            Pruned: where the trial is to be ended.
        """


class Objective(Protocol):
    """What all trials of a study have in common."""

    @property
    def project(self) -> str:
        """The project's name."""

    @property
    def space(self) -> Space:
        """What is tried."""

    @property
    def metric(self) -> str:
        """What leads, with its prefix."""

    @property
    def direction(self) -> str:
        """Either "minimize" or "maximize"."""

    def parameters(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return what `train` needs for the model that a trial judged, beside the data."""

    def score(self, params: Mapping[str, Any], report: Report) -> dict[str, float]:
        """Return the metrics of a trial's parameters.

        Raises:
            Exception: whatever goes wrong, which fails the trial.
        """

    def unseen(self, params: Mapping[str, Any]) -> dict[str, float]:
        """Return the metrics of a trial's parameters on rows that no trial saw.

        They are fitted once more, on all that the trials saw. The names have the prefix `UNSEEN`;
        `UNSEEN` + "rows" is how many rows judged, and the leading metric has its standard error
        under its name and `ERROR`. Empty where no rows were set aside.

        Raises:
            Exception: whatever goes wrong.
        """


def pruner(name: str) -> BasePruner:
    """Return the pruner of a study.

    Args:
        name: one of `PRUNERS`.
    """
    if name == MEDIAN:
        return MedianPruner(n_startup_trials=FIRST_TRIALS, n_warmup_steps=FIRST_STEP)
    if name == HALVING:
        return SuccessiveHalvingPruner(min_resource=1, reduction_factor=HALF)
    return NopPruner()
