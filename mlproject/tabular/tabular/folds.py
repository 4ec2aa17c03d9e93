"""Judges parameters by cross-validation on the training rows: the holdout is never looked at.

Where the newest rows are held out, folds keep to the order of time, too: a model is judged on rows
that are newer than all that it was fitted on. Touches nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from tabular import metrics, models
from tabular.errors import DataError, ParameterError, nearest
from tabular.facts import Facts
from tabular.fitting import Part, fit
from tabular.scoring import as_inputs, scores

PREFIX = "cv_"
SPREAD = "_std"
_HIGHER_IS_BETTER = frozenset({
    "r2", "accuracy", "balanced_accuracy", "f1_macro", "precision_macro", "recall_macro",
    "roc_auc", "mcc",
})  # fmt: skip


@dataclass(frozen=True)
class Folds:
    """Training rows, cut into parts of which each is the judge once.

    Attributes:
        facts: of the data.
        rows: features, as models take them, and the target.
        parts: positions of the rows to fit on, and of those to judge on, for each fold.
    """

    facts: Facts
    rows: pd.DataFrame
    parts: Sequence[tuple[Any, Any]]

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
        pipeline = models.build(model, self.facts, used)
        rows = self.rows.iloc[fitted]
        fit(pipeline, Part(as_inputs(rows, self.facts), rows[self.facts.target]), None, 0)
        return scores(pipeline, self.rows.iloc[judged].reset_index(drop=True), self.facts)


def cut(rows: pd.DataFrame, facts: Facts, count: int, random_state: int) -> Folds:
    """Return the folds of the training rows.

    Args:
        rows: what `preprocess` left for training.
        facts: of the data.
        count: number of folds, at least 2.
        random_state: seed of the assignment; without effect where folds keep to the time.

    Raises:
        DataError: if there are too few rows, or too few of each class.
    """
    by_time = facts.holdout.policy == "newest" and bool(facts.time)
    ordered = rows.sort_values(facts.time, kind="stable") if by_time else rows
    ordered = ordered.reset_index(drop=True)
    splitter = _splitter(facts, count, random_state, by_time=by_time)
    try:
        parts = list(splitter.split(ordered, ordered[facts.target]))
    except ValueError as error:
        raise DataError(
            f"the {len(rows)} training rows cannot be cut into {count} folds: {error}",
            allowed="at least one row, and one of each class, for each fold",
            action="pass fewer -P folds=..., or bring more rows",
        ) from error
    taken = as_inputs(ordered, facts).assign(**{facts.target: ordered[facts.target]})
    return Folds(facts, taken, parts)


def _splitter(facts: Facts, count: int, random_state: int, *, by_time: bool) -> Any:  # noqa: ANN401 - scikit-learn's have no common type
    from sklearn.model_selection import KFold, StratifiedKFold, TimeSeriesSplit

    if by_time:
        return TimeSeriesSplit(count)
    kind = KFold if facts.task == "regression" else StratifiedKFold
    return kind(count, shuffle=True, random_state=random_state)


def metric_of(name: str, facts: Facts) -> tuple[str, str]:
    """Return the metric that a study is led by, and its direction.

    Args:
        name: parameter `metric`, a plain name or one with the prefix `cv_`; '' for the task's.
        facts: of the data.

    Raises:
        ParameterError: for a metric that the task does not have.
    """
    regression = facts.task == "regression"
    known = metrics.REGRESSION if regression else metrics.CLASSIFICATION
    plain = name.removeprefix(PREFIX) or ("rmse" if regression else "accuracy")
    if plain not in known:
        raise ParameterError(
            f"metric '{name}' is none of {facts.task}{nearest(plain, known)}",
            allowed=", ".join(known),
            action="pass one of these as -P metric=...",
        )
    return f"{PREFIX}{plain}", "maximize" if plain in _HIGHER_IS_BETTER else "minimize"
