"""Encodes texts by their levels: a million rows of fifty different texts are fifty texts.

scikit-learn's encoders count and look up one Python object after another. `ByLevels` stands for
such an encoder while a pipeline is fitted and scored; `settled` puts the encoder itself in its
place, fitted as it would be on all rows. What is stored knows nothing of this module.
Touches nothing.
"""

from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.compose import ColumnTransformer
from sklearn.preprocessing import OrdinalEncoder


class ByLevels(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """An encoder of columns of text.

    Args:
        encoder: unfitted; what it learns depends on the levels of a column, on which of them are
            more frequent than others, and which occur once, but on nothing else.
    """

    def __init__(self, encoder: BaseEstimator) -> None:
        self.encoder = encoder

    def fit(self, rows: pd.DataFrame, _target: object = None) -> "ByLevels":
        """Fit the encoder on as few rows as teach it the same."""
        self.encoder_ = clone(self.encoder).fit(_reduced(rows))
        return self

    def transform(self, rows: pd.DataFrame) -> Any:  # noqa: ANN401 - an array, or a sparse one
        """Return what the encoder makes of the rows."""
        if not isinstance(self.encoder_, OrdinalEncoder) or not _are_texts(rows):
            return self.encoder_.transform(rows)
        factors = [pd.factorize(rows[name]) for name in rows.columns]
        # One row more than levels: code -1, that of a missing text, is the last one.
        height = 1 + max((len(levels) for _, levels in factors), default=0)
        table = {
            name: pd.Series(levels, dtype="str").reindex(range(height))
            for name, (_, levels) in zip(rows.columns, factors, strict=True)
        }
        codes = self.encoder_.transform(pd.DataFrame(table, columns=rows.columns))
        taken = [codes[rank, at] for at, (rank, _) in enumerate(factors)]
        return np.column_stack(taken)


def settled(prepare: ColumnTransformer) -> None:
    """Put the encoders in the places of those that stood for them."""
    prepare.transformers = [
        (name, part.encoder if isinstance(part, ByLevels) else part, columns)
        for name, part, columns in prepare.transformers
    ]
    prepare.transformers_ = [
        (name, part.encoder_ if isinstance(part, ByLevels) else part, columns)
        for name, part, columns in prepare.transformers_
    ]


def _are_texts(rows: pd.DataFrame) -> bool:
    return all(isinstance(kind, pd.StringDtype) for kind in rows.dtypes)


def _reduced(rows: pd.DataFrame) -> pd.DataFrame:
    """Return few rows in which levels are as frequent, compared with each other, as in all.

    The shorter columns are filled with their last level, which no other one is more frequent than.
    """
    if not _are_texts(rows):
        return rows
    columns = {name: _repeated(rows[name]) for name in rows.columns}
    height = max(map(len, columns.values()), default=0)
    if height >= len(rows) or any(map(_has_empty_and_missing, columns.values())):
        return rows
    filled = {
        name: np.concatenate([texts, np.repeat(texts[-1:], height - len(texts))])
        for name, texts in columns.items()
    }
    return pd.DataFrame(filled, dtype="str")


def _repeated(column: pd.Series) -> "np.ndarray[Any, Any]":
    """Return the levels, the rarest first, of equally frequent ones in alphabetical order.

    One that all rows have once is there once; the others as often as there are rarer frequencies,
    and at least twice.
    """
    counts = column.value_counts(dropna=False).rename("count").rename_axis("text").reset_index()
    counts["order"] = counts["text"].fillna("")  # so takes an encoder that knows nothing missing
    counts = counts.sort_values(["count", "order"], ignore_index=True)
    times = counts["count"].rank(method="dense").astype("int64")
    if counts["count"].min() > 1:
        times += 1
    texts: np.ndarray[Any, Any] = counts["text"].repeat(times).to_numpy(dtype="object")
    return texts


def _has_empty_and_missing(texts: "np.ndarray[Any, Any]") -> bool:
    """Whether there are two levels that may be one to an encoder."""
    return bool((texts == "").any() and pd.isna(texts).any())
