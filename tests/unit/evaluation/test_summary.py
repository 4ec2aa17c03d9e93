"""The summary is small, exact where it is a count, and the same for any order of the rows."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import precision_score, recall_score
from tests.fixtures.examples import examples

from understudy.evaluation.summary import ClassPredictions, Guess, NumberPredictions, summarise

numbers = st.floats(-1e6, 1e6)


def shuffled(holdout: NumberPredictions | ClassPredictions) -> NumberPredictions | ClassPredictions:
    """Return the same rows in another order."""
    order = np.random.default_rng(1).permutation(len(holdout.target))
    if isinstance(holdout, NumberPredictions):
        said = {who: values[order] for who, values in holdout.predictions.items()}
        return NumberPredictions(holdout.target[order], said)
    guesses = {
        who: Guess(guess.codes[order], tuple(one[order] for one in guess.probabilities or ()))
        for who, guess in holdout.guesses.items()
    }
    return ClassPredictions(holdout.names, holdout.target[order], guesses)


def rounded(value: Any) -> Any:  # noqa: ANN401 -- any JSON value
    """Return JSON values with numbers to nine digits, as sums depend on their order beyond."""
    if isinstance(value, dict):
        return {name: rounded(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [rounded(inner) for inner in value]
    return float(f"{value:.9g}") if isinstance(value, float) else value


@pytest.mark.parametrize("classes", [0, 2, 7])
def test_the_order_of_rows_does_not_matter(
    predicted_numbers: Callable[[float], NumberPredictions],
    predicted_classes: Callable[[int], ClassPredictions],
    classes: int,
) -> None:
    """A summary is a property of the rows, not of a file; of numbers, and of classes."""
    holdout = predicted_classes(classes) if classes else predicted_numbers(0.5)
    assert rounded(summarise(shuffled(holdout))) == rounded(summarise(holdout))


@examples(50)
@given(st.lists(st.tuples(numbers, numbers, numbers), min_size=1, max_size=40))
def test_of_any_numbers(rows: list[tuple[float, float, float]]) -> None:
    """Every row is counted once in each count, constant and single rows too; all is JSON."""
    target, ours, theirs = map(np.array, zip(*rows, strict=True))
    made = summarise(NumberPredictions(target, {"challenger": ours, "champion": theirs}))
    json.dumps(made, allow_nan=False)
    for who, said in (("challenger", ours), ("champion", theirs)):
        errors = made["errors"]["models"][who]
        assert sum(errors["counts"]) + errors["below"] + errors["above"] == len(rows)
        assert sum(part["rows"] for part in made["residuals"][who]) == len(rows)
        assert errors["mean_absolute"] == pytest.approx(np.abs(said - target).mean())
        assert errors["quantiles"]["1.0"] == pytest.approx(np.abs(said - target).max())
    assert sum(made["nearer"].values()) == len(rows)


@examples(25)  # scikit-learn checks its input at length
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(-1, 2)), min_size=1, max_size=40))
def test_of_any_classes(rows: list[tuple[int, int]]) -> None:
    """Recall and precision are scikit-learn's; where they are undefined they are null."""
    target, said = (np.array(column) for column in zip(*rows, strict=True))
    made = summarise(ClassPredictions(("a", "b", "c"), target, {"challenger": Guess(said)}))
    json.dumps(made, allow_nan=False)
    assert sum(one["rows"] for one in made["classes"]) == len(rows)
    assert made["outcomes"] is None
    assert not made["truth"]["models"]
    for one in made["classes"]:
        truth, named = target == "abc".index(one["name"]), said == "abc".index(one["name"])
        found = one["models"]["challenger"]
        assert found["recall"] == (recall_score(truth, named) if truth.any() else None)
        assert found["precision"] == (precision_score(truth, named) if named.any() else None)


def test_calibration_of_two_classes_looks_at_the_second() -> None:
    """What is said of it with 0.8 came true three times in four; the error is the mean gap."""
    said = np.array([0.8, 0.8, 0.8, 0.8])
    target = np.array([1, 1, 1, 0])
    guess = Guess(np.ones(4, dtype=np.intp), (1 - said, said))
    made = summarise(ClassPredictions(("no", "yes"), target, {"challenger": guess}))["calibration"]
    assert made["of"] == "yes"
    (part,) = made["models"]["challenger"]["bins"]
    assert part == {"rows": 4, "said": pytest.approx(0.8), "seen": 0.75}
    assert made["models"]["challenger"]["error"] == pytest.approx(0.05)


def test_calibration_of_more_looks_at_the_likeliest(
    predicted_classes: Callable[[int], ClassPredictions],
) -> None:
    """The model of the tests that is too sure of itself is found out."""
    made = summarise(predicted_classes(7))
    assert made["calibration"]["of"] is None
    errors = {who: model["error"] for who, model in made["calibration"]["models"].items()}
    assert errors["champion"] > 3 * errors["challenger"]
    assert sum(made["outcomes"].values()) == made["rows"]


def test_a_holdout_without_rows_has_no_summary() -> None:
    """There is nothing to draw, and nothing fails."""
    assert summarise(NumberPredictions(np.array([]), {})) == {
        "schema": "understudy/summary/1",
        "rows": 0,
    }


def test_a_summary_is_small(predicted_classes: Callable[[int], ClassPredictions]) -> None:
    """It is stored every night: some kilobytes, however many the rows and classes are."""
    assert len(json.dumps(summarise(predicted_classes(7)))) < 10_000
    assert len(summarise(predicted_classes(30))["classes"]) == 12
