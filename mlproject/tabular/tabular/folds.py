"""Judges parameters by cross-validation on the training rows: the holdout is never looked at.

Where the newest rows are held out, folds keep to the order of time, too: a model is judged on rows
that are newer than all that it was fitted on. Touches nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from shared.errors import DataError
from tabular import models
from tabular.declaration import Task
from tabular.facts import Facts
from tabular.fitting import Part, fit
from tabular.preprocess import FEWEST_CLASSES
from tabular.scoring import as_inputs, as_target, scores

PREFIX = "cv_"
SPREAD = "_std"


@dataclass(frozen=True)
class Folds:
    """Training rows, cut into parts of which each is the judge once.

    Attributes:
        facts: of the data.
        rows: features, as models take them, and the target.
        parts: positions of the rows to fit on, and of those to judge on, for each fold.
        left_out: which folds cannot be used, and why, as sentences.
    """

    facts: Facts
    rows: pd.DataFrame
    parts: Sequence[tuple[Any, Any]]
    left_out: Sequence[str] = ()

    def score(self, model: str, used: Mapping[str, Any]) -> dict[str, float]:
        """Return the mean of each metric over the folds, and its standard deviation (ddof 0).

        Args:
            model: kind of model.
            used: its parameters, as `models.choose` returned them.

        Raises:
            Exception: whatever fitting and scoring raise.
        """
        found = pd.DataFrame([self._score(model, used, *part) for part in self.parts])
        found = found.dropna(axis="columns")  # what one fold does not define has no mean
        means = {f"{PREFIX}{name}": float(found[name].mean()) for name in found}
        return means | {f"{PREFIX}{name}{SPREAD}": float(found[name].std(ddof=0)) for name in found}

    def _score(
        self,
        model: str,
        used: Mapping[str, Any],
        fitted: Any,  # noqa: ANN401 - positions
        judged: Any,  # noqa: ANN401 - ditto
    ) -> dict[str, float]:
        rows = self.rows.iloc[fitted]
        pipeline = models.build(model, self.facts, used, rows)
        fit(pipeline, Part(as_inputs(rows, self.facts), as_target(rows, self.facts)), None, 0)
        return scores(pipeline, self.rows.iloc[judged].reset_index(drop=True), self.facts)


def cut(rows: pd.DataFrame, facts: Facts, count: int, random_state: int, metric: str = "") -> Folds:
    """Return the folds of the training rows that can be used.

    Args:
        rows: what `preprocess` left for training.
        facts: of the data.
        count: number of folds, at least 2.
        random_state: seed of the assignment; without effect where folds keep to the time.
        metric: what leads, plain or with the prefix; a fold that does not define it is left out.

    Raises:
        DataError: if there are too few rows, or too few of each class in all folds.
    """
    from sklearn.model_selection import KFold, StratifiedKFold, TimeSeriesSplit

    by_time = facts.holdout.policy == "newest" and bool(facts.time)
    ordered = rows.sort_values(facts.time, kind="stable") if by_time else rows
    ordered = ordered.reset_index(drop=True)
    if by_time:
        splitter = TimeSeriesSplit(count)
    else:
        kind = KFold if facts.task == "regression" else StratifiedKFold
        splitter = kind(count, shuffle=True, random_state=random_state)
    try:
        parts = list(splitter.split(ordered, ordered[facts.target]))
    except ValueError as error:
        raise DataError(
            f"the {len(rows)} training rows cannot be cut into {count} folds: {error}",
            allowed="at least one row, and one of each class, for each fold",
            action="pass fewer -P folds=..., or bring more rows",
        ) from error
    taken = as_inputs(ordered, facts).assign(**{facts.target: ordered[facts.target]})
    return _usable(Folds(facts, taken, parts), metric.removeprefix(PREFIX))


def _usable(folds: Folds, metric: str) -> Folds:
    """Return the folds on which a model can be fitted and judged by a metric.

    Raises:
        DataError: if there are none.
    """
    target, kept, left_out = folds.rows[folds.facts.target], [], []
    for number, (fitted, judged) in enumerate(folds.parts, start=1):
        if why := _unfit(target.iloc[fitted], target.iloc[judged], folds.facts.task, metric):
            left_out.append(f"fold {number} of {len(folds.parts)} {why}")
        else:
            kept.append((fitted, judged))
    if not kept:
        raise DataError(
            f"no fold can be used: {'; '.join(left_out)}",
            allowed="a fold that is fitted on two classes or more and whose rows define the metric",
            action="pass fewer -P folds=..., another -P metric=..., or bring more rows",
        )
    return replace(folds, parts=kept, left_out=left_out)


def _unfit(fitted: pd.Series, judged: pd.Series, task: Task, metric: str) -> str:
    """Return why a fold cannot be used, as the rest of a sentence; '' if it can be."""
    if task == "classification" and fitted.nunique() < FEWEST_CLASSES:
        return f"is fitted on class {str(fitted.iloc[0])!r} only"
    lacking = sorted(map(str, set(fitted) - set(judged)))
    if metric == "roc_auc" and lacking:
        return f"is judged without class {lacking[0]!r}, which roc_auc needs"
    if metric == "r2" and bool((judged == judged.iloc[0]).all()):
        return "is judged by one value of the target, of which there is no r2"
    if metric == "mape" and (judged == 0).any():
        return "is judged by a target of zero, of which there is no mape"
    return ""
