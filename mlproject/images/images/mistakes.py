"""Finds the mistakes that say most about a model, and has them drawn.

Touches only the files it is asked to read or write.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from images import pictures
from images.facts import Facts
from images.tables import ROW_ID, read
from shared.predictions import PROBABILITY

WORST = 24
"""Mistakes that are drawn."""


def draw_all(predictions: pd.DataFrame, holdout: Path, facts: Facts, folder: Path) -> None:
    """Draw the confusion matrix and the worst mistakes into `folder`.

    Args:
        predictions: as `predictions.predict` returns them.
        holdout: the images, in the same order.
        facts: their shape and classes.
        folder: where to.
    """
    names = _shown(predictions, facts)
    pictures.confusion(confusion(predictions, names), names, folder)
    worst = worst_mistakes(predictions)
    images = _images(holdout, facts, set(worst[ROW_ID]))
    drawn = [
        (images[row.row_id], f"{row.target}, taken for\n{row.prediction} ({row.certainty:.0%})")
        for row in worst.itertuples()
    ]
    pictures.mistakes(drawn, facts.brightest, folder)


def confusion(
    predictions: pd.DataFrame, names: list[str]
) -> "np.ndarray[tuple[int, int], np.dtype[np.int64]]":
    """Return how often each class (rows, targets) was taken for each other (columns)."""
    from sklearn.metrics import confusion_matrix

    chosen = predictions[predictions["target"].isin(names)]
    matrix = confusion_matrix(chosen["target"], chosen["prediction"], labels=names)
    return np.asarray(matrix)


def worst_mistakes(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return the mistakes of which the model was surest, the surest first.

    Returns:
        The rows, with the column `certainty`: the probability of the wrong class, 0 to 1; 1 where
        the model gives no probabilities.
    """
    wrong = predictions[predictions["target"] != predictions["prediction"]]
    columns = [name for name in wrong.columns if str(name).startswith(PROBABILITY)]
    certainty = wrong[columns].max(axis=1) if columns else pd.Series(1.0, index=wrong.index)
    ranked = wrong.assign(certainty=certainty)
    return ranked.sort_values("certainty", ascending=False, kind="stable").head(WORST)


def _shown(predictions: pd.DataFrame, facts: Facts) -> list[str]:
    """Return the classes in the matrix: all, or of many those with most mistakes."""
    known = dict.fromkeys((*facts.classes, *predictions["target"], *predictions["prediction"]))
    names = list(known)
    if len(names) <= pictures.MOST_CLASSES:
        return names
    wrong = predictions[predictions["target"] != predictions["prediction"]]
    worst = set(wrong["target"].value_counts().head(pictures.MOST_CLASSES).index)
    return [name for name in names if name in worst] or names[: pictures.MOST_CLASSES]


def _images(holdout: Path, facts: Facts, wanted: set[str]) -> dict[str, pictures.Image]:
    """Return the images with these row ids."""
    found: dict[str, pictures.Image] = {}
    for some in read(holdout, facts.shape, ROW_ID):
        for number, row_id in enumerate(some.marks):
            if row_id in wanted:
                found[row_id] = some.pixels[number]
    return found
