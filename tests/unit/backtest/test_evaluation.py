"""What the nights' files say: who serves which rows, what it costs, what rules would have done."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from understudy.backtest import evaluation
from understudy.backtest.cost import Cost
from understudy.backtest.evaluation import LATE_NIGHTS, walk
from understudy.backtest.history import ReplayedNights
from understudy.backtest.place import PREDICTIONS, ROWS
from understudy.errors import DecisionError
from understudy.gate import Gate, Learned, Metric
from understudy.gate.learning import BURN_IN

pytestmark = pytest.mark.unit
Replay = Callable[..., Any]

RMSE = Metric("rmse")
PER_DAY, WINDOW = 24, 3
"""Rows of a day, and days of a holdout."""


def test_each_row_is_served_once_by_the_night_before_it(replayed: Replay) -> None:
    """And no night is judged on rows that it has not seen arrive."""
    history = replayed(1.0, 1.0, 1.0).history()
    served = [night.served for night in history.nights]
    assert [len(one) for one in served] == [PER_DAY] * 3
    assert len(np.unique(np.concatenate(served))) == 3 * PER_DAY
    for night in history.nights:
        assert len(night.holdout) == WINDOW * PER_DAY
        assert not np.intersect1d(night.holdout, night.served).size, "judged on rows of the future"


def test_the_costs_are_those_of_the_rows_that_were_served(replayed: Replay) -> None:
    """Squared errors, summed."""
    history = replayed(1.0, 2.0).history()
    table = evaluation.tabled(history, Cost.of(RMSE))
    assert table.costs[:, 0] == pytest.approx(PER_DAY, rel=0.02)
    assert table.costs[1, 1] == pytest.approx(4 * PER_DAY, rel=0.02)
    assert np.isnan(table.costs[0, 1]), "a model cannot serve before it is trained"


def test_the_references(replayed: Replay) -> None:
    """By hand: the second model is the best one from its first night on."""
    found = evaluation.by_references(replayed(3.0, 1.0, 5.0, 2.0).history(), Cost.of(RMSE))
    paths = {name: one["serving"] for name, one in found["paths"].items()}
    assert paths == {
        "frozen": [0, 0, 0, 0],
        "always": [0, 1, 2, 3],
        "point": [0, 1, 1, 1],
        "hindsight": [0, 1, 1, 1],
    }
    served = found["paths"]["frozen"]["served"]
    assert served == pytest.approx(3.0, rel=0.02), "a root mean square, not a sum"
    assert found["paths"]["always"]["served"] == pytest.approx(np.sqrt(39 / 4), rel=0.02)


def test_rules_promote_what_is_better_and_reject_what_is_worse(replayed: Replay) -> None:
    """As the gate does at night."""
    judged = walk(replayed(3.0, 1.0, 5.0, 2.0).history(), Gate(RMSE))
    assert [one.verdict for one in judged] == ["PROMOTE", "PROMOTE", "REJECT", "REJECT"]
    assert [one.serving for one in judged] == [0, 1, 1, 1]


def test_a_night_that_failed_leaves_what_serves(replayed: Replay) -> None:
    """Its rows are served all the same."""
    history = replayed(3.0, None, 1.0).history()
    assert [one.verdict for one in walk(history, Gate(RMSE))] == ["PROMOTE", "", "PROMOTE"]
    found = evaluation.by_references(history, Cost.of(RMSE))
    assert found["paths"]["always"]["serving"] == [0, 0, 2]
    assert found["has_model"] == [True, False, True]


def test_nothing_is_counted_before_there_is_a_model(replayed: Replay) -> None:
    """Nobody could have served."""
    history = replayed(None, 3.0, 1.0).history()
    assert [night.as_of for night in history.nights] == ["2012-01-05", "2012-01-06"]


def test_the_first_model_serves_until_one_is_good_enough(replayed: Replay) -> None:
    """Somebody has to."""
    judged = walk(replayed(3.0, 2.5, 1.0).history(), Gate(Metric("rmse", at_most=2.0)))
    assert [one.verdict for one in judged] == ["REJECT", "REJECT", "PROMOTE"]
    assert [one.serving for one in judged] == [0, 0, 2]


def test_a_model_without_valid_predictions_never_looks_good(replayed: Replay) -> None:
    """Nor does it become a number in JSON."""
    found = evaluation.by_references(replayed(1.0, float("nan")).history(), Cost.of(RMSE))
    assert found["paths"]["hindsight"]["serving"] == [0, 0]
    assert found["paths"]["always"]["served"] is None
    assert json.dumps(found, allow_nan=False)


def test_weights_count(replayed: Replay) -> None:
    """A row that weighs three counts as three."""
    days = WINDOW + 2
    weight = np.repeat([1.0] * WINDOW + [1.0, 3.0], PER_DAY)
    replay = replayed(1.0, 3.0, weight=weight)
    assert len(weight) == days * PER_DAY
    found = evaluation.by_references(replay.history(), Cost.of(Metric("mae")))
    assert found["paths"]["always"]["served"] == pytest.approx((1 * 1 + 3 * 3) / 4, rel=0.02)


def test_a_metric_without_a_loss_per_row_is_averaged_over_nights(replayed: Replay) -> None:
    """And the answer says so."""
    cost = Cost.of(Metric("max_error"))
    assert not cost.is_summed
    found = evaluation.by_references(replayed(1.0, 3.0).history(), cost)
    assert found["paths"]["always"]["served"] == pytest.approx(2.0, rel=0.1)
    assert "mean over the nights" in found["how"]


def test_where_more_is_better_hindsight_has_the_most(replayed: Replay) -> None:
    """The target is all zeros: a model that says so is right in every row."""
    replay = replayed(1.0, 0.0, 1.0)
    for folder in (replay.folder / "nights").iterdir():
        frame = pd.read_parquet(folder / PREDICTIONS)
        names = frame.prediction.abs().lt(0.5).map({True: "no", False: "yes"})
        frame.assign(target="no", prediction=names).to_parquet(folder / PREDICTIONS)
    found = evaluation.by_references(replay.history(), Cost.of(Metric("accuracy")))
    assert found["paths"]["hindsight"]["serving"] == [0, 1, 1]
    assert found["paths"]["hindsight"]["served"] == pytest.approx(2 / 3)


def test_a_metric_that_predictions_do_not_give_is_refused() -> None:
    """It could only be made up."""
    with pytest.raises(DecisionError, match="'model_bytes' cannot be computed"):
        Cost.of(Metric("model_bytes", lower_is_better=True))


def test_rows_that_nobody_scored_are_refused(replayed: Replay) -> None:
    """What served them cannot be known."""
    replay = replayed(1.0, 1.0)
    target = replay.place.rows(replay.plan.rows(replay.plan.end)) / ROWS
    replay.rows(90, 92).to_parquet(target)
    with pytest.raises(DecisionError, match=f"{2 * PER_DAY} of {2 * PER_DAY} rows"):
        replay.history()


def test_no_model_at_all_is_said(replayed: Replay) -> None:
    """With where to read why."""
    with pytest.raises(DecisionError, match="Not one night has a model"):
        replayed(None, None).history()


def test_a_question_is_answered_in_a_file(replayed: Replay) -> None:
    """As the process of its own does it."""
    replay = replayed(3.0, 1.0)
    asked = {
        "folder": str(replay.folder),
        "plan": json.loads(replay.plan.to_json()),
        "metric": RMSE.to_dict(),
        "rules": Gate(RMSE).to_dict(),
    }
    question, answer = replay.folder / "q.json", replay.folder / "a.json"
    question.write_text(json.dumps(asked))
    assert evaluation.main([str(question), str(answer)]) == 0
    found = json.loads(answer.read_text())
    assert found["serving"] == [0, 1]
    assert found["verdicts"] == ["PROMOTE", "PROMOTE"]


def test_a_walk_serves_what_a_history_knows(replayed: Replay) -> None:
    """Both ways to add up agree."""
    history = replayed(3.0, 1.0, 5.0).history()
    assert isinstance(history, ReplayedNights)
    found = evaluation.under_rules(history, Cost.of(RMSE), Gate(RMSE).to_dict())
    table = evaluation.tabled(history, Cost.of(RMSE))
    assert found["served"] == pytest.approx(
        np.sqrt(table.along(tuple(found["serving"])).sum() / (3 * PER_DAY))
    )


def test_a_tolerance_is_learned_from_what_was_known_by_then(replayed: Replay) -> None:
    """Nights to come change no verdict; the rules are the person's until enough is known."""
    # Each model is a little better than the one before, which a holdout of 72 rows cannot show.
    history = replayed(*(0.99**night for night in range(36)), spread=1.0).history()
    assert isinstance(history, ReplayedNights)
    gate = Gate(RMSE, learn=Learned())
    whole = walk(history, gate)
    first = 1 + LATE_NIGHTS + BURN_IN
    assert all("the stated tolerance 0.03 judges" in one.reason for one in whole[:first])
    assert all("(0.03 is stated), drawn by" in one.reason for one in whole[first:])
    for last in (20, first + 1, first + 4):
        assert walk(ReplayedNights(history.nights[:last]), gate) == whole[:last]
