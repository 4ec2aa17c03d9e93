"""Two models on the same rows: aligned, checked, and with one list of classes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

import numpy as np
import pandas as pd

from understudy.evaluation.columns import MISSING, Codes, Column, Floats, Index
from understudy.evaluation.predictions import Predictions, frame_of

_SUM_TOLERANCE: Final = 1e-4
"""How far probabilities may sum from one: rounding of 32-bit floats stays far below."""
_MOST_CLASSES: Final = 1000
"""More different numbers than this are regressed, unless the model gives probabilities."""
_LOOKED_AT: Final = 1 << 16
"""Rows by which numbers are told from classes that are written as numbers."""


@dataclass(frozen=True, eq=False)
class Rows:
    """What one model predicted on some rows.

    Attributes:
        source: The predictions, aligned with the other model's.
        labels: All classes of the holdout, sorted as text; of two the second is the positive one.
        fallback: Columns that this model's file lacks, from the other model's.
    """

    source: Predictions
    labels: tuple[str, ...]
    fallback: Mapping[str, Column]

    def __len__(self) -> int:
        return len(self.source)

    def take(self, rows: Index | slice) -> Rows:
        """Return some rows, repeated where an index is."""
        source = self.source
        guess = source.prediction
        taken = replace(
            source,
            ids=source.ids[rows],
            target=source.target.take(rows),
            prediction=None if guess is None else guess.take(rows),
            probabilities={name: values[rows] for name, values in source.probabilities.items()},
            weight=None if source.weight is None else source.weight[rows],
            others={name: column.take(rows) for name, column in source.others.items()},
        )
        fallback = {name: column.take(rows) for name, column in self.fallback.items()}
        return replace(self, source=taken, fallback=fallback)

    def bare(self) -> Rows:
        """Return the rows without the columns that only slices and a user's own metric read."""
        return replace(self, source=replace(self.source, others={}), fallback={})

    @property
    def weight(self) -> Floats | None:
        """Weight of each row; None where all weigh the same."""
        return self.source.weight

    @cached_property
    def truth(self) -> Floats:
        """The target as numbers; NaN where it is none."""
        return _numbers(self.source.target)

    @cached_property
    def guess(self) -> Floats:
        """The prediction as numbers; NaN where it is none."""
        if self.source.prediction is None:
            return np.full(len(self), np.nan)
        return _numbers(self.source.prediction)

    @cached_property
    def true_class(self) -> Codes:
        """Place of the target in ``labels``."""
        return _coded(self.source.target, self.labels)

    @cached_property
    def guessed_class(self) -> Codes:
        """Place of the prediction in ``labels``; -1 for a class that the holdout does not have.

        Without a prediction it is the most probable class.
        """
        if self.source.prediction is None:
            return np.asarray(np.argmax(self.probabilities, axis=1), dtype=np.int32)
        return _coded(self.source.prediction, self.labels)

    @cached_property
    def probabilities(self) -> Floats:
        """One column per class of ``labels``; a class that the model does not know has zero."""
        known, nothing = self.source.probabilities, np.zeros(len(self))
        return np.column_stack([known.get(name, nothing) for name in self.labels])

    @cached_property
    def present(self) -> Codes:
        """Places in ``labels`` of the classes that these rows have."""
        return np.unique(self.true_class)

    def frame(self) -> pd.DataFrame:
        """Return the rows as a frame for a metric of the user's own."""
        frame = frame_of(self.source)
        for name, column in self.fallback.items():
            frame[name] = column.to_pandas()
        return frame

    def bad_numbers(self) -> str:
        """Say how many predictions are missing or infinite; empty for none."""
        return _count(~np.isfinite(self.guess), "predictions are no finite numbers")

    def bad_classes(self) -> str:
        """Say how many predicted classes are missing; empty for none."""
        guess = self.source.prediction
        if guess is None:
            return self.bad_probabilities()
        # A class that the holdout does not have is a wrong prediction, and no missing one.
        missing = guess.data == MISSING if guess.names is not None else pd.isna(guess.data)
        return _count(missing, "predictions are missing")

    def bad_probabilities(self) -> str:
        """Say what is wrong with the probabilities; empty for nothing."""
        values = self.source.probabilities
        total = np.zeros(len(self))
        outside = np.zeros(len(self), dtype=bool)
        for column in values.values():
            total += column
            outside |= (column < 0) | (column > 1)
        return (
            _count(~np.isfinite(total), "rows have probabilities that are no finite numbers")
            or _count(outside, "rows have probabilities outside [0, 1]")
            or _count(abs(total - 1) > _SUM_TOLERANCE, "rows have probabilities not summing to one")
        )


