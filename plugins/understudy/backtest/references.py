"""Four ways to promote without rules, to measure rules by. Pure, on a table of costs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Path = tuple[int, ...]
"""Which night's model served each night."""


@dataclass(frozen=True, eq=False)
class CostTable:
    """What every choice would have cost.

    Attributes:
        costs: ``costs[i, j]`` is what serving the rows of night i would have cost with the model
            of night j; read for j <= i only.
        has_model: Which nights have one; the first does.
    """

    costs: Floats
    has_model: Sequence[bool]

    def __len__(self) -> int:
        return len(self.costs)

    def along(self, path: Path) -> Floats:
        """Return what each night cost on a path."""
        return np.asarray(self.costs[np.arange(len(self)), list(path)])


def frozen(table: CostTable) -> Path:
    """Return the first model for ever."""
    return (0,) * len(table)


def always(table: CostTable) -> Path:
    """Return each night's own model; a night without one keeps what it had."""
    return walked(table, lambda _night, _champion: True)


def point(table: CostTable, scores: Callable[[int, int], float]) -> Path:
    """Return the path that promotes whatever has the better number on the night's holdout.

    Args:
        table: See ``CostTable``.
        scores: Night and model to the model's cost on that night's holdout.
    """
    return walked(table, lambda night, champion: scores(night, night) < scores(night, champion))


def hindsight(table: CostTable) -> Path:
    """Return the best of all paths: nobody who promotes or keeps once a night can do better.

    With V(j) the least cost of all nights from j on when night j's model is promoted then,
    V(j) = min over k > j of sum(costs[j..k-1, j]) + V(k), and V beyond the last night is zero:
    dynamic programming (Bellman, 1957) over the 2^N sequences of promotions, in N^2 steps. Nights
    on which a model has no valid value come first: the fewer of them the better.
    """
    nights = len(table)
    invalid, finite = np.isinf(table.costs), np.where(np.isinf(table.costs), 0.0, table.costs)
    least, until = np.zeros((nights + 1, 2)), np.full(nights, nights)
    targets = np.array([*table.has_model, True])
    for j in (j for j in range(nights - 1, -1, -1) if table.has_model[j]):
        kept = np.column_stack([np.cumsum(invalid[j:, j]), np.cumsum(finite[j:, j])])
        totals = (kept + least[j + 1 :])[targets[j + 1 :]]
        best = np.lexsort((totals[:, 1], totals[:, 0]))[0]
        least[j] = totals[best]
        until[j] = j + 1 + np.flatnonzero(targets[j + 1 :])[best]
    path: list[int] = []
    while len(path) < nights:
        model = len(path)
        path += [model] * int(until[model] - model)
    return tuple(path)


def walked(table: CostTable, promotes: Callable[[int, int], bool]) -> Path:
    """Return the path of a rule.

    Args:
        table: See ``CostTable``.
        promotes: Night and champion to whether the night's challenger is promoted.
    """
    path = [0]
    for night in range(1, len(table)):
        champion = path[-1]
        promoted = table.has_model[night] and promotes(night, champion)
        path.append(night if promoted else champion)
    return tuple(path)


def promotions(path: Path) -> int:
    """Return how often a path changed the model."""
    return sum(before != after for before, after in pairwise(path))
