"""Values are scikit-learn's, and what is resampled is the same function of the rows."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics

from understudy.errors import DecisionError
from understudy.evaluation import known, load
from understudy.evaluation.catalogue import find
from understudy.evaluation.metrics import Definition, Input, measured
from understudy.evaluation.pairing import Rows, paired
from understudy.spec.metrics import HIGHER_IS_BETTER, LOWER_IS_BETTER

KINDS = ("regression", "two", "three", "numbers as classes", "only probabilities")


@pytest.fixture(scope="module")
def frames(
    regression: Callable[..., pd.DataFrame], classification: Callable[..., pd.DataFrame]
) -> dict[str, pd.DataFrame]:
    """Return predictions of each of ``KINDS``; some of the weights are zero."""
    weight = np.random.default_rng(7).integers(0, 4, 60) / 2 + (np.arange(60) < 2)
    made = (
        regression(60, weight=weight),
        classification(60, weight=weight),
        classification(60, classes="abc"),
        classification(60, classes="123").astype({"target": float, "prediction": int}),
        classification(60).drop(columns="prediction"),
    )
    return dict(zip(KINDS, made, strict=True))


def rows_of(frame: pd.DataFrame) -> Rows:
    """Return the rows of a frame."""
    return paired(load(frame), None).challenger


def defined(name: str) -> Definition:
    """Return a metric that is known."""
    found = find(name)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def defined_on() -> dict[str, list[str]]:
    """Return which metrics were compared on which rows, to be filled in."""
    return {}


@pytest.mark.parametrize("kind", KINDS)
def test_means_give_the_value_that_scikit_learn_gives(
    frames: dict[str, pd.DataFrame], kind: str, defined_on: dict[str, list[str]]
) -> None:
    """Or scikit-learn's value is not defined on such rows."""
    rows = rows_of(frames[kind])
    for name in sorted(known()):
        made = defined(name).means
        value, why = measured(defined(name), rows)
        assert (value is None) <= bool(why), name
        if value is not None and math.isfinite(value):
            defined_on.setdefault(name, []).append(kind)
            if made is not None:
                found = np.array([np.average(c, weights=rows.weight) for c in made.per_row(rows)])
                assert float(made.value(found)) == pytest.approx(value, rel=1e-9), name


def test_every_metric_was_compared(defined_on: dict[str, list[str]]) -> None:
    """The test above compares something for each of them."""
    assert set(defined_on) == known()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("rmse", lambda f: metrics.root_mean_squared_error(f["target"], f["prediction"])),
        ("median_absolute_error", lambda f: np.median(abs(f["target"] - f["prediction"]))),
        ("max_error", lambda f: abs(f["target"] - f["prediction"]).max()),
    ],
)
def test_numbers(
    regression: Callable[..., pd.DataFrame], name: str, expected: Callable[[pd.DataFrame], float]
) -> None:
    """The file's columns go where they belong."""
    frame = regression(31)
    assert measured(defined(name), rows_of(frame)) == (pytest.approx(expected(frame)), "")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("f1", lambda f: metrics.f1_score(f["target"], f["prediction"], pos_label="b")),
        ("roc_auc", lambda f: metrics.roc_auc_score(f["target"] == "b", f["probability_b"])),
        (
            "log_loss",
            lambda f: metrics.log_loss(f["target"], f[["probability_a", "probability_b"]]),
        ),
        (
            "brier_score_loss",
            lambda f: metrics.brier_score_loss(f["target"] == "b", f["probability_b"]),
        ),
        (
            "average_precision",
            lambda f: metrics.average_precision_score(f["target"] == "b", f["probability_b"]),
        ),
        ("mcc", lambda f: metrics.matthews_corrcoef(f["target"], f["prediction"])),
    ],
)
def test_classes(
    classification: Callable[..., pd.DataFrame],
    name: str,
    expected: Callable[[pd.DataFrame], float],
) -> None:
    """The positive class is the second by name."""
    frame = classification(31)
    assert measured(defined(name), rows_of(frame)) == (pytest.approx(expected(frame)), "")


def test_directions_are_those_that_the_rules_know() -> None:
    """Whoever writes a rule for a metric that is computed here need not say which way is better."""
    assert known() - (LOWER_IS_BETTER | HIGHER_IS_BETTER) == {
        "jaccard_macro",
        "jaccard_weighted",
    }


@pytest.mark.parametrize(
    ("name", "change", "reason"),
    [
        ("r2", {"target": 1.0}, "not defined on these rows: the target is the same in all"),
        ("rmse", {"target": "a"}, "the target is no number"),
        ("log_loss", {}, "there are no probabilities"),
        (
            "f1",
            {"target": list("abc") * 366 + ["a", "b"]},
            "it is for two classes and there are 3: ",
        ),
        ("msle", {"target": -2.0}, "not defined on these rows: a target is not above -1"),
        ("mean_gamma_deviance", {"target": 0.0}, "not defined on these rows: a target is not"),
        ("accuracy", {}, "the target has too many different values to be classes"),
    ],
)
def test_what_rows_do_not_define(
    regression: Callable[..., pd.DataFrame], name: str, change: dict[str, Any], reason: str
) -> None:
    """It is nobody's fault: no value, and the reason."""
    rows = rows_of(regression(1100).assign(**change))
    value, why = measured(defined(name), rows)
    assert value is None
    assert why.startswith(reason)


