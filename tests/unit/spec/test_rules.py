"""Rules are checked in full where they are written; messages name the field and the cure."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import pytest

from understudy.errors import DeclarationError
from understudy.gate import Budgets, Direction, Gate, Learned, Limit, Metric, Slice
from understudy.spec.metrics import DEFAULT_CONFIDENCE
from understudy.spec.rules import DEFAULT_TOLERANCE


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Metric("rmse", at_last=1),
            r"unknown field 'at_last' \(did you mean 'at_least'\?\)",
        ),
        (Metric, "'name' is missing"),
        (lambda: Metric(""), "'name' is ''"),
        (lambda: Metric("rmse", min_gain=-0.1), "'min_gain' is -0.1: .*greater than or equal to 0"),
        (lambda: Metric("rmse", min_gain="0.1"), "'min_gain' is '0.1': .*valid number"),
        (lambda: Metric("rmse", at_least=math.nan), "'at_least' is nan: .*finite"),
        (lambda: Metric("rmse", at_most=math.inf), "'at_most' is inf: .*finite"),
        (lambda: Metric("rmse", confidence=95), "'confidence' is 95"),
        (lambda: Metric("rmse", at_least=2, at_most=1), "at_least=2.0, at_most=1.0"),
        (
            lambda: Metric("logloss"),
            r"test_rules.py, line \d+: .*did you mean 'log_loss'.*Next: correct the name",
        ),
        (lambda: Metric("profit"), "does not say which way is better.*lower_is_better"),
        (Gate, "'primary' is missing"),
        (lambda: Gate("rmse"), "'primary' is 'rmse'"),
        (lambda: Gate(Metric("rmse"), ["r2"]), r"'guardrails\[0\]' is 'r2'"),
        (lambda: Gate(Metric("rmse"), [Metric("r2")]), "guardrails 'r2' have no bound"),
        (
            lambda: Metric("rmse", relative=True),
            "relative=True without min_gain, max_loss or tolerance",
        ),
        (lambda: Metric("rmse", function="x:y"), "does not say which way is better"),
        (
            lambda: Metric("profit", function="profit", lower_is_better=False),
            "function is 'profit'.*'module:function'",
        ),
        (
            lambda: Gate(Metric("rmse", max_loss=1), [Metric("rmse", max_loss=2)]),
            "'rmse max_loss' stated more than once",
        ),
        (lambda: Gate(Metric("rmse"), slices=["a", Slice("a")]), "'a' more than once"),
        (
            lambda: Gate(Metric("rmse"), slices=[3]),
            r"slices\[0\].* is 3: input should be",
        ),
        (lambda: Slice("age", quantiles=1), "'quantiles' is 1: .*greater than or equal to 2"),
        (lambda: Slice("age", min_row=9), r"unknown field 'min_row' \(did you mean 'min_rows'\?\)"),
        (lambda: Gate(Metric("rmse"), cluster="a", time_block="1D"), "one of the two"),
        (lambda: Gate(Metric("rmse"), time_block="day"), "time_block is 'day'.*'1D'"),
        (lambda: Gate(Metric("rmse"), shadow_nights=-1), "'shadow_nights' is -1"),
        (
            lambda: Gate(Metric("rmse"), unscored_champion="holt"),
            r"'holt' \(did you mean 'hold'\?\)",
        ),
        (
            lambda: Gate(Metric("rmse"), unscored_champion="promote"),
            "without an absolute rule would let anything pass",
        ),
        (lambda: Gate(Metric("rmse"), budgets=Limit("1MB")), "'budgets' is Limit"),
        (
            lambda: Gate(
                Metric("rmse"), budgets=Budgets(size=Limit(), memory=Limit(), latency_p95=Limit())
            ),
            "budgets limits nothing",
        ),
        (lambda: Learned(0.2), "least=0.2, most=0.1"),
        (lambda: Learned(least=-0.1), "'least' is -0.1"),
        (lambda: Gate(Metric("rmse"), learn=Learned(least=0.05)), "the tolerance 0.03 is not"),
        (
            lambda: Gate(Metric("rmse", min_gain=0.0), learn=Learned()),
            "learn without a tolerance that decides",
        ),
        (
            lambda: Gate(Metric("rmse", tolerance=0.05, max_loss=0.1), learn=Learned()),
            "rmse has another comparison",
        ),
        (lambda: Gate(Metric("rmse"), worst_slices="off"), "'worst_slices' is 'off'"),
    ],
)
def test_wrong_rules_are_refused(make: Callable[[], object], message: str) -> None:
    """Each wrong rule ends with what was found, what is allowed, and what to do."""
    with pytest.raises(DeclarationError, match=message) as caught:
        make()
    assert "Allowed: " in str(caught.value)
    assert "Next: " in str(caught.value)


def test_all_wrong_fields_are_named_together() -> None:
    """One message, not one per attempt."""
    with pytest.raises(DeclarationError, match=r"min_gain.*; .*confidence"):
        Metric("rmse", min_gain=-1, confidence=2)


def test_direction_is_known_for_usual_metrics_and_can_be_stated() -> None:
    """Usual names need no direction; a stated one wins."""
    assert Metric("rmse").direction is Direction.LOWER
    assert Metric("accuracy").direction is Direction.HIGHER
    assert Metric("accuracy", lower_is_better=True).direction is Direction.LOWER


def test_rules_survive_a_round_trip() -> None:
    """What the record stores gives the same gate again."""
    gate = Gate(
        Metric("rmse", min_gain=0.1, relative=True, confidence=0.9),
        [
            Metric("profit", lower_is_better=False, at_least=1, at_most=9, function="shop:profit"),
            Metric("r2", max_loss=0),
        ],
        slices=["region", Slice("age", quantiles=4, min_rows=20)],
        time_block="1D",
        shadow_nights=5,
        unscored_champion="reject",
        seed=7,
    )
    again = Gate.from_dict(gate.to_dict())
    assert again.to_dict() == gate.to_dict()
    assert [(m.name, b, v) for m, b, v in again.rules] == [(m.name, b, v) for m, b, v in gate.rules]


def test_learned_rules_survive_a_round_trip() -> None:
    """With their bounds; the tolerances to choose from are these and the stated one, once each."""
    stated = Metric("rmse", tolerance=0.05, relative=True)
    gate = Gate(stated, learn=Learned(least=0.01, most=0.2))
    again = Gate.from_dict(json.loads(json.dumps(gate.to_dict())))
    assert again.to_dict() == gate.to_dict()
    assert again.tolerances == (0.01, 0.05, 0.2)
    assert gate.tolerating(0.2).primary == Metric("rmse", tolerance=0.2, relative=True)
    assert Gate(Metric("rmse"), learn=Learned(least=0.03)).tolerances == (0.03, 0.1)
    assert Gate(Metric("rmse")).tolerances == ()


def test_a_record_s_rules_say_what_was_understood() -> None:
    """When defaults change, an old record must still mean what it meant."""
    primary = Gate(Metric("rmse", at_most=60)).to_dict()["primary"]
    assert (primary["tolerance"], primary["relative"]) == (DEFAULT_TOLERANCE, "error")
    assert primary["confidence"] == DEFAULT_CONFIDENCE
    assert primary["lower_is_better"] is True


def test_what_is_by_default_is_not_written_down() -> None:
    """The rules of a simple gate are few; how rows are taken is said, since it was once another."""
    assert set(Gate(Metric("rmse")).to_dict()) == {"primary", "guardrails", "time_block"}


OF_0_1 = {
    "primary": {
        "name": "rmse",
        "lower_is_better": True,
        "min_gain": 0.0,
        "relative": False,
        "confidence": 0.7,
    },
    "guardrails": [],
}
"""What 0.1 recorded of ``Gate(Metric("rmse"))``."""


def test_rules_of_an_older_record_mean_what_they_meant() -> None:
    """The default of then is no default of now: it is judged as it was recorded."""
    then = Gate.from_dict(OF_0_1)
    assert [(bound.value, limit) for _, bound, limit in then.rules] == [("min_gain", 0.0)]
    assert not then.time_block
    assert then.to_dict() == OF_0_1


@pytest.mark.parametrize(
    "gate",
    [
        Gate(Metric("rmse")),
        Gate.from_dict(Gate(Metric("rmse")).to_dict()),
        Gate(Metric("rmse", min_gain=0.0)),
        Gate(Metric("rmse", min_gain=0.0), time_block=""),
    ],
)
def test_a_night_s_input_has_the_identity_that_it_had(gate: Gate) -> None:
    """So a version that was rolled back does not come back from the same input, upgraded."""
    assert gate.identity == OF_0_1


def test_what_other_defaults_judge_is_said_with_the_way_back() -> None:
    """Each change for itself; absolute bounds and stated tolerances have none."""
    said = Gate(Metric("rmse")).changes
    assert "Metric('rmse', min_gain=0.0)" in said
    assert "time_block=''" in said
    assert "moves by a day" not in said
    tolerant = Gate(Metric("rmse", tolerance=0.1), [Metric("r2", at_least=0.2)], cluster="customer")
    assert not tolerant.changes


@pytest.mark.parametrize(
    ("gate", "bounds"),
    [
        (Gate(Metric("rmse", min_gain=0.0), cluster="customer"), "'min_gain' now"),
        (Gate(Metric("rmse", max_loss=0.1), time_block=""), "'max_loss' now"),
        (
            Gate(Metric("rmse", min_gain=0.0), [Metric("mae", max_loss=0.1)], time_block=""),
            "'max_loss', 'min_gain' now",
        ),
    ],
)
def test_stated_bounds_that_became_stricter_are_said(gate: Gate, bounds: str) -> None:
    """Rows that two holdouts share now count, which makes proofs slower where a window moves."""
    assert bounds in gate.changes
    assert "a window that moves by a day" in gate.changes


def test_a_declared_cluster_goes_before_the_order_of_time() -> None:
    """Rows are joined by what the user names."""
    assert not Gate(Metric("rmse"), cluster="customer").time_block
    assert Gate(Metric("rmse"), time_block="1D").time_block == "1D"


def test_a_usual_gate_takes_four_lines() -> None:
    """One primary metric and two guardrails; every bound becomes a rule, the primary's first."""
    gate = Gate(
        Metric("rmse", min_gain=0.01, relative=True),
        [Metric("r2", at_least=0.25), Metric("mae", max_loss=0.02, relative=True)],
    )
    named = [(metric.name, bound.value) for metric, bound, _ in gate.rules]
    assert named == [("rmse", "min_gain"), ("r2", "at_least"), ("mae", "max_loss")]


def test_records_are_frozen() -> None:
    """A rule cannot change after it was checked."""
    with pytest.raises(AttributeError):
        Metric("rmse").name = "mae"  # type: ignore[misc]