def _count(bad: np.ndarray[tuple[int], np.dtype[np.bool_]], what: str) -> str:
    number = int(bad.sum())
    return f"{number} of {len(bad)} {what}" if number else ""


def _numbers(column: Column) -> Floats:
    if column.is_number:
        return column.data
    if column.names is None:
        return np.full(len(column.data), np.nan)
    # Parsed once a name and not once a row; the last place is for missing texts.
    table = pd.to_numeric(pd.Series([*column.names, ""]), errors="coerce").to_numpy("float64")
    return np.asarray(table[column.data])


def _coded(column: Column, labels: tuple[str, ...]) -> Codes:
    named = column.as_names()
    place = {name: code for code, name in enumerate(labels)}
    # The code MISSING is -1 and so finds the last place.
    table = np.array([*(place.get(n, MISSING) for n in named.names or ()), MISSING], dtype=np.int32)
    return np.asarray(table[named.data])


@dataclass(frozen=True, eq=False)
class Pair:
    """The challenger and the champion, if there is one, on the same rows in the same order."""

    challenger: Rows
    champion: Rows | None

    def __len__(self) -> int:
        return len(self.challenger)

    def take(self, rows: Index | slice) -> Pair:
        """Return some rows of both."""
        champion = self.champion
        return Pair(self.challenger.take(rows), None if champion is None else champion.take(rows))

    def bare(self) -> Pair:
        """Return both without the columns that only slices and a user's own metric read."""
        champion = self.champion
        return Pair(self.challenger.bare(), None if champion is None else champion.bare())

    def column(self, name: str) -> Column | None:
        """Return a column that is no model's own: the challenger's, else the champion's."""
        found = self.challenger.source.others.get(name)
        return found if found is not None else self.challenger.fallback.get(name)


def blockers(challenger: Predictions, champion: Predictions | None) -> tuple[str, ...]:
    """Return why the two cannot be compared; empty where they can."""
    found = [f"challenger: {problem}" for problem in challenger.problems]
    if champion is None:
        return tuple(found)
    found += [f"champion: {problem}" for problem in champion.problems]
    return tuple(found) or tuple(_differences(challenger, champion))


def _differences(challenger: Predictions, champion: Predictions) -> Iterator[str]:
    if not np.array_equal(challenger.ids, champion.ids):
        missing = int((~np.isin(challenger.ids, champion.ids)).sum())
        # Ids are compared first: where the rows differ, so do targets and weights, and it would be
        # said three times.
        yield (
            f"challenger and champion were scored on different rows: {missing} of the "
            f"challenger's {len(challenger)} are not among the champion's {len(champion)}"
        )
        return
    if unequal := _unequal(challenger.target, champion.target):
        yield f"the target of {unequal} of {len(challenger)} rows differs between the two models"
    one, other = challenger.weight, champion.weight
    both_none = one is None and other is None
    equal = one is not None and other is not None and np.array_equal(one, other)
    if not both_none and not equal:
        yield "the weights of the rows differ between the two models"


def _unequal(one: Column, other: Column) -> int:
    if one.is_number and other.is_number:
        return int((one.data != other.data).sum())
    named = one.as_names()
    return int((named.data != _coded(other, named.names or ())).sum())


def paired(challenger: Predictions, champion: Predictions | None) -> Pair:
    """Return the two on one list of classes; ``blockers`` said that they can be compared."""
    labels = _labels(challenger, champion)
    for_challenger = _lacking(challenger, champion)
    if champion is None:
        return Pair(Rows(challenger, labels, for_challenger), None)
    for_champion = _lacking(champion, challenger)
    return Pair(Rows(challenger, labels, for_challenger), Rows(champion, labels, for_champion))


def _lacking(one: Predictions, other: Predictions | None) -> dict[str, Column]:
    if other is None:
        return {}
    return {name: column for name, column in other.others.items() if name not in one.others}


def _labels(challenger: Predictions, champion: Predictions | None) -> tuple[str, ...]:
    """Return the classes of target and probabilities; a number that is regressed has none."""
    known = set(challenger.probabilities) | set(champion.probabilities if champion else ())
    target = challenger.target
    # The first rows are a random sample of all: they are in the order of a hash of their ids.
    regressed = (
        target.is_number and not known and len(np.unique(target.data[:_LOOKED_AT])) > _MOST_CLASSES
    )
    names = () if regressed else target.as_names().names or ()
    return tuple(sorted(known | set(names)))
