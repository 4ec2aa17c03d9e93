"""Whether a model may have seen the answers: holdout rows in training data, features that leak.

Touches what it reads only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from understudy.evaluation.guards.current_data import (
    CurrentData,
    Numbers,
    Roles,
    Task,
    made,
    some,
    unchecked,
)
from understudy.evaluation.guards.profile import Profile, Sketch, hash_version
from understudy.evaluation.guards.table import Digests, RowTable, ValueKind
from understudy.gate.evidence import Finding
from understudy.spec.guards import Guards

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

Values = np.ndarray[Any, np.dtype[np.float64]]


# A feature from which a decision tree tells the target of rows it has not seen, with nothing else
# to go by, is rarely knowledge that will be there when the model serves: it is the target under
# another name, or was filled in after it. This is the idea of the predictive power score.
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


def telling(table: RowTable, features: Sequence[str], roles: Roles) -> list[Power]:
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
    # An even choice over the whole table, and no first rows: tables are often sorted by time.
    kept = known[np.linspace(0, len(known) - 1, min(ROWS, len(known))).astype("int64")]
    answers, task = _answers(target.iloc[kept], roles.task)
    if len(kept) < _FEWEST_ROWS or len(np.unique(answers)) < 2:  # noqa: PLR2004
        return []
    # Of any kind: that a value is missing can tell the target, such as a date of cancellation.
    usable = [name for name in features if table.kinds[name] is not ValueKind.EMPTY]
    powers = [
        _power(name, (table.column(name).iloc[kept], target.iloc[kept]), answers, task)
        for name in usable[:MOST_FEATURES]
    ]
    return sorted(powers, key=lambda power: (-power.equal, -power.score, power.feature))


def _answers(target: pd.Series[Any], task: Task) -> tuple[Values, Task]:
    """Return what a tree learns: classes as numbers, or ranks, in which no outlier weighs much."""
    classes = task == "classification" or (
        not task and (not _is_number(target) or target.nunique() <= _FEW_VALUES)
    )
    if not classes:
        return np.asarray(target.rank(), dtype=np.float64), "regression"
    frequent = target.value_counts().index[: _MOST_CLASSES - 1]
    codes = pd.Categorical(target, categories=frequent).codes
    # All the rare classes are -1, one class together.
    return np.asarray(codes, dtype="float64"), "classification"


def _power(
    name: str, values: tuple[pd.Series[Any], pd.Series[Any]], answers: Values, task: Task
) -> Power:
    feature, target = values
    if _is_number(feature) or pd.api.types.is_datetime64_any_dtype(feature):
        # Ranks tell a tree the same; it takes single precision, in which numbers may overflow.
        known = np.asarray(feature.rank(), dtype=np.float64)
    else:
        known = pd.factorize(feature)[0].astype("float64")
    # Said apart: not "tells much of the target" but "is the target".
    equal = feature.dtype == target.dtype and bool((feature == target).all())
    return Power(name, 1.0 if equal else _score(known.reshape(-1, 1), answers, task), equal)


def _score(known: Values, answers: Values, task: Task) -> float:
    """Return how well each half of the blocks tells the other half's answers."""
    blocks = np.arange(len(answers)) * _BLOCKS // len(answers)
    predicted = np.empty_like(answers)
    for half in (0, 1):
        learnt = blocks % 2 == half
        tree = _tree(task).fit(known[learnt], answers[learnt])
        predicted[~learnt] = tree.predict(known[~learnt])
    if task == "regression":
        return float(1 - np.square(answers - predicted).mean() / answers.var())
    # Balanced accuracy, scaled so that guessing gives 0: of a rare class a plain one says little.
    classes = np.unique(answers)
    recalls = [float((predicted[answers == one] == one).mean()) for one in classes]
    chance = 1 / len(classes)
    return (float(np.mean(recalls)) - chance) / (1 - chance)


def _tree(task: Task) -> DecisionTreeClassifier | DecisionTreeRegressor:
    if task == "classification":
        return DecisionTreeClassifier(
            min_samples_leaf=_LEAF, class_weight="balanced", random_state=0
        )
    return DecisionTreeRegressor(min_samples_leaf=_LEAF, random_state=0)


def _is_number(values: pd.Series[Any]) -> bool:
    return bool(pd.api.types.is_float_dtype(values))


_GUARD = "leakage"
_FEWEST_LOOKED_AT = 20
"""Holdout rows that must be looked for before a share of them means something."""


