"""One part of a backtest's answer, computed in a process of its own, and kept.

``python -m understudy.backtest.evaluation QUESTION ANSWER``: two files. Reads what the nights left.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np

from understudy.backtest import references
from understudy.backtest.cost import Cost
from understudy.backtest.history import ReplayedNights
from understudy.backtest.place import BacktestFolder, write
from understudy.backtest.plan import Plan
from understudy.backtest.references import CostTable
from understudy.backtest.walk import walk
from understudy.gate import Gate, Metric

REFERENCES: Final = ("frozen", "always", "point", "hindsight")


def main(arguments: Sequence[str]) -> int:
    """Answer the question in the first file in the second one."""
    asked: dict[str, Any] = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
    place = BacktestFolder(Path(asked["folder"]))
    history = ReplayedNights.read(place, Plan.from_json(json.dumps(asked["plan"])))
    cost = Cost.of(Metric(**asked["metric"]))
    rules = asked["rules"]
    found = under_rules(history, cost, rules) if rules else by_references(history, cost)
    write(Path(arguments[1]), found)
    return 0


def by_references(history: ReplayedNights, cost: Cost) -> dict[str, Any]:
    """Return what the four references would have served, and the nights themselves."""
    table = tabled(history, cost)
    scores = _scores(history, cost)
    paths = {
        "frozen": references.frozen(table),
        "always": references.always(table),
        "point": references.point(table, scores),
        "hindsight": references.hindsight(table),
    }
    return {
        "nights": [night.as_of for night in history.nights],
        "rows": [len(night.served) for night in history.nights],
        "has_model": list(table.has_model),
        "how": cost.how,
        "paths": {name: _along(table, path, cost, history) for name, path in paths.items()},
    }


def tabled(history: ReplayedNights, cost: Cost) -> CostTable:
    """Return what serving each night would have cost with each model."""
    nights = len(history)
    costs = np.full((nights, nights), np.nan)
    has_model = [night.folder is not None for night in history.nights]
    for j in (j for j in range(nights) if has_model[j]):
        costs[:, j] = cost.served(history, j, since=j)
    return CostTable(costs, has_model)


def under_rules(history: ReplayedNights, cost: Cost, rules: Mapping[str, Any]) -> dict[str, Any]:
    """Return what one rule set would have served."""
    nights = walk(history, Gate.from_dict(rules))
    serving = tuple(night.serving for night in nights)
    costs = [_one(history, cost, i, model) for i, model in enumerate(serving)]
    return {
        **_summed(costs, serving, cost, history),
        "verdicts": [night.verdict for night in nights],
        "reasons": [night.reason for night in nights],
    }


def _one(history: ReplayedNights, cost: Cost, night: int, model: int) -> float:
    return float(_served(history, cost)(model)[night])


@lru_cache(1)
def _served(history: ReplayedNights, cost: Cost) -> Callable[[int], references.Floats]:
    """Return what a model costs in each night, computed once while the model serves."""
    return lru_cache(2)(lambda model: cost.served(history, model, since=model))


def _scores(history: ReplayedNights, cost: Cost) -> Callable[[int, int], float]:
    return lambda night, model: cost.on(history, model, history.nights[night].holdout)


def _along(
    table: CostTable, path: references.Path, cost: Cost, history: ReplayedNights
) -> dict[str, Any]:
    return _summed(table.along(path).tolist(), path, cost, history)


def _summed(
    costs: Sequence[float], path: references.Path, cost: Cost, history: ReplayedNights
) -> dict[str, Any]:
    mass = [history.mass(i) for i in range(len(history))]
    return {
        "served": _finite(cost.value(sum(costs), sum(mass))),
        "by_night": [_finite(cost.value(c, n)) for c, n in zip(costs, mass, strict=True)],
        "serving": list(path),
        "promotions": references.promotions(path),
    }


def _finite(value: float) -> float | None:
    """Return a number that JSON can hold; None where a model had no valid value."""
    return value if math.isfinite(value) else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
