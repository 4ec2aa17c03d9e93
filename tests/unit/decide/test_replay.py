"""What differs between two records is found, and rounding and words are not taken for it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from understudy.decide.evaluator import Evaluator
from understudy.decide.replay import differences, replayed
from understudy.gate import (
    Basis,
    Budgets,
    Costs,
    DecisionRecord,
    Evidence,
    Finding,
    Gate,
    Guards,
    Limit,
    Measurement,
    Metric,
    Score,
    budgets,
)
from understudy.report.document import read
from understudy.runner.settings import Settings

RECORD = {
    "verdict": "PROMOTE",
    "champion": None,
    "checks": [{"gain": 1.5, "reason": "better", "interval": {"low": 0.5}}],
    "evidence": {"blockers": [], "rows": 20},
    "notes": ["words"],
    "software": {"numpy": "2.0"},
}


@pytest.mark.parametrize(
    ("changed", "place"),
    [
        ({"verdict": "HOLD"}, "verdict"),
        ({"champion": {"model": "3"}}, "champion"),
        ({"checks": [{**RECORD["checks"][0], "gain": 1.6}]}, "checks[0].gain"),  # type: ignore[index]
        ({"checks": [{**RECORD["checks"][0], "interval": None}]}, "checks[0].interval"),  # type: ignore[index]
        ({"checks": []}, "checks"),
        ({"evidence": {"blockers": ["rows differ"], "rows": 20}}, "evidence.blockers"),
        ({"evidence": {"blockers": [], "rows": 20, "more": 1}}, "evidence.more"),
    ],
)
def test_a_difference_is_named_by_its_place(changed: dict[str, object], place: str) -> None:
    """With both values, as they stand in the documents."""
    (found,) = differences(RECORD, {**RECORD, **changed})
    assert found.place == place
    assert " then, " in str(found)


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"checks": [{**RECORD["checks"][0], "gain": 1.5 + 1e-12}]},  # type: ignore[index]
        {"checks": [{**RECORD["checks"][0], "reason": "beats it"}]},  # type: ignore[index]
        {"notes": ["other words"]},
        {"software": {"numpy": "3.0"}},
    ],
)
def test_rounding_words_and_versions_are_no_differences(changed: dict[str, object]) -> None:
    """A release that says things better does not turn every old record into a finding."""
    assert not list(differences(RECORD, {**RECORD, **changed}))


MEASURED = Measurement(Costs("m", size=300.0), Costs("3", size=100.0))
GATE = Gate(
    Metric("rmse"),
    guards=Guards(),
    budgets=Budgets(size=Limit(growth=1.0), memory=Limit(), latency_p95=Limit()),
)
LEAK = Finding("leakage", "block", "failed", "rows leak", {})
UNSEEN = Finding("drift", "warn", "undecided", "not checked: gone", {})


@pytest.fixture
def record() -> DecisionRecord:
    """Return the record of a night of logged metrics, with guards and budgets."""
    assert GATE.budgets is not None
    found = (LEAK, UNSEEN, *budgets.findings(GATE.budgets, MEASURED))
    return DecisionRecord.of(
        {}, GATE, Score("m", {"rmse": 1}), Score("3", {"rmse": 2}), basis=Basis.TRAININGS,
        evidence=Evidence((), found), measurement=MEASURED,
    )  # fmt: skip


def again(
    record: DecisionRecord, folder: Path, gate: Gate | None = None
) -> tuple[DecisionRecord, int]:
    """Return a record judged again, and how many differences there are."""
    evaluator = Evaluator(None, Settings(folder / "cache", folder / "scratch"))
    (one,) = replayed([record.to_json()], evaluator, print, gate)
    return one.now, len(one.differences)


def test_guards_and_budgets_are_judged_again_from_what_was_stored(
    record: DecisionRecord, tmp_path: Path
) -> None:
    """Nothing is looked at or measured again, and nothing differs."""
    now, differing = again(record, tmp_path)
    assert (now.verdict, differing) == ("HOLD", 0)
    assert now.to_json() == record.to_json()


def test_a_record_whose_levels_0_1_named_differs_in_nothing(
    record: DecisionRecord, tmp_path: Path
) -> None:
    """It called ``block`` hold, in the rules as in what was found."""
    document = record.to_json()
    former = document.replace('"block"', '"hold"')
    assert former.count('"hold"') > document.count('"hold"')
    evaluator = Evaluator(None, Settings(tmp_path / "cache", tmp_path / "scratch"))
    (one,) = replayed([former], evaluator, print)
    assert one.differences == ()
    assert one.now.to_json() == document
    assert read(json.loads(former)).findings == read(record.to_dict()).findings


def test_other_rules_give_guards_and_budgets_other_weights(
    record: DecisionRecord, tmp_path: Path
) -> None:
    """Levels and limits are those of the rules; a guard that is off says nothing any more."""
    for guards, limit, verdict in (
        (Guards(leakage="warn"), Limit(growth=2.0), "PROMOTE"),
        (Guards(leakage="warn"), Limit("200B", level="reject"), "REJECT"),
        (Guards(leakage="off", unchecked="block"), Limit(growth=2.0), "HOLD"),
        (None, Limit("1KB"), "PROMOTE"),
    ):
        costs = Budgets(size=limit, memory=Limit(), latency_p95=Limit())
        gate = Gate(Metric("rmse"), guards=guards, budgets=costs)
        assert again(record, tmp_path, gate)[0].verdict == verdict
    assert again(record, tmp_path, Gate(Metric("rmse")))[0].verdict == "PROMOTE"


def test_budgets_of_a_night_that_measured_nothing(record: DecisionRecord, tmp_path: Path) -> None:
    """It is said, and does what the rules say of a model that was not measured."""
    bare = replace(record, gate=Gate(Metric("rmse")), evidence=None, measurement=None)
    gate = Gate(Metric("rmse"), budgets=Budgets(unchecked="block"))
    now, _ = again(bare, tmp_path, gate)
    assert now.verdict == "HOLD"
    assert "measured nothing" in now.decision.why
    assert now.measurement is None
    assert json.loads(now.to_json())["measurement"] is None