@pytest.mark.parametrize(
    ("name", "change", "reason"),
    [
        ("mae", {"prediction": [np.nan, 1, 2]}, "1 of 3 predictions are no finite numbers"),
        ("mae", {"prediction": [np.inf, 1, np.nan]}, "2 of 3 predictions are no finite numbers"),
        ("mae", {"prediction": ["a", "b", "c"]}, "3 of 3 predictions are no finite numbers"),
        ("msle", {"prediction": -5.0}, "cannot be used"),
        ("mse", {"prediction": 1e200}, "it is not finite"),
        ("accuracy", {"target": ["a", "b", "a"], "prediction": [None, "a", "b"]}, "1 of 3"),
    ],
)
def test_what_a_model_has_got_wrong(
    regression: Callable[..., pd.DataFrame], name: str, change: dict[str, Any], reason: str
) -> None:
    """The value is not a number, and the reason says how often."""
    value, why = measured(defined(name), rows_of(regression(3).assign(**change)))
    assert value is not None
    assert not math.isfinite(value)
    assert reason in why


@pytest.mark.parametrize(
    ("shares", "reason"),
    [
        ([0.5, 0.2], "1 of 4 rows have probabilities not summing to one"),
        ([1.5, -0.5], "1 of 4 rows have probabilities outside [0, 1]"),
        ([np.nan, 0.5], "1 of 4 rows have probabilities that are no finite numbers"),
    ],
)
def test_probabilities_that_are_none(
    classification: Callable[..., pd.DataFrame], shares: list[float], reason: str
) -> None:
    """A metric of labels does not mind them; one of probabilities has no value."""
    frame = classification(4)
    frame.loc[2, ["probability_a", "probability_b"]] = shares
    value, why = measured(defined("log_loss"), rows_of(frame))
    assert value is not None
    assert math.isnan(value)
    assert why == reason
    assert math.isfinite(measured(defined("accuracy"), rows_of(frame))[0] or math.nan)


def test_rounded_probabilities_are_good_enough(classification: Callable[..., pd.DataFrame]) -> None:
    """What a network writes as 32-bit floats is no mistake."""
    frame = classification(500, classes="abcdefgh")
    narrow = frame.astype({name: "float32" for name in frame if name.startswith("probability_")})
    value, why = measured(defined("log_loss"), rows_of(narrow))
    assert why == ""
    assert value == pytest.approx(measured(defined("log_loss"), rows_of(frame))[0], rel=1e-5)


def test_a_class_that_the_model_does_not_know_has_no_probability(
    classification: Callable[..., pd.DataFrame],
) -> None:
    """The loss is large and finite."""
    frame = classification(30, classes="abc")
    without = frame.drop(columns="probability_c")
    without[["probability_a", "probability_b"]] = 0.5
    value, _ = measured(defined("log_loss"), rows_of(without))
    assert value is not None
    assert 5 < value < 40


def cost(frame: pd.DataFrame) -> float:
    """Return a metric of somebody's own, which reads a column of its own."""
    return float((abs(frame["target"] - frame["prediction"]) * frame["price"]).mean())


def one_hundredth(frame: pd.DataFrame) -> float:
    """Return a metric that fails on some rows."""
    return 1 / (len(frame) - 100)


NOT_A_FUNCTION = 1


def test_a_function_of_ones_own(regression: Callable[..., pd.DataFrame]) -> None:
    """It gets the columns of the file."""
    frame = regression(20, price=2.0)
    definition = find("cost", f"{__name__}:cost")
    assert definition is not None
    assert definition.reads is Input.FRAME
    expected = 2 * float(metrics.mean_absolute_error(frame["target"], frame["prediction"]))
    assert measured(definition, rows_of(frame)) == (pytest.approx(expected), "")


def test_a_function_that_fails(regression: Callable[..., pd.DataFrame]) -> None:
    """What it raised is the reason why there is no value."""
    definition = find("h", f"{__name__}:one_hundredth")
    assert definition is not None
    value, why = measured(definition, rows_of(regression(100)))
    assert value is None
    assert why.endswith(":one_hundredth raised ZeroDivisionError: division by zero")


def own_area(frame: pd.DataFrame) -> float:
    """Return an area under the ROC curve as somebody would write it."""
    return float(metrics.roc_auc_score(frame["target"] == "b", frame["probability_b"]))


def test_an_area_of_ones_own_on_one_class(classification: Callable[..., pd.DataFrame]) -> None:
    """What scikit-learn warns of is the reason: the rows define none, the model is not to blame."""
    definition = find("own", f"{__name__}:own_area")
    assert definition is not None
    value, why = measured(definition, rows_of(classification(40).assign(target="a")))
    assert value is None
    assert why.startswith("not defined on these rows: Only one class is present")


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("no_such_module_here:f", "cannot be imported: No module named 'no_such_module_here'"),
        ("math:no_such_name", "cannot be imported: .*no_such_name"),
        (f"{__name__}:NOT_A_FUNCTION", "is a int"),
    ],
)
def test_a_function_that_is_not_there(place: str, message: str) -> None:
    """The message says what could not be imported."""
    with pytest.raises(DecisionError, match=f"{message}.*Allowed: .*Next: "):
        find("own", place)
