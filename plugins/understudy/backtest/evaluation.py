"""One part of a backtest's answer, computed in a process of its own, and kept.

``python -m understudy.backtest.evaluation QUESTION ANSWER``: two files. Reads what the nights left.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from understudy.backtest.cost import Cost
from understudy.backtest.history import ReplayedNights
from understudy.backtest.place import BacktestFolder, write
from understudy.backtest.plan import Plan
from understudy.errors import DecisionError
from understudy.evaluation import compare, moved
from understudy.gate import Basis, Evidence, Gate, Metric, Score, Verdict, judge
from understudy.gate.evidence import Earlier
from understudy.gate.learning import Learning, Lesson, least_tolerance
from understudy.spec.entry_points import REFIT
from understudy.spec.pipeline import Refit

Floats = NDArray[np.float64]
Champions = tuple[int, ...]
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

    def along(self, path: Champions) -> Floats:
        """Return what each night cost on a path."""
        return np.asarray(self.costs[np.arange(len(self)), list(path)])


def frozen(table: CostTable) -> Champions:
    """Return the first model for ever."""
    return (0,) * len(table)


def always(table: CostTable) -> Champions:
    """Return each night's own model; a night without one keeps what it had."""
    return walked(table, lambda _night, _champion: True)


def point(table: CostTable, scores: Callable[[int, int], float]) -> Champions:
    """Return the path that promotes whatever has the better number on the night's holdout.

    Args:
        table: See ``CostTable``.
        scores: Night and model to the model's cost on that night's holdout.
    """
    return walked(table, lambda night, champion: scores(night, night) < scores(night, champion))


def hindsight(table: CostTable) -> Champions:
    """Return the best of all paths: nobody who promotes or keeps once a night can do better.

    With V(j) the least cost of all nights from j on when night j's model is promoted then,
    V(j) = min over k > j of sum(costs[j..k-1, j]) + V(k), and V beyond the last night is zero:
    dynamic programming (Bellman, 1957) over the 2^N sequences of promotions, in N^2 steps. Nights
    on which a model has no valid value come first: the fewer of them the better.
    """
    nights = len(table)
    # Infinity would spoil every sum that it is part of, and the comparison of two paths with it: so
    # such nights are counted, and their costs left out of the sums.
    invalid, finite = np.isinf(table.costs), np.where(np.isinf(table.costs), 0.0, table.costs)
    least, until = np.zeros((nights + 1, 2)), np.full(nights, nights)
    # The place after the last night, too: the last model is kept to the end.
    targets = np.array([*table.has_model, True])
    for j in (j for j in range(nights - 1, -1, -1) if table.has_model[j]):
        kept = np.column_stack([np.cumsum(invalid[j:, j]), np.cumsum(finite[j:, j])])
        totals = (kept + least[j + 1 :])[targets[j + 1 :]]
        # lexsort's last key is the first to sort by: invalid nights, then costs.
        best = np.lexsort((totals[:, 1], totals[:, 0]))[0]
        least[j] = totals[best]
        until[j] = j + 1 + np.flatnonzero(targets[j + 1 :])[best]
    path: list[int] = []
    while len(path) < nights:
        model = len(path)
        path += [model] * int(until[model] - model)
    return tuple(path)


def walked(table: CostTable, promotes: Callable[[int, int], bool]) -> Champions:
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


def promotions(path: Champions) -> int:
    """Return how often a path changed the model."""
    return sum(before != after for before, after in pairwise(path))


@dataclass(frozen=True, slots=True)
class NightOutcome:
    """What became of one night.

    Attributes:
        as_of: Its moment.
        serving: The night whose model served afterwards.
        verdict: The gate's, '' where the night had no model.
        reason: Why, as one line.
    """

    as_of: str
    serving: int
    verdict: str
    reason: str


def walk(
    history: ReplayedNights, gate: Gate, refits: ReplayedNights | None = None
) -> list[NightOutcome]:
    """Return the nights under one rule set; somebody serves from the first model on.

    While no model has passed the absolute rules there is no champion, and the first one serves.
    With refits, one that has moved farther than is usual is held, as a night's would be.
    """
    champion: int | None = None
    seen: dict[str, Earlier] = {}
    lessons: list[Lesson] = []
    judged: list[NightOutcome] = []
    for i, night in enumerate(history.nights):
        if night.folder is None:
            # The first night that is read has a model, which serves while there is no champion.
            judged.append(NightOutcome(night.as_of, champion or 0, "", "the night has no model"))
            continue
        rules, why = gate, ""
        if gate.learn is not None:
            learning = Learning.of(gate, lessons, night.as_of)
            rules, why = gate.tolerating(learning.chosen), f"; {learning.why}"
        found = _compared(history, rules, (i, champion), seen)
        decision = judge(rules, *found)
        if gate.learn is not None and champion is not None:
            lessons += _lesson(history, rules, (i, champion), least_tolerance(rules, *found))
        verdict, why = decision.verdict, f"{decision.why}{why}"
        if verdict is Verdict.PROMOTE and refits is not None:
            pair = (one.predictions(i, night.holdout) for one in (refits, history))
            share = moved(*pair).share
            if not share <= Refit().max_change:
                verdict, why = Verdict.HOLD, f"its refit differs by {share:.3g} of its error"
        if verdict is Verdict.PROMOTE:
            champion = i
        judged.append(NightOutcome(night.as_of, champion or 0, verdict.value, why))
    return judged


