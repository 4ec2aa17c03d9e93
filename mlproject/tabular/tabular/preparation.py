"""What comes before the model inside a pipeline: raw rows in, an array of numbers out.

Numbers come first, then texts. Numbers are imputed (and scaled for linear models) or left as they
are; texts become one column per category, or codes for a model that knows categories. Touches
nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from shared.errors import ParameterError, nearest
from tabular.facts import Facts
from tabular.lists import split_list

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator

NATIVE = "native"
"""Missing numbers stay missing: the model has a way of its own."""
IMPUTATIONS = ("median", "mean", "most_frequent")
"""Missing numbers become one of the column's training rows, by scikit-learn's SimpleImputer."""
MOST_CATEGORIES = 255
"""Categories of a column that a model is told apart; the rarer ones count as one (scikit-learn)."""
_DIRECTIONS = {"1": 1, "+1": 1, "-1": -1}


@dataclass(frozen=True)
class Columns:
    """The features in the order in which a model with codes sees them.

    Attributes:
        numbers: columns of numbers, they come first.
        texts: columns of text.
    """

    numbers: tuple[str, ...]
    texts: tuple[str, ...]

    @classmethod
    def of(cls, facts: Facts) -> "Columns":
        """Return the features of a data set."""
        kinds = {name: facts.columns[name].kind for name in facts.features}
        return cls(
            tuple(name for name, kind in kinds.items() if kind == "number"),
            tuple(name for name, kind in kinds.items() if kind == "text"),
        )

    @property
    def text_positions(self) -> list[int]:
        """Where the codes of texts are in the array."""
        return list(range(len(self.numbers), len(self.numbers) + len(self.texts)))

    @property
    def xgboost_types(self) -> list[str]:
        """XGBoost's word for each column: q for a quantity, c for a category."""
        return ["q"] * len(self.numbers) + ["c"] * len(self.texts)

    def directions(self, text: str) -> list[int] | None:
        """Return 1 (rises), -1 (falls) or 0 (free) for each column; None where all are free.

        Args:
            text: `name:1,name:-1`: with which columns the prediction, or the probability of the
                second of two classes in alphabetical order, may only rise or only fall.

        Raises:
            ParameterError: unknown column, column of text, or another word than 1, +1 and -1.
        """
        wanted = dict(self._direction(part) for part in split_list(text))
        return [wanted.get(name, 0) for name in (*self.numbers, *self.texts)] if wanted else None

    def _direction(self, part: str) -> tuple[str, int]:
        name, _, sign = (word.strip() for word in part.rpartition(":"))
        if name in self.numbers and sign in _DIRECTIONS:
            return name, _DIRECTIONS[sign]
        raise ParameterError(
            f"monotone has {part!r}{nearest(name or sign, self.numbers)}",
            allowed=f"name:1 or name:-1, with commas, of the columns {', '.join(self.numbers)}",
            action="correct -P monotone=...",
        )


def prepare(
    columns: Columns, missing: str, *, scaled: bool, coded: bool, sparse: bool = False
) -> "BaseEstimator":
    """Return the unfitted transformer from raw rows to the array that the model takes.

    Before it is stored, `levels.settled` has to make it one of scikit-learn's own parts.

    A category that no training row had is answered: as "none of them" where there is one column
    per category, as missing where there are codes.

    Args:
        columns: the features.
        missing: `NATIVE` or one of `IMPUTATIONS`, for numbers.
        scaled: whether numbers get mean 0 and variance 1.
        coded: whether texts become codes, else one column per category.
        sparse: whether of these columns only what is not zero is kept.
    """
    from sklearn.compose import ColumnTransformer

    from tabular.levels import ByLevels

    encode = ByLevels(_codes() if coded else _one_column_each(sparse=sparse))
    parts = [
        ("numbers", _numbers(missing, scaled=scaled), list(columns.numbers)),
        ("texts", encode, list(columns.texts)),
    ]
    return ColumnTransformer(
        [part for part in parts if part[2]],
        verbose_feature_names_out=False,
        sparse_threshold=1.0 if sparse else 0.0,
    )


def _numbers(missing: str, *, scaled: bool) -> "BaseEstimator | str":
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import StandardScaler

    if missing == NATIVE:
        return "passthrough"
    # keep_empty_features: a column without one value in a short window must not change the shape.
    impute = SimpleImputer(strategy=missing, keep_empty_features=True)
    steps: Sequence[tuple[str, BaseEstimator]] = [("impute", impute)]
    return Pipeline([*steps, ("scale", StandardScaler())] if scaled else list(steps))


def _one_column_each(*, sparse: bool) -> "BaseEstimator":
    """Return the encoder of texts by columns, one of them for texts that are missing.

    The rarer categories have one column together, and so have those of a single row.

    In rows of a file these are NaN, in a request of a single row None, which scikit-learn would
    take for a category that it has not seen.
    """
    import numpy as np
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OneHotEncoder

    fill = partial(SimpleImputer, strategy="constant", fill_value="", keep_empty_features=True)
    encode = OneHotEncoder(
        handle_unknown="infrequent_if_exist",
        min_frequency=2,
        max_categories=MOST_CATEGORIES,
        sparse_output=sparse,
    )
    return Pipeline(
        [
            ("nan", fill(missing_values=np.nan)),
            ("none", fill(missing_values=None)),
            ("encode", encode),
        ]
    )


def _codes() -> "BaseEstimator":
    import numpy as np
    from sklearn.preprocessing import OrdinalEncoder

    return OrdinalEncoder(
        handle_unknown="use_encoded_value",
        unknown_value=np.nan,
        encoded_missing_value=np.nan,
        max_categories=MOST_CATEGORIES,
    )
