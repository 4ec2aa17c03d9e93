"""The models: every one fits raw rows, can be stored safely, and refuses what has no effect."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io

from shared.errors import DataError, ParameterError
from tabular import metrics
from tabular.declaration import Column, Task
from tabular.facts import Facts
from tabular.levels import settled
from tabular.models import MODELS, OPTIONS, build, choose, requirements, trusted_types
from tabular.train import as_inputs

pytestmark = pytest.mark.unit

DEFAULTS = {option.name: option.default for option in OPTIONS}
PAIRS = [(name, task) for name, model in MODELS.items() for task in model.tasks]


def facts(task: Task) -> Facts:
    """Return the facts of the frame fixture."""
    return Facts(
        dataset="demo",
        task=task,
        target="price" if task == "regression" else "colour",
        columns={
            "id": Column(),
            "size": Column(nullable=True),
            "colour": Column(kind="text"),
            "price": Column(),
        },
        features=("id", "size", "colour") if task == "regression" else ("id", "size"),
    )


@pytest.mark.parametrize(("name", "task"), PAIRS)
def test_every_model_takes_raw_rows_and_stores_safely(
    frame: pd.DataFrame, name: str, task: Task
) -> None:
    """Fitted, stored, loaded with the trusted types only; missing and unknown values answered."""
    known = facts(task)
    used = choose(
        name,
        task,
        {**DEFAULTS, **({"n_estimators": 5} if "n_estimators" in MODELS[name].parameters else {})},
    )
    rows = as_inputs(frame[list(known.features)], known)
    pipeline = build(name, known, used).fit(rows, frame[known.target])
    settled(pipeline.named_steps["prepare"])
    content = skops.io.dumps(pipeline)
    loaded = skops.io.loads(content, trusted=trusted_types(name))
    odd = rows.head(2).assign(size=np.nan)
    if "colour" in odd:
        odd = odd.assign(colour=["never seen", "red"])
    assert list(loaded.predict(odd)) == list(pipeline.predict(odd))
    assert list(loaded.predict(rows)) == list(pipeline.predict(rows))


@pytest.mark.parametrize("name", [name for name, task in PAIRS if task == "regression"])
def test_a_missing_text_is_the_same_in_a_file_and_in_a_request(
    frame: pd.DataFrame, name: str
) -> None:
    """NaN in the one, None in the other, and both are what the training rows had; or had not."""
    known, used = facts("regression"), choose(name, "regression", DEFAULTS)
    rows = as_inputs(frame, known).assign(id=0.0, size=0.0)
    gaps = rows.assign(colour=rows["colour"].mask(frame["id"] % 4 == 1))
    for colours in (gaps["colour"], rows["colour"], gaps["colour"].mask(gaps["colour"].notna())):
        seen = rows.assign(colour=colours)
        pipeline = build(name, known, used).fit(seen, colours.isna() * 100.0 + frame["id"])
        asked = rows.head(2).assign(colour=pd.Series(["red", None], dtype="object"))
        told = rows.head(2).assign(colour=pd.Series(["red", np.nan], dtype="str"))
        assert list(pipeline.predict(asked)) == list(pipeline.predict(told))
        for place in (0, 1):
            alone = pipeline.predict(asked.iloc[[place]])
            assert list(alone) == list(pipeline.predict(told.iloc[[place]]))


@pytest.mark.parametrize(
    ("name", "task", "given", "words"),
    [
        ("random_forrest", "regression", {}, "no model 'random_forrest' (did you mean 'random_fo"),
        ("elastic_net", "classification", {}, "'elastic_net' cannot do classification"),
        ("elastic_net", "classification", {}, "-P task=regression to download"),
        ("logistic_regression", "regression", {}, "-P task=classification to download"),
        ("random_forest", "regression", {"alpha": 0.5}, "does not use alpha"),
        ("random_forest", "regression", {"alpha": 0.5, "l1_ratio": 0.4}, "-P model=elastic_net do"),
        ("linear_regression", "regression", {"max_depth": 3, "C": 2.0}, "not use C, max_depth"),
        ("decision_tree", "regression", {"criterion": "gini"}, "'gini' does not fit regression"),
        ("random_forest", "regression", {"monotone": "size:1"}, "does not use monotone"),
        ("elastic_net", "regression", {"missing": "native"}, "'elastic_net' cannot take a missing"),
        (
            "decision_tree",
            "regression",
            {"missing": "native", "criterion": "absolute_error"},
            "criterion 'absolute_error' cannot take a missing",
        ),
    ],
)
def test_what_does_not_fit_is_refused(
    name: str, task: Task, given: dict[str, Any], words: str
) -> None:
    """Unknown models, tasks that do not fit, and parameters that would have no effect."""
    with pytest.raises(ParameterError, match=re.escape(words)):
        choose(name, task, {**DEFAULTS, **given})


def test_parameters_of_the_courses_reach_the_model() -> None:
    """The forest and the tree with the values that course notes name."""
    given = {"max_depth": 15, "n_estimators": 50, "min_samples_leaf": 4, "criterion": "poisson"}
    used = choose("random_forest", "regression", {**DEFAULTS, **given})
    forest = build("random_forest", facts("regression"), used).named_steps["model"]
    assert {name: getattr(forest, name) for name in given} == given
    assert (forest.random_state, forest.min_samples_split) == (42, 2)
    unlimited = choose("decision_tree", "regression", DEFAULTS)
    tree = build("decision_tree", facts("regression"), unlimited).named_steps["model"]
    assert (tree.max_depth, tree.min_samples_leaf, tree.criterion) == (None, 1, "squared_error")


@pytest.mark.parametrize("name", ["xgboost", "hist_gradient_boosting"])
def test_boosting_rises_where_it_must(frame: pd.DataFrame, name: str) -> None:
    """The price falls with the size in these rows, and the model may only rise."""
    known = facts("regression")
    rows = as_inputs(frame.assign(price=-frame["price"]), known)
    used = choose(name, "regression", {**DEFAULTS, "monotone": "size:+1", "min_samples_leaf": 0})
    pipeline = build(name, known, {**used, "n_estimators": 20}).fit(rows, -frame["price"])
    guesses = [float(pipeline.predict(rows.head(1).assign(size=size))[0]) for size in range(20)]
    assert guesses == sorted(guesses)


@pytest.mark.parametrize("text", ["sise:1", "size", "size:2", "colour:1"])
def test_a_wrong_direction_is_refused(text: str) -> None:
    """Unknown column, no direction, another number, a column of text."""
    used = choose("xgboost", "regression", {**DEFAULTS, "monotone": text})
    with pytest.raises(ParameterError, match=re.escape(f"monotone has '{text}'")):
        build("xgboost", facts("regression"), used)


@pytest.mark.parametrize(
    ("name", "missing"),
    [("xgboost", "native"), ("decision_tree", "median"), ("elastic_net", "median")],
)
def test_each_model_has_its_own_way_with_missing_numbers(name: str, missing: str) -> None:
    """As they are where the model can, else the median; and what is asked for, for every model."""
    assert choose(name, "regression", DEFAULTS)["missing"] == missing
    used = choose(name, "regression", {**DEFAULTS, "missing": "mean"})
    prepare = build(name, facts("regression"), used).named_steps["prepare"]
    assert prepare.transformers[0][1].named_steps["impute"].strategy == "mean"


def test_categories_are_native_to_boosting(frame: pd.DataFrame) -> None:
    """XGBoost splits by sets of categories; the classes keep their names, also three of them."""
    known = facts("regression")
    used = choose("xgboost", "regression", DEFAULTS)
    model = build("xgboost", known, used).fit(
        as_inputs(frame, known), frame["colour"].map({"red": 1.0, "blue": 9.0})
    )
    assert model.named_steps["model"].get_booster().feature_types == ["q", "q", "c"]
    known = facts("classification")
    three = frame["id"].mod(3).map({0: "low", 1: "mid", 2: "high"})
    used = choose("xgboost", "classification", DEFAULTS)
    voted = build("xgboost", known, used).fit(as_inputs(frame, known), three)
    assert list(voted.classes_) == ["high", "low", "mid"]
    assert set(voted.predict(as_inputs(frame, known))) <= {"high", "low", "mid"}


def test_only_a_model_of_xgboost_needs_it() -> None:
    """Serving the others installs nothing of it."""
    assert [name for name in MODELS if any("xgboost" in need for need in requirements(name))] == [
        "xgboost"
    ]


def test_regression_metrics_are_what_they_say() -> None:
    """The RMSE is the root, against numbers computed by hand."""
    values = metrics.regression(pd.Series([1.0, 2.0, 4.0]), pd.Series([2.0, 2.0, 2.0]))
    assert values["mse"] == pytest.approx(5 / 3)
    assert values["rmse"] == pytest.approx((5 / 3) ** 0.5)
    assert (values["mae"], values["max_error"]) == (1.0, 2.0)
    assert set(values) == set(metrics.REGRESSION)


def test_undefined_metrics_are_left_out() -> None:
    """A constant target has no r2, a zero in it no mape, one missing class no roc_auc."""
    values = metrics.regression(pd.Series([0.0, 0.0]), pd.Series([1.0, 2.0]))
    assert metrics.missing(values, metrics.REGRESSION) == ["r2", "mape"]
    shares = pd.DataFrame({"a": [0.9, 0.2, 0.1], "b": [0.1, 0.8, 0.1], "c": [0.0, 0.0, 0.8]})
    target = pd.Series(["a", "b", "b"])
    values = metrics.classification(target, pd.Series(["a", "b", "c"]), shares)
    assert metrics.missing(values, metrics.CLASSIFICATION) == ["roc_auc"]
    values = metrics.classification(target, target, None)
    assert metrics.missing(values, metrics.CLASSIFICATION) == ["log_loss", "roc_auc"]


def test_rows_of_one_class_have_no_area() -> None:
    """What they define is there, without a warning of a library."""
    shares = pd.DataFrame({"a": [0.9, 0.8, 0.7], "b": [0.1, 0.2, 0.3]})
    values = metrics.classification(pd.Series(["a"] * 3), pd.Series(["a"] * 3), shares)
    assert metrics.missing(values, metrics.CLASSIFICATION) == ["roc_auc"]


def test_a_class_that_the_model_does_not_know_costs_log_loss() -> None:
    """It counts with probability zero, as a large finite number."""
    shares = pd.DataFrame({"a": [0.9, 0.2], "b": [0.1, 0.8]})
    values = metrics.classification(pd.Series(["a", "z"]), pd.Series(["a", "b"]), shares)
    assert 10 < values["log_loss"] < 100


def test_predictions_that_are_not_finite_are_refused() -> None:
    """No metric is made of them."""
    with pytest.raises(DataError, match="1 predictions of 2 that are missing or infinite"):
        metrics.regression(pd.Series([1.0, 2.0]), pd.Series([np.nan, 1.0]))
