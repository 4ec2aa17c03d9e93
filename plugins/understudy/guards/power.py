"""How much of the target each feature explains alone. By scikit-learn. Touches what it reads only.

A feature from which a decision tree tells the target of rows it has not seen, with nothing else to
go by, is rarely knowledge that will be there when the model serves: it is the target under another
name, or was filled in after it. This is the idea of the predictive power score.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from understudy.guards.roles import Roles, Task
from understudy.guards.table import Kind, Table

ROWS: Final = 5_000
"""Rows that trees are grown and tried on."""
MOST_FEATURES: Final = 500
_FEW_VALUES: Final = 10
"""A target of no more different numbers is taken for classes where nobody says what it is."""
_MOST_CLASSES: Final = 20
_BLOCKS: Final = 40
"""Parts of neighbouring rows that are learnt from and tried on by turns. With single rows in turn,
what changes slowly, such as the weather, would tell each row by the rows beside it."""
_FEWEST_ROWS: Final = 40
_LEAF: Final = 2

Numbers = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True, slots=True)
class Power:
    """How much of the target one feature explains.

    Attributes:
        feature: Its name.
        score: Rank R squared, or balanced accuracy above chance, on rows that were not learnt
            from: 1 is all, 0 nothing.
        equal: Whether it is the target, value for value.
    """

    feature: str
    score: float
    equal: bool

    def __str__(self) -> str:
        return f"{self.feature!r} ({'the target itself' if self.equal else f'{self.score:.3f}'})"


def telling(table: Table, features: Sequence[str], roles: Roles) -> list[Power]:
    """Return how much of the target each feature explains, the strongest first.

    Args:
        table: Training rows. Trees see the first sampled ``ROWS`` of an even choice.
        features: The first ``MOST_FEATURES`` are looked at.
        roles: Names the target, and the task where that is known.

    Raises:
        DecisionError: when there is no such target.
    """
    target = table.column(roles.target)
    known = np.flatnonzero(target.notna().to_numpy())
    kept = known[np.linspace(0, len(known) - 1, min(ROWS, len(known))).astype("int64")]
    answers, task = _answers(target.iloc[kept], roles.task)
    if len(kept) < _FEWEST_ROWS or len(np.unique(answers)) < 2:  # noqa: PLR2004
        return []
    # Of any kind: that a value is missing can tell the target, such as a date of cancellation.
    usable = [name for name in features if table.kinds[name] is not Kind.EMPTY]
    powers = [
        _power(name, (table.column(name).iloc[kept], target.iloc[kept]), answers, task)
        for name in usable[:MOST_FEATURES]
    ]
    return sorted(powers, key=lambda power: (-power.equal, -power.score, power.feature))


def _answers(target: pd.Series[Any], task: Task) -> tuple[Numbers, Task]:
    """Return what is to be told: classes as numbers, or ranks, in which no outlier weighs much."""
    classes = task == "classification" or (
        not task and (not _is_number(target) or target.nunique() <= _FEW_VALUES)
    )
    if not classes:
        return np.asarray(target.rank(), dtype=np.float64), "regression"
    frequent = target.value_counts().index[: _MOST_CLASSES - 1]
    codes = pd.Categorical(target, categories=frequent).codes
    return np.asarray(codes, dtype="float64"), "classification"  # all the rare classes are -1


def _power(
    name: str, values: tuple[pd.Series[Any], pd.Series[Any]], answers: Numbers, task: Task
) -> Power:
    feature, target = values
    if _is_number(feature) or pd.api.types.is_datetime64_any_dtype(feature):
        # Ranks tell a tree the same; it takes single precision, in which numbers may overflow.
        known = np.asarray(feature.rank(), dtype=np.float64)
    else:
        known = pd.factorize(feature)[0].astype("float64")
    equal = feature.dtype == target.dtype and bool((feature == target).all())
    return Power(name, 1.0 if equal else _score(known.reshape(-1, 1), answers, task), equal)


def _score(known: Numbers, answers: Numbers, task: Task) -> float:
    """Return how well each half of the blocks tells the other half's answers."""
    blocks = np.arange(len(answers)) * _BLOCKS // len(answers)
    told = np.empty_like(answers)
    for half in (0, 1):
        learnt = blocks % 2 == half
        tree = _tree(task).fit(known[learnt], answers[learnt])
        told[~learnt] = tree.predict(known[~learnt])
    if task == "classification":
        return _above_chance(answers, told)
    return float(1 - np.square(answers - told).mean() / answers.var())


def _above_chance(answers: Numbers, told: Numbers) -> float:
    """Return balanced accuracy, scaled so that guessing gives 0; below that it is negative."""
    chance = 1 / len(np.unique(answers))
    recalls = [float((told[answers == one] == one).mean()) for one in np.unique(answers)]
    return (float(np.mean(recalls)) - chance) / (1 - chance)


def _tree(task: Task) -> DecisionTreeClassifier | DecisionTreeRegressor:
    if task == "classification":
        return DecisionTreeClassifier(
            min_samples_leaf=_LEAF, class_weight="balanced", random_state=0
        )
    return DecisionTreeRegressor(min_samples_leaf=_LEAF, random_state=0)


def _is_number(values: pd.Series[Any]) -> bool:
    return bool(pd.api.types.is_float_dtype(values))
