"""From two models' predictions to the arrays that a summary is made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from understudy.evaluation.holdout import Classes, Floats, Guess, Numbers
from understudy.evaluation.pairing import blockers, paired
from understudy.evaluation.summary import empty, summarise
from understudy.report.drawing import CHALLENGER, CHAMPION

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from understudy.evaluation import Predictions
    from understudy.evaluation.pairing import Rows

SHOWN_BELOW: Final = 1e140
"""Numbers of this size and above are left out of the pictures: sums of their squares overflow."""
_LOOKED_AT: Final = 1 << 16
"""Rows by which numbers are told from classes that are written as numbers."""


def summary_of(challenger: Predictions, champion: Predictions | None) -> dict[str, Any]:
    """Return the summary of a holdout, as JSON values.

    Every row counts once, whatever its weight. Rows for which a model predicts nothing that can be
    shown (no finite number, one of ``SHOWN_BELOW`` or more, no probability) are left out and
    counted. Models that cannot be compared have no pictures.

    Args:
        challenger: Its predictions.
        champion: Its predictions; None where there is no champion, or none that was scored.
    """
    if blockers(challenger, champion):
        return empty(len(challenger))
    pair = paired(challenger, champion)
    rows = {CHALLENGER: pair.challenger}
    if pair.champion is not None:
        rows[CHAMPION] = pair.champion
    return summarise(_classes(rows) if _classified(rows) else _numbers(rows))


def _classified(rows: Mapping[str, Rows]) -> bool:
    """Return whether classes are predicted: by their names or probabilities, or as numbers.

    Classes that are written as numbers are known by predictions that are nothing but targets.
    """
    ours = rows[CHALLENGER]
    if not ours.source.target.is_number or any(one.source.probabilities for one in rows.values()):
        return bool(ours.labels)
    known = np.unique(ours.truth[:_LOOKED_AT])
    return all(bool(np.isin(one.guess[:_LOOKED_AT], known).all()) for one in rows.values())


def _numbers(rows: Mapping[str, Rows]) -> Numbers:
    target = rows[CHALLENGER].truth
    kept = np.abs(target) < SHOWN_BELOW  # false for NaN, too
    for one in rows.values():
        kept &= np.abs(one.guess) < SHOWN_BELOW
    predictions = {who: _kept(one.guess, kept) for who, one in rows.items()}
    return Numbers(_kept(target, kept), predictions, int(len(kept) - kept.sum()))


def _classes(rows: Mapping[str, Rows]) -> Classes:
    ours = rows[CHALLENGER]
    kept = ours.true_class >= 0
    for one in rows.values():
        for column in one.source.probabilities.values():
            kept &= (column >= 0) & (column <= 1)
    guesses = {who: _guess(one, kept) for who, one in rows.items()}
    target = _kept(ours.true_class, kept)
    return Classes(ours.labels, target, guesses, int(len(kept) - kept.sum()))


def _guess(one: Rows, kept: NDArray[np.bool_]) -> Guess:
    codes = _kept(one.guessed_class, kept)
    if not one.source.probabilities:
        return Guess(codes)
    nothing: Floats = np.zeros(len(codes))
    known = {name: _kept(column, kept) for name, column in one.source.probabilities.items()}
    return Guess(codes, tuple(known.get(label, nothing) for label in one.labels))


def _kept(values: NDArray[Any], kept: NDArray[np.bool_]) -> NDArray[Any]:
    """Return the rows that are kept; where these are all, without a copy."""
    return values if kept.all() else values[kept]
