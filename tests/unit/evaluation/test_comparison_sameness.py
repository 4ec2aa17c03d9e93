"""A model that says the same of every row is found, and one that does not is left alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from understudy.evaluation import compare, load
from understudy.gate import Gate, Guards, Metric, Score, Verdict, judge

ROWS = 200
Rows = Callable[..., pd.DataFrame]


def found(frame: pd.DataFrame, metric: str = "rmse", level: str = "block") -> tuple[str, str]:
    """Return how the guard came out, and its reason; empty where it says nothing."""
    gate = Gate(Metric(metric), guards=Guards(constant=level), worst_slices=False)
    findings = [one for one in compare(gate, load(frame), None).findings if one.guard == "constant"]
    return (findings[0].result, findings[0].reason) if findings else ("", "")


@pytest.mark.parametrize(
    ("said", "result"),
    [
        (3.5, "failed"),
        (1e-9, "failed"),
        (0.0, "failed"),
        (1.7e308, "failed"),
        (np.where(np.arange(ROWS) % 2, 3.5, 3.5 * (1 + 1e-12)), "failed"),
        (np.where(np.arange(ROWS) % 2, 3.5, 3.5 * (1 + 1e-6)), "passed"),
        (np.where(np.arange(ROWS) % 2, -1.7e308, 1.7e308), "passed"),
        (np.arange(ROWS) * 1e-300, "passed"),
        (np.nan, ""),
        (np.inf, ""),
    ],
)
def test_numbers(regression: Rows, said: float, result: str) -> None:
    """One of any size, but for rounding; what is no number is another rule's."""
    assert found(regression(ROWS).assign(prediction=said))[0] == result


def test_numbers_far_from_zero(regression: Rows) -> None:
    """They are alike to nine digits, and told apart by what their targets differ in."""
    frame = regression(ROWS)
    far = frame.assign(target=1e12 + frame["target"], prediction=1e12 + frame["prediction"])
    assert found(far)[0] == "passed"
    assert found(far.assign(prediction=1e12))[0] == "failed"


def test_a_constant_target_is_rightly_said_to_be_one(regression: Rows) -> None:
    """There was nothing else to learn."""
    result, reason = found(regression(ROWS).assign(target=2.0, prediction=2.0))
    assert (result, reason.endswith("as are their targets")) == ("passed", True)


def test_classes(classification: Rows) -> None:
    """One class for all is rightly said where the other is rare; one probability tells nothing."""
    frame = classification(ROWS)
    assert found(frame.assign(prediction="a"), "accuracy")[0] == "passed"
    shares = frame.assign(probability_a=0.25, probability_b=0.75)
    assert "the same probabilities for all 200 rows" in found(shares, "accuracy")[1]
    bare = frame[["row_id", "target"]].assign(prediction="a")
    assert found(bare, "accuracy") == (
        "failed",
        "the challenger predicts one value, 'a', for all 200 rows",
    )


@pytest.mark.parametrize(
    ("level", "verdict"),
    [
        ("off", Verdict.PROMOTE),
        ("warn", Verdict.PROMOTE),
        ("block", Verdict.HOLD),
        ("reject", Verdict.REJECT),
    ],
)
def test_it_decides_as_it_is_declared(regression: Rows, level: str, verdict: Verdict) -> None:
    """By default a person is asked, also for a first model, which no rule compares."""
    frame = regression(ROWS).assign(prediction=3.5)
    gate = Gate(Metric("rmse"), guards=Guards(constant=level))
    evidence = compare(gate, load(frame), None)
    assert judge(gate, Score("1", {}), None, evidence=evidence).verdict is verdict
    assert Guards().constant == "block"
    assert compare(Gate(Metric("rmse")), load(frame), None).findings == ()
