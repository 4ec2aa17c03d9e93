"""What serving costs: a metric as a sum over rows, so that nights add up and less is better.

A metric that is the mean of a loss per row (or the root of one, as rmse) is summed row by row, and
shown as the metric over all served rows. Any other (r2, roc_auc, f1) has no loss of a row: then the
metric of each night counts as often as the night has rows, and the mean of that is shown.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from understudy.backtest.history import Index, ReplayedNights
from understudy.errors import DecisionError, listed
from understudy.evaluation import known
from understudy.evaluation.catalogue import find
from understudy.evaluation.means import Shape
from understudy.evaluation.metrics import Definition, measured
from understudy.evaluation.pairing import Rows
from understudy.spec.metrics import Direction, Metric

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Cost:
    """A metric as a cost.

    Attributes:
        metric: Its name and direction.
        definition: How it is computed from rows.
    """

    metric: Metric
    definition: Definition

    @classmethod
    def of(cls, metric: Metric) -> Cost:
        """Return a metric as a cost.

        Raises:
            DecisionError: when it cannot be computed from predictions.
        """
        definition = find(metric.name, metric.function)
        if definition is None:
            raise DecisionError(
                f"{metric.name!r} cannot be computed from predictions",
                allowed=f"{listed(known())}, or a function of your own",
                action="name a metric by --metric",
            )
        return cls(metric, definition)

    @property
    def is_summed(self) -> bool:
        """Whether the metric is made of a loss per row."""
        means = self.definition.means
        return means is not None and means.shape is not Shape.SMOOTH

    @property
    def how(self) -> str:
        """How nights are added up, for a person."""
        if self.is_summed:
            return "over all served rows"
        return "mean over the nights, each as often as it has served rows"

    def served(self, history: ReplayedNights, model: int, since: int = 0) -> Floats:
        """Return what serving each night, from one on, would have cost with one model; NaN before.

        Infinite where the model has no valid value: it must never look good.
        """
        costs = np.full(len(history), np.nan)
        rows = history.rows(model)
        losses = self._losses(rows)
        for i in range(since, len(history)):
            place = history.nights[i].served
            if losses is None:
                value, _ = measured(self.definition, rows.take(place))
                # Rows that do not define the metric tell no model from another: they cost nothing.
                total = 0.0 if value is None else self._sign * value * history.mass(i)
            else:
                total = float(losses[place].sum())
            costs[i] = total if math.isfinite(total) else math.inf
        return costs

    def value(self, total: float, mass: float) -> float:
        """Return the metric that a sum of costs over rows of such a weight stands for."""
        mean = self._sign * total / mass
        means = self.definition.means
        rooted = self.is_summed and means is not None and means.shape is Shape.ROOT
        return math.sqrt(max(mean, 0.0)) if rooted and math.isfinite(mean) else mean

    def on(self, history: ReplayedNights, model: int, place: Index) -> float:
        """Return the metric of a model on some rows as a cost: less is better; NaN for none."""
        value, _ = measured(self.definition, history.rows(model).take(place))
        return math.nan if value is None else self._sign * value

    @property
    def _sign(self) -> float:
        return 1.0 if self.metric.direction is Direction.LOWER else -1.0

    def _losses(self, rows: Rows) -> Floats | None:
        """Return the weighted loss of each row; None for a metric that has none."""
        means = self.definition.means
        if not self.is_summed or means is None:
            return None
        weight = 1.0 if rows.weight is None else rows.weight
        # The mean of one loss (MEAN), or its root (ROOT), has a single array of numbers per row.
        return np.asarray(self._sign * next(means.per_row(rows)) * weight)