def _compared(
    history: ReplayedNights, gate: Gate, models: tuple[int, int | None], seen: dict[str, Earlier]
) -> tuple[Score, Score | None, Basis, Evidence]:
    """Compare a night's challenger with the champion on the night's holdout, to be judged."""
    night, champion = models
    rows = history.nights[night].holdout
    challenging = history.predictions(night, rows)
    serving = None if champion is None else history.predictions(champion, rows)
    # Each test on the same rows is one more chance of a lucky win; the comparison allows for it.
    evidence = compare(gate, challenging, serving, earlier=seen)
    if serving is not None:
        count = evidence.judged_before + 1
        seen[challenging.rows_sha256] = Earlier(count, challenging.rows_sample)
    scores = _score(history, night), None if champion is None else _score(history, champion)
    return *scores, Basis.PREDICTIONS, evidence


def _lesson(
    history: ReplayedNights, gate: Gate, models: tuple[int, int], least: float | None
) -> list[Lesson]:
    """Return what the rows that came after a night say of its tolerance; nothing without them."""
    night, champion = models
    last = night + LATE_NIGHTS
    if last >= len(history):
        return []
    rows = np.concatenate([history.nights[n].served for n in range(night, last)])
    cost = Cost.of(gate.decisive)
    gain = cost.on(history, champion, rows) - cost.on(history, night, rows)
    if not math.isfinite(gain):
        return []
    # The rows that served the last of these nights are those that the next one holds out.
    return [Lesson(history.nights[night].as_of, history.nights[last].as_of, least, gain)]


def _score(history: ReplayedNights, model: int) -> Score:
    return Score(f"the model of {history.nights[model].as_of}", {})


LATE_NIGHTS: Final = 7
"""Of how many nights the served rows are looked at where the tolerance is learned, as a
``label_delay`` of that many nights does."""
REFERENCES: Final = ("frozen", "always", "point", "hindsight")


def main(arguments: Sequence[str]) -> int:
    """Answer the question in the first file in the second one."""
    question: dict[str, Any] = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
    place = BacktestFolder(Path(question["folder"]))
    plan = Plan.from_json(json.dumps(question["plan"]))
    faults = question.get("faults", {})
    refit = REFIT in faults.values()
    history = ReplayedNights.read(place, plan, {} if refit else faults)
    refits = _refits(place, plan, history) if refit else None
    cost = Cost.of(Metric(**question["metric"]))
    rules = question["rules"]
    found = (
        under_rules(history, cost, rules, refits) if rules else by_references(history, cost, refits)
    )
    write(Path(arguments[1]), found)
    return 0


def _refits(place: BacktestFolder, plan: Plan, history: ReplayedNights) -> ReplayedNights:
    """Return the same nights, each with its model of all rows.

    Raises:
        DecisionError: when one of them has none.
    """
    found = ReplayedNights.read(place, plan, dict.fromkeys(plan.nights, REFIT))
    pairs = [[(n.as_of, n.folder is None) for n in one.nights] for one in (history, found)]
    if pairs[0] != pairs[1]:
        raise DecisionError(
            "Not every night that has a model has one of all rows",
            allowed="a refit of each of them",
            action="start the same command again, which makes what is missing",
        )
    return found


def by_references(
    history: ReplayedNights, cost: Cost, refits: ReplayedNights | None = None
) -> dict[str, Any]:
    """Return what the four references would have served, and the nights themselves.

    With refits these serve; what is promoted is chosen by the models that were judged.
    """
    table = tabled(refits or history, cost)
    paths = {
        "frozen": frozen(table),
        "always": always(table),
        "point": point(table, lambda i, model: cost.on(history, model, history.nights[i].holdout)),
        "hindsight": hindsight(table),
    }
    return {
        "nights": [night.as_of for night in history.nights],
        "rows": [len(night.served) for night in history.nights],
        "has_model": list(table.has_model),
        "how": cost.how,
        "paths": {
            name: _summed(table.along(path).tolist(), path, cost, history)
            for name, path in paths.items()
        },
    }


def tabled(history: ReplayedNights, cost: Cost) -> CostTable:
    """Return what serving each night would have cost with each model."""
    nights = len(history)
    costs = np.full((nights, nights), np.nan)
    has_model = [night.folder is not None for night in history.nights]
    # A model cannot serve before its own night: that triangle stays NaN.
    for j in (j for j in range(nights) if has_model[j]):
        costs[:, j] = cost.served(history, j, since=j)
    return CostTable(costs, has_model)


def under_rules(
    history: ReplayedNights,
    cost: Cost,
    rules: Mapping[str, Any],
    refits: ReplayedNights | None = None,
) -> dict[str, Any]:
    """Return what one rule set would have served; with refits, by these."""
    nights = walk(history, Gate.from_dict(rules), refits)
    serving = tuple(night.serving for night in nights)
    # A model serves a stretch of nights, and one call computes all of them: the last two are kept.
    serves = refits or history
    served = lru_cache(2)(lambda model: cost.served(serves, model, since=model))
    costs = [float(served(model)[i]) for i, model in enumerate(serving)]
    return {
        **_summed(costs, serving, cost, history),
        "verdicts": [night.verdict for night in nights],
        "reasons": [night.reason for night in nights],
    }


def _summed(
    costs: Sequence[float], path: Champions, cost: Cost, history: ReplayedNights
) -> dict[str, Any]:
    mass = [history.mass(i) for i in range(len(history))]
    return {
        "served": _finite(cost.value(sum(costs), sum(mass))),
        "by_night": [_finite(cost.value(c, n)) for c, n in zip(costs, mass, strict=True)],
        "serving": list(path),
        "promotions": promotions(path),
    }


def _finite(value: float) -> float | None:
    """Return a number that JSON can hold; None where a model had no valid value."""
    return value if math.isfinite(value) else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
