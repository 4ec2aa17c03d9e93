"""What a project says of its search: what is tried, what leads, and how a trial is judged.

Touches nothing.
"""

from collections.abc import Mapping
from typing import Any, Protocol

from shared.search_space import Space


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
