"""Judges parameters by cross-validation on the training rows: the holdout is never looked at.

Folds part rows as `split` does: rows of one identity stay together, or, where the newest rows are
held out, a model is judged on rows that are newer than all that it was fitted on. Else a fold would
reward a model for knowing the very rows that judge it. Touches nothing.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from shared.errors import DataError
from shared.metrics import standard_error
from shared.objective import ERROR
from tabular import models
from tabular.declaration import Task
from tabular.facts import Facts
from tabular.fitting import Part, fit
from tabular.identity import identities
from tabular.preprocess import FEWEST_CLASSES
from tabular.scoring import as_inputs, as_target, scores
from tabular.split import ROW_ID

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

PREFIX = "cv_"
SPREAD = "_std"


@dataclass(frozen=True)
class Folds:
    """Training rows, cut into parts of which each is the judge once.

    Attributes:
        facts: of the data.
        rows: features, as models take them, and the target.
        parts: positions of the rows to fit on, and of those to judge on, for each fold.
        notes: what is to be said of the rows, as sentences.
        left_out: which folds cannot be used, and why, as sentences.
    """

    facts: Facts
    rows: pd.DataFrame
    parts: Sequence[tuple[Any, Any]]
    notes: Sequence[str] = ()
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

    def unseen(
        self, model: str, used: Mapping[str, Any], kept: pd.DataFrame, metric: str
    ) -> dict[str, float]:
        """Return the metrics on rows of no fold, by their plain names; all the others are fitted.

        Args:
            model: as for `score`.
            used: ditto.
            kept: the rows, with `row_id`, numbered from 0.
            metric: the plain name of the one that has its standard error, `<metric>_se`, too.

        Raises:
            Exception: whatever fitting and scoring raise.
        """
        pipeline = self._fitted(model, used, self.rows)

        def judged(chosen: "np.ndarray[Any, Any]") -> dict[str, float]:
            return scores(pipeline, kept.iloc[chosen].reset_index(drop=True), self.facts)

        whose = identities(kept[ROW_ID]).tolist()
        error = standard_error(judged, whose, metric)
        known = {} if error is None else {f"{metric}{ERROR}": error}
        return {**judged(np.arange(len(kept))), **known}

    def _score(
        self,
        model: str,
        used: Mapping[str, Any],
        fitted: Any,  # noqa: ANN401 - positions
        judged: Any,  # noqa: ANN401 - ditto
    ) -> dict[str, float]:
        pipeline = self._fitted(model, used, self.rows.iloc[fitted])
        return scores(pipeline, self.rows.iloc[judged].reset_index(drop=True), self.facts)

    def _fitted(self, model: str, used: Mapping[str, Any], rows: pd.DataFrame) -> "Pipeline":
        pipeline = models.build(model, self.facts, used, rows)
        fit(pipeline, Part(as_inputs(rows, self.facts), as_target(rows, self.facts)), None, 0)
        return pipeline


def cut(rows: pd.DataFrame, facts: Facts, count: int, random_state: int, metric: str = "") -> Folds:
    """Return the folds of the training rows that can be used.

    Args:
        rows: what `preprocess` left for training.
        facts: of the data.
        count: number of folds, at least 2.
        random_state: seed of the assignment; without effect where folds keep to the time.
        metric: what leads, plain or with the prefix; a fold that does not define it is left out.

    Raises:
        DataError: if there are too few different rows or times, or no fold can be used.
    """
    time = facts.split_by
    ordered = rows.sort_values(time, kind="stable") if time else rows
    ordered = ordered.reset_index(drop=True)
    notes = list(_repeated(ordered, facts))
    if time:
        parts = _in_turn(ordered[time].to_numpy(), count)
        if len(parts) < count:
            notes.append(f"many rows have one {time}: there are {len(parts)} folds, not {count}")
    else:
        kinds = ordered[facts.target] if facts.task == "classification" else None
        dealt = deal(identities(ordered[ROW_ID]), kinds, count, random_state)
        parts = [(np.flatnonzero(dealt != n), np.flatnonzero(dealt == n)) for n in range(count)]
    taken = as_inputs(ordered, facts).assign(**{facts.target: ordered[facts.target]})
    return _usable(Folds(facts, taken, parts, notes), metric.removeprefix(PREFIX))


def deal(
    groups: pd.Series, classes: pd.Series | None, count: int, random_state: int
) -> "np.ndarray[Any, np.dtype[np.int64]]":
    """Return the fold of each row, from 0: a group in one fold, each class spread evenly.

    Groups of several rows are dealt first, the largest first, each to the fold that has least of
    its classes (counted as shares of the class), then single rows, which even out what is left.

    Args:
        groups: what rows that must stay together have in common.
        classes: what is to be spread; None for the number of rows alone.
        count: number of folds.
        random_state: seed; groups of one size are dealt in random order.

    Raises:
        DataError: if there are fewer groups than folds.
    """
    group = pd.factorize(groups)[0]
    kind = np.zeros(len(group), "int64") if classes is None else pd.factorize(classes)[0]
    sizes = np.bincount(group)
    if len(sizes) < count:
        raise _too_few(f"{len(group)} training rows, {len(sizes)} of them different,", count)
    random = np.random.default_rng(random_state)
    weights = 1.0 / np.bincount(kind) ** 2
    held = np.zeros((count, len(weights)), dtype="int64")  # rows of each fold and class
    fold = np.empty(len(group), dtype="int64")
    shuffled = random.permutation(len(sizes))
    largest = shuffled[np.argsort(-sizes[shuffled], kind="stable")]
    members, ends = np.argsort(group, kind="stable"), np.cumsum(sizes)
    for number in largest[: int((sizes > 1).sum())]:
        rows = members[ends[number] - sizes[number] : ends[number]]
        kinds = kind[rows]
        chosen = np.lexsort((held.sum(axis=1), held[:, kinds] @ weights[kinds]))[0]
        fold[rows] = chosen
        np.add.at(held[chosen], kinds, 1)
    for one in range(len(weights)):
        alone = random.permutation(np.flatnonzero((sizes[group] == 1) & (kind == one)))
        fold[alone] = _evened(held, one, len(alone))
        held[:, one] += np.bincount(fold[alone], minlength=count)
    return fold


def _evened(
    held: "np.ndarray[Any, np.dtype[np.int64]]", kind: int, rows: int
) -> "np.ndarray[Any, np.dtype[np.int64]]":
    """Return the folds of so many more rows of a class: they even out what the folds have of it.

    Args:
        held: rows of each fold and class.
        kind: number of the class.
        rows: how many.
    """
    fewest = np.argsort(held.sum(axis=1), kind="stable")
    # The lowest places above what each fold has, those of the emptiest fold first.
    levels = (held[fewest, kind] + np.arange(rows)[:, None]).ravel()
    return np.asarray(fewest[np.argsort(levels, kind="stable")[:rows] % len(held)])


def _in_turn(
    times: "np.ndarray[Any, Any]", count: int
) -> "list[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]":
    """Return folds in the order of time, each judged by the rows after those that it is fitted on.

    They are those of scikit-learn's TimeSeriesSplit, but that rows of one time stay together: a
    border moves to the nearest change of the time, and two that meet become one.
    """
    size, changes = len(times) // (count + 1), np.flatnonzero(times[1:] != times[:-1]) + 1
    if not size or not len(changes):
        raise _too_few(f"{len(times)} training rows of {len(changes) + 1} different times", count)
    wanted = len(times) - size * np.arange(count, 0, -1)
    nearest = np.abs(changes - wanted[:, None]).argmin(axis=1)
    borders = [*np.unique(changes[nearest]), len(times)]
    return [(np.arange(begin), np.arange(begin, end)) for begin, end in itertools.pairwise(borders)]


def _too_few(found: str, count: int) -> DataError:
    return DataError(
        f"the {found} cannot be cut into {count} folds",
        allowed="at least one row, not equal to one of another fold, for each fold",
        action="pass fewer -P folds=..., or bring more rows",
    )


def _repeated(rows: pd.DataFrame, facts: Facts) -> Iterator[str]:
    """Yield what is to be said of rows that are alike, as sentences."""
    whose = identities(rows[ROW_ID])
    features = pd.util.hash_pandas_object(rows[list(facts.features)], index=False)
    repeated = int(whose.duplicated().sum())
    pairs = pd.DataFrame({"whose": whose, "features": features})
    parted = int((~pairs.duplicated()).sum()) - features.nunique()
    named = f" in {', '.join(facts.identity)}" if facts.identity else ""
    together = (
        "folds go by the time, as the holdout does"
        if facts.split_by
        else "equal ones are in one fold, as they are in one part of the split"
    )
    if repeated:
        found = f"{repeated:,} of {len(rows):,} training rows repeat an earlier one{named}"
        yield f"{found}: {together}"
    if parted and not facts.split_by:
        yield (
            f"{parted:,} training rows have the features of another row and another identity: a "
            "fold may judge by what it was fitted on, and so may the holdout"
        )


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