@dataclass(frozen=True, slots=True)
class Sketches:
    """What finds training rows again: by their content, and by their names where they have some."""

    content: Sketch
    identities: Sketch | None

    @classmethod
    def of(cls, table: RowTable) -> Sketches:
        """Read all rows of a table."""
        named = Sketch.of([table.identities]) if table.has_identities else None
        return cls(Sketch.of(table.digests(table.content)), named)


@dataclass(frozen=True, slots=True)
class _Found:
    """How many of the holdout rows that were looked for were found, and how."""

    rows: int
    looked_for: int
    by: str

    @property
    def share(self) -> float:
        return self.rows / self.looked_for if self.looked_for else 0.0


def copies(guards: Guards, current: CurrentData, sketches: Sketches) -> Finding:
    """Return whether holdout rows are among the current training rows."""
    columns = current.train.content
    # Digests are of all columns together: without one of them no row of the holdout can be found
    # again.
    lacking = [name for name in columns if name not in current.holdout.kinds]
    content = None if lacking else _all(current.holdout.digests(columns))
    named = current.holdout.has_identities and sketches.identities is not None
    names = current.holdout.identities if named else None
    return _judged(guards, sketches, (content, names), "the challenger was trained on")


def champions_copies(guards: Guards, current: CurrentData, then: Profile) -> Finding:
    """Return whether holdout rows are among those that the champion was trained on.

    A champion that knows the answers already would win over every better model.
    """
    # Digests of another way of hashing match nothing, which would look like a clean holdout.
    if then.hashing != hash_version():
        why = "the champion's rows were noted by another version of pandas"
        return unchecked(_GUARD, guards.unchecked, why)
    columns = sorted(then.columns)
    known = all(name in current.holdout.kinds for name in columns)
    content = _all(current.holdout.digests(columns)) if known else None
    named = current.holdout.has_identities and then.identities is not None
    names = current.holdout.identities if named else None
    sketches = Sketches(then.content, then.identities)
    return _judged(guards, sketches, (content, names), "the champion was trained on")


def features(guards: Guards, current: CurrentData) -> Finding:
    """Return whether one feature is the target, or gives nearly all of it away."""
    if not current.roles.target:
        return unchecked(_GUARD, guards.unchecked, "it is not known which column is the target")
    powers = telling(current.train, current.features, current.roles)
    too_strong = [power for power in powers if power.score >= guards.feature_power]
    problems = f"these tell the target alone: {some([str(power) for power in too_strong])}"
    numbers: Numbers = {"features": len(powers), "limit": guards.feature_power}
    numbers |= {f"power: {power.feature}": power.score for power in powers[:10]}
    strongest = f"; the strongest: {powers[0]}" if powers else ""
    fine = f"no feature tells the target alone{strongest}"
    return made(_GUARD, guards.leakage, problems if too_strong else "", fine, numbers)


def _all(batches: Iterator[Digests]) -> Digests:
    return np.concatenate([np.array([], dtype="uint64"), *batches])


def _judged(
    guards: Guards,
    sketches: Sketches,
    holdout: tuple[Digests | None, Digests | None],
    whose: str,
) -> Finding:
    content, names = holdout
    looked = []
    if content is not None:
        looked.append(_Found(*sketches.content.found(content), "content"))
    if names is not None and sketches.identities is not None:
        looked.append(_Found(*sketches.identities.found(names), "name"))
    # All of the rows, or a sample that says something: a stored sketch covers some of them only.
    every = len(content if content is not None else names if names is not None else ())
    enough = [one for one in looked if one.looked_for >= min(every, _FEWEST_LOOKED_AT)]
    if not enough:
        return unchecked(_GUARD, guards.unchecked, f"too little is known of the rows that {whose}")
    # By what is beyond chance: many equal contents may say less than a few equal names.
    worst = max(enough, key=lambda found: found.share - _chance(found, sketches))
    fine = (
        f"{worst.rows:,} of {worst.looked_for:,} holdout rows that were looked for are among "
        f"those that {whose}, by {worst.by}"
    )
    # Where rows of few columns are alike anyway, as many twins are expected in the holdout, too.
    allowed = max(guards.copied_rows, _chance(worst, sketches))
    problems = f"{fine}; {allowed:.2%} may be" if worst.share > allowed else ""
    numbers: Numbers = {f"found by {found.by}": found.share for found in enough}
    numbers |= {"looked for": worst.looked_for, "allowed": allowed}
    return made(_GUARD, guards.leakage, problems, fine, numbers)


def _chance(found: _Found, sketches: Sketches) -> float:
    """Return the share that has a twin anyway: rows of few columns are alike by chance."""
    return sketches.content.repeated if found.by == "content" else 0.0
