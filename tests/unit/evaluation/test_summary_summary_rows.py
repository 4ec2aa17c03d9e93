"""Predictions of all kinds find their summary; those that cannot be compared have an empty one."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.fixtures.examples import examples

from understudy.evaluation import load
from understudy.evaluation.summary import summary_of
from understudy.report import pictures

ROWS = 300
RANDOM = np.random.default_rng(3)


def frame(**columns: Any) -> pd.DataFrame:
    """Return predictions as a project's validation writes them."""
    return pd.DataFrame({"row_id": range(ROWS), **columns})


def test_numbers() -> None:
    """The errors are the challenger's and the champion's, row by row, in any order of a file."""
    target = RANDOM.normal(size=ROWS)
    ours, theirs = (frame(target=target, prediction=target + by) for by in (0.5, -1.0))
    made = summary_of(load(ours), load(theirs.sample(frac=1, random_state=1)))
    means = {who: model["mean"] for who, model in made["errors"]["models"].items()}
    assert means == pytest.approx({"challenger": 0.5, "champion": -1.0})
    assert made["nearer"] == {"challenger": ROWS, "equal": 0, "champion": 0}


def test_numbers_that_are_whole_are_still_numbers() -> None:
    """A target of grades is no class where predictions lie between the grades."""
    target = RANDOM.integers(3, 9, ROWS).astype(float)
    made = summary_of(load(frame(target=target, prediction=target + 0.25)), None)
    assert made["task"] == "regression"
    assert made["nearer"] is None


def test_classes_written_as_numbers() -> None:
    """Predictions that are nothing but targets are classes."""
    target = RANDOM.integers(0, 3, ROWS)
    made = summary_of(load(frame(target=target, prediction=np.roll(target, 1))), None)
    assert made["task"] == "classification"
    assert [one["name"] for one in made["classes"]] == sorted(
        "012", key=lambda name: -int((target == int(name)).sum())
    )


def test_classes_with_probabilities() -> None:
    """A class that one model does not know has probability zero there."""
    target = np.array(["a", "b", "c"] * (ROWS // 3))
    thirds = {f"probability_{name}": np.full(ROWS, 1 / 3) for name in "abc"}
    halves = {f"probability_{name}": np.full(ROWS, 1 / 2) for name in "ab"}
    ours = frame(target=target, prediction="a", **thirds)
    made = summary_of(load(ours), load(frame(target=target, prediction="a", **halves)))
    truth = {who: model["mean"] for who, model in made["truth"]["models"].items()}
    assert truth == pytest.approx({"challenger": 1 / 3, "champion": 1 / 3})
    assert made["truth"]["models"]["champion"]["counts"][0] == ROWS // 3
    assert made["outcomes"] == {"both": 100, "challenger": 0, "champion": 0, "neither": 200}


def test_rows_without_a_prediction_are_left_out_and_counted() -> None:
    """NaN of either model takes the row out of both."""
    target = RANDOM.normal(size=ROWS)
    ours, theirs = (frame(target=target, prediction=target.copy()) for _ in range(2))
    ours.loc[0, "prediction"], theirs.loc[1, "prediction"] = np.nan, np.inf
    made = summary_of(load(ours), load(theirs))
    assert (made["rows"], made["left_out"]) == (ROWS - 2, 2)


@examples(50)
@given(st.lists(st.tuples(st.floats(-1e200, 1e200), st.floats()), min_size=1, max_size=20))
@example([(0.0, 1e155)])
@example([(0.0, 1e155), (1.0, 1.5)])
@example([(0.0, 1.7e308), (1.0, -1.7e308)])
@example([(0.0, 5e-324), (0.0, 0.0)])
def test_predictions_of_any_size_have_a_page(rows: list[tuple[float, float]]) -> None:
    """What is too large to draw is left out and counted; the rest is drawn."""
    target, guess = (np.array(column) for column in zip(*rows, strict=True))
    columns = {"row_id": range(len(rows)), "target": target, "prediction": guess}
    ours = load(pd.DataFrame(columns))
    made = json.loads(json.dumps(summary_of(ours, None), allow_nan=False))
    shown = sum(abs(t) < 1e140 and abs(g) < 1e140 for t, g in rows)
    assert made["rows"] - (0 if shown else made["rows"]) == shown
    assert all(pictures.drawn(made)) or not shown


def test_no_probability_is_left_out_and_counted() -> None:
    """Below zero, above one, or no number: such a row has no place in a histogram of shares."""
    target = np.array(["a", "b"] * (ROWS // 2))
    shares = np.full(ROWS, 0.5)
    shares[:4] = -0.2, 1.2, 1e300, np.nan
    made = summary_of(load(frame(target=target, probability_a=shares, probability_b=shares)), None)
    assert (made["rows"], made["left_out"]) == (ROWS - 4, 4)


def test_models_on_different_rows_have_no_pictures() -> None:
    """What cannot be compared is not drawn beside each other."""
    target = RANDOM.normal(size=ROWS)
    ours = frame(target=target, prediction=target)
    made = summary_of(load(ours), load(ours.iloc[1:]))
    assert made == {"schema": "understudy/summary/1", "rows": ROWS}
