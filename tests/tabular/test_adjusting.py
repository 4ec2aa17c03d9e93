"""What rows decide about a model: targets of any size, texts of many kinds, rare classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io
from scipy import sparse

from shared.errors import DataError
from tabular import adjusting, models
from tabular.declaration import Column, Task
from tabular.facts import Facts
from tabular.fitting import Part, fit
from tabular.levels import settled
from tabular.metrics import regression
from tabular.preparation import Columns
from tabular.scoring import as_inputs, as_target, one_value, scores
from tabular.train import check_rows

pytestmark = pytest.mark.unit

DEFAULTS = {option.name: option.default for option in models.OPTIONS}
X = np.arange(300.0)
UNIT_BOUND = [name for name, model in models.MODELS.items() if model.unit_bound]


def facts(task: Task, kind: str = "number") -> Facts:
    """Return the facts of rows with the number ``x`` and the target ``y``."""
    columns = {"x": Column(nullable=True), "y": Column(kind=kind)}  # type: ignore[arg-type]
    return Facts("demo", task, "y", columns, ("x",))


def fitted(name: str, known: Facts, rows: pd.DataFrame, **given: Any) -> Any:  # noqa: ANN401 - a pipeline
    """Fit a model as `train` does, by its defaults."""
    used = models.choose(name, known.task, {**DEFAULTS, **given})
    check_rows(rows, known, used)
    pipeline = models.build(name, known, used, rows)
    fit(pipeline, Part(as_inputs(rows, known), as_target(rows, known)), None, 0)
    settled(pipeline.named_steps["prepare"])
    return pipeline


@pytest.mark.parametrize("name", UNIT_BOUND)
@pytest.mark.parametrize(
    "target", [X * 1e-6, X * 1e-9, X * 1e-20, X * 1e12, X * 1e20, X + 1e9, 1e12 - X]
)
def test_a_number_is_learnt_whatever_its_unit(name: str, target: np.ndarray) -> None:  # type: ignore[type-arg]
    """Tiny, huge or far from zero: predicted in its own unit, and stored without our code."""
    rows = pd.DataFrame({"x": X, "y": target})
    given = {"n_estimators": 60} if name == "xgboost" else {}
    given = {"n_estimators": 5} if name == "random_forest" else given
    pipeline = fitted(name, facts("regression"), rows, **given)
    guess = pipeline.predict(rows[["x"]])
    assert regression(rows["y"], pd.Series(guess))["r2"] > 0.99
    assert not one_value(rows["y"], pd.Series(guess))
    loaded = skops.io.loads(skops.io.dumps(pipeline), trusted=models.trusted_types(name))
    assert list(loaded.predict(rows[["x"]])) == list(guess)


def test_a_usual_number_is_learnt_as_it_is() -> None:
    """Prices, counts, shares, years: nothing changes for them; nor for what does not vary."""
    for usual in (X, X * 1e-3, X * 1e6, -X, X % 2, 2000 + X % 30, X * 0 + 3, X * 0):
        assert not adjusting.is_extreme(pd.Series(usual))


def test_counts_that_are_tiny_keep_poissons_criterion() -> None:
    """It takes no target below zero, so the mean stays in it."""
    rows = pd.DataFrame({"x": X, "y": X * 1e-9})
    pipeline = fitted("decision_tree", facts("regression"), rows, criterion="poisson")
    assert regression(rows["y"], pd.Series(pipeline.predict(rows[["x"]])))["r2"] > 0.99


def test_curves_are_in_the_target_s_unit() -> None:
    """Also of validation rows, by which an extreme target stops early like any other."""
    known, rows = facts("regression"), pd.DataFrame({"x": X, "y": 1e9 + X * 10})
    used = models.choose("xgboost", "regression", {**DEFAULTS, "n_estimators": 30})
    pipeline = models.build("xgboost", known, used, rows)
    parts = [Part(rows[["x"]][keep], rows["y"][keep]) for keep in (X % 4 > 0, X % 4 == 0)]
    curves = fit(pipeline, parts[0], parts[1], 5)
    for part, name in zip(parts, ("train", "validation"), strict=True):
        guess = pd.Series(pipeline.predict(part.features))
        expected = regression(part.target, guess)["rmse"]
        assert curves[f"{name}_rmse"][-1] == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("name", ["decision_tree", "xgboost", "elastic_net"])
def test_a_number_beyond_single_precision_is_refused(name: str) -> None:
    """By name, before a library says something about labels."""
    rows = pd.DataFrame({"x": X, "y": X * 1e155})
    with pytest.raises(DataError, match=r"'y' reaches 2.99e\+157.*numbers below 1e\+38"):
        fitted(name, facts("regression"), rows)


CLASSES = {
    "texts": ("yes", "no"),
    "truth values": (True, False),
    "not from zero": (7, 3),
    "negative": (-1, 1),
    "halves": (0.5, 1.5),
    "tenths": (0.1, 0.2),
    "tiny": (1e-9, 2e-9),
    "huge": (1e12, 3e12),
    "words": ("NA", "True"),
    "signs": ("a=b", "Übermaß, süß"),
    "nothing": ("", "None"),
}
NAMES = {
    "truth values": {"True", "False"},
    "not from zero": {"7", "3"},
    "negative": {"-1", "1"},
    "halves": {"0.5", "1.5"},
    "tenths": {"0.1", "0.2"},
    "tiny": {"1e-09", "2e-09"},
    "huge": {"1000000000000", "3000000000000"},
}


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize(
    ("name", "stored"),
    [("logistic_regression", ""), ("decision_tree", "object"), ("xgboost", "")],
)
def test_classes_of_any_name(name: str, kind: str, stored: str) -> None:
    """What scikit-learn takes for numbers, or refuses, are classes all the same."""
    one, other = CLASSES[kind]
    known = facts("classification", "text" if isinstance(one, str) else "number")
    rows = pd.DataFrame({"x": X, "y": [one if x < 150 else other for x in X]})
    rows = rows.astype({"y": stored}) if stored else rows
    given = {"n_estimators": 5} if name == "xgboost" else {}
    pipeline = fitted(name, known, rows, **given)
    values = scores(pipeline, rows, known)
    assert values["accuracy"] > 0.95
    assert values["roc_auc"] > 0.95
    from tabular.predictions import class_names

    assert set(class_names(pd.Series(pipeline.classes_))) == NAMES.get(kind, {one, other})


@pytest.mark.parametrize("name", ["hist_gradient_boosting", "xgboost", "random_forest"])
def test_a_class_that_occurs_once(name: str) -> None:
    """Also among so many rows that boosting would set some aside to stop early by."""
    x = np.random.default_rng(0).normal(size=10_500)
    classes = np.where(x > 0, "a", "b")
    classes[3] = "c"  # one letter, as the array holds one
    rows = pd.DataFrame({"x": x, "y": classes})
    pipeline = fitted(name, facts("classification", "text"), rows, n_estimators=3)
    assert set(pipeline.classes_) == {"a", "b", "c"}


@pytest.fixture
def of_shops() -> tuple[Facts, pd.DataFrame]:
    """Return rows of more shops than are told apart."""
    columns = {"shop": Column(kind="text"), "x": Column(), "y": Column()}
    rows = pd.DataFrame({"shop": [f"c{n % 2000}" for n in range(6000)], "x": np.arange(6000.0)})
    return Facts("demo", "regression", "y", columns, ("shop", "x")), rows.assign(y=rows["x"] % 7)


@pytest.mark.parametrize("name", ["random_forest", "linear_regression", "elastic_net"])
@pytest.mark.parametrize("many", [True, False])
def test_of_many_categories_the_frequent_are_told_apart(
    monkeypatch: pytest.MonkeyPatch, of_shops: tuple[Facts, pd.DataFrame], name: str, *, many: bool
) -> None:
    """A column each for 2,000 shops would be 96 MB here; it is said, and beyond a size sparse."""
    known, rows = of_shops
    monkeypatch.setattr(adjusting, "MOST_CELLS", 1000 if many else 10**9)
    given = {"n_estimators": 2} if name == "random_forest" else {}
    pipeline = fitted(name, known, rows, **given)
    prepared = pipeline.named_steps["prepare"].transform(rows[["shop", "x"]])
    assert prepared.shape == (6000, 256)
    assert sparse.issparse(prepared) is many
    loaded = skops.io.loads(skops.io.dumps(pipeline), trusted=models.trusted_types(name))
    unseen = rows[["shop", "x"]].head(3).assign(context=["c1", "nobody", None])
    assert list(loaded.predict(unseen)) == list(pipeline.predict(unseen))
    (line,) = adjusting.told(rows, known)
    assert line == (
        "text column 'shop' has 2,000 different values in 6,000 rows: the 254 most frequent are "
        "told apart, the others count as one"
    )


@pytest.mark.parametrize(
    ("target", "guess", "said"),
    [
        ([1.0, 2.0], [1.5, 1.5], "one number, 1.5, for all 2 rows"),
        ([1.0, 2.0], [1.5, 1.5 + 1e-12], "one number"),
        ([1e-9, 2e-9], [1e-9, 1.1e-9], ""),
        ([1e12, 1e12 + 9], [1e12 + 1, 1e12 + 8], ""),
        ([1.0, 1.0], [1.5, 1.5], ""),
        (["a", "b"], ["a", "a"], "one class, 'a', for all 2 rows"),
        (["a", "b"], ["a", "b"], ""),
        ([1.0], [1.5], ""),
    ],
)
def test_one_value_for_all_rows_is_said(target: list[Any], guess: list[Any], said: str) -> None:
    """Where the targets differ."""
    assert said in one_value(pd.Series(target), pd.Series(guess))
    assert bool(one_value(pd.Series(target), pd.Series(guess))) == bool(said)


@pytest.mark.parametrize(("coded", "width"), [(True, 3), (False, 5)])
def test_a_fit_without_enough_memory_is_refused_in_words(*, coded: bool, width: int) -> None:
    """By the array alone: two numbers, and the texts as a code or as three columns."""
    columns = Columns(("size", "age"), ("colour",))
    rows = pd.DataFrame({"size": [1.0] * 300, "age": 2.0, "colour": ["red", "blue", "green"] * 100})
    needed = 2 * 8 * width * len(rows)
    adjusting.check_memory(rows, columns, coded=coded, free=needed)
    words = f"300 training rows in {width} columns of numbers need at least 0.0 GB"
    with pytest.raises(DataError, match=words):
        adjusting.check_memory(rows, columns, coded=coded, free=needed - 1)


def test_this_machine_has_memory_for_some_rows_and_not_for_all() -> None:
    """As it says itself."""
    columns = Columns(("size",), ())
    adjusting.check_memory(pd.DataFrame({"size": [1.0, 2.0]}), columns, coded=False)
    endless = pd.DataFrame(index=pd.RangeIndex(10**13))
    with pytest.raises(DataError, match=r"160000\.0 GB of memory, and"):
        adjusting.check_memory(endless, columns, coded=False)
