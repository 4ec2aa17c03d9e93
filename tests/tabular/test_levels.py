"""An encoder that is fitted on levels is the one that all rows would have made."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from tabular import models
from tabular.declaration import Column
from tabular.facts import Facts
from tabular.levels import ByLevels, settled

pytestmark = pytest.mark.unit

DEFAULTS = {option.name: option.default for option in models.OPTIONS}
DRAW = np.random.default_rng(3)
COUNT = 4000


def texts(levels: int, missing: float, skew: float = 1.0) -> pd.Series:
    """Return texts of which some are frequent, some occur once, and many are equally frequent."""
    ranks = (levels * DRAW.random(COUNT) ** skew).astype("int64")
    column = pd.Series(ranks).map("kind {}".format)
    return column.mask(DRAW.random(COUNT) < missing).astype("str")


TABLES = {
    "few": {"a": texts(5, 0.0), "b": texts(50, 0.1)},
    "more than are told apart": {"a": texts(3000, 0.0), "b": texts(400, 0.3), "c": texts(3, 0)},
    "many of a single row": {"a": texts(300, 0.5, 6.0), "b": texts(2, 0.0)},
    "equally frequent": {
        "a": pd.Series([f"{n % 400:03}" for n in range(COUNT)], dtype="str"),
        "b": pd.Series([f"{n % 7}" for n in range(COUNT)], dtype="str"),
    },
    "mostly missing": {"a": texts(3, 0.99), "b": pd.Series([np.nan] * COUNT, dtype="str")},
    "empty and missing": {"a": pd.Series(["", "x", np.nan, "y"] * 1000, dtype="str")},
    "no plain texts": {"a": texts(5, 0.1).astype("object")},
}


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("model", ["hist_gradient_boosting", "random_forest"])
def test_the_stored_step_is_that_of_all_rows(model: str, name: str) -> None:
    """The same to the last byte, and it makes the same array."""
    rows = pd.DataFrame({"n": DRAW.normal(size=COUNT), **TABLES[name], "y": DRAW.random(COUNT)})
    kinds = {"n": Column(), **{text: Column(kind="text") for text in TABLES[name]}}
    facts = Facts("demo", "regression", "y", kinds, tuple(kinds))
    used = models.choose(model, "regression", {**DEFAULTS, "n_estimators": 1})
    prepare = models.build(model, facts, used, rows).named_steps["prepare"]
    plain = clone(prepare).set_params(
        transformers=[
            (part, one.encoder if isinstance(one, ByLevels) else one, columns)
            for part, one, columns in prepare.transformers
        ]
    )
    wanted = plain.fit_transform(rows)
    np.testing.assert_array_equal(prepare.fit_transform(rows), wanted)
    others = rows.assign(**{text: texts(9, 0.2) for text in TABLES[name]})
    np.testing.assert_array_equal(prepare.transform(others), plain.transform(others))
    settled(prepare)
    assert pickle.dumps(prepare) == pickle.dumps(plain)
    np.testing.assert_array_equal(prepare.transform(others), plain.transform(others))
