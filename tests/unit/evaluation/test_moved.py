"""How far predictions have moved since they were judged."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from understudy.errors import DecisionError
from understudy.evaluation import load, moved
from understudy.gate.evidence import Moved

pytestmark = pytest.mark.unit
Made = Callable[..., pd.DataFrame]
LABELS = ["row_id", "target", "prediction"]


def test_numbers_move_by_the_root_of_the_mean_square(regression: Made) -> None:
    """In any order of the rows, as a share of the judged model's own error."""
    judged = regression(500, error=2.0)
    shifted = judged.assign(prediction=judged["prediction"] + 0.5).sample(frac=1, random_state=1)
    found = moved(load(shifted), load(judged))
    error = float(np.sqrt(np.square(judged["target"] - judged["prediction"]).mean()))
    assert (found.rows, found.distance, found.error) == (
        500,
        pytest.approx(0.5),
        pytest.approx(error),
    )
    assert found.share == pytest.approx(0.5 / error)


@pytest.mark.parametrize("kind", ["numbers", "probabilities", "labels"])
def test_the_same_is_0_and_to_know_the_holdout_by_heart_is_1(
    regression: Made, classification: Made, kind: str
) -> None:
    """So one bound means the same for all kinds of predictions."""
    judged = regression(300) if kind == "numbers" else classification(300, classes="abc")
    if kind == "labels":
        judged = judged[LABELS]
    known = judged.assign(prediction=judged["target"])
    for name in judged:
        if str(name).startswith("probability_"):
            known[name] = (judged["target"] == str(name)[-1]).astype("float64")
    assert moved(load(judged), load(judged)).share == 0
    assert moved(load(known), load(judged)).share == pytest.approx(1)
    worse = judged.assign(prediction=judged["prediction"].iloc[::-1].to_numpy())
    if kind != "probabilities":
        assert moved(load(worse), load(judged)).share > 0.3


def test_rows_weigh_what_they_weigh(regression: Made) -> None:
    """A row without a weight may move as far as it likes."""
    judged = regression(100, weight=np.r_[np.zeros(50), np.ones(50)])
    again = judged.assign(prediction=judged["prediction"] + np.r_[np.full(50, 9.0), np.zeros(50)])
    assert moved(load(again), load(judged)).share == 0


def test_where_nothing_was_wrong_nothing_may_move() -> None:
    """A share of no error is none; what is no number is within no bound."""
    assert Moved(10, 0.0, 0.0).share == 0
    assert Moved(10, 0.1, 0.0).share == math.inf
    assert not Moved(10, math.nan, 1.0).share <= 1


def test_predictions_that_are_no_numbers_are_within_no_bound(regression: Made) -> None:
    """As of a model that was broken by the rows that it had not seen before."""
    judged = regression(50)
    broken = judged.assign(prediction=np.r_[np.nan, judged["prediction"].to_numpy()[1:]])
    found = moved(load(broken), load(judged))
    assert math.isnan(found.share)
    assert not found.share <= math.inf


def test_other_rows_are_refused(regression: Made) -> None:
    """They would say nothing."""
    with pytest.raises(DecisionError, match="scored on different rows"):
        moved(load(regression(50).iloc[1:]), load(regression(50)))
