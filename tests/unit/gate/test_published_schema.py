"""The published schema of decision records describes every record, and nothing else."""

from __future__ import annotations

import itertools
import json
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from tests.fixtures.examples import examples

from understudy.gate import (
    Basis,
    Comparison,
    Costs,
    DecisionRecord,
    Evidence,
    Finding,
    Gate,
    Interval,
    Measurement,
    Metric,
    Verdict,
)
from understudy.gate.record import SCHEMA
from understudy.gate.verdict import Case, Cause, Check, CheckResult, Score, Unscored

if TYPE_CHECKING:
    from tests.fixtures.decision_records import Document


PATH = Path(__file__).parents[3] / "docs/schema/decision-2.json"
PUBLISHED = json.loads(PATH.read_text(encoding="utf-8"))
VALIDATOR = Draft202012Validator(PUBLISHED)
GATE = Gate(Metric("rmse", max_loss=0.5, relative=True), [Metric("r2", at_least=0.2)])


def test_it_is_a_schema() -> None:
    """Of JSON Schema 2020-12, for the version that is written today."""
    Draft202012Validator.check_schema(PUBLISHED)
    assert PUBLISHED["properties"]["schema"]["const"] == SCHEMA


def test_it_describes_every_record(current_record: Document) -> None:
    """Records of every kind pass."""
    VALIDATOR.validate(current_record)


@examples(30)  # a record is validated several times
@given(rmse=st.floats(), gain=st.floats(), why=st.text(), cause=st.sampled_from(Cause))
def test_it_describes_records_of_any_numbers(
    rmse: float, gain: float, why: str, cause: Cause
) -> None:
    """What JSON cannot write has its place too, with and without a champion or evidence."""
    ours = Score("models:/m-1", {"rmse": rmse}, "run", "rows")
    ends = Interval(gain, gain, 0.9)
    found = Comparison(
        *("rmse", "max_loss", why, 7, 7, rmse, gain, gain, gain, ends, ends, gain, gain, gain),
        *("paired mean (t)", {"b": gain}, why),
    )
    evidence = Evidence((found,), (Finding("drift", "warn", "failed", why, {"x": gain}),), 7)
    champions = (None, Unscored("3", why, "run", cause), ours)
    for champion, gathered in itertools.product(champions, (None, evidence)):
        costs = Costs("models:/m-1", why, 7, single=((0.5, 0.25),), batch=(0.5,), batch_rows=3)
        measured = None if gathered is None else Measurement(costs, champion and costs)
        record = DecisionRecord.of(
            {}, GATE, ours, champion, evidence=gathered, measurement=measured
        )
        VALIDATOR.validate(record.to_dict())


@pytest.mark.parametrize(
    ("record", "definition"),
    [
        (Comparison, "comparison"),
        (Evidence, "evidence"),
        (Finding, "finding"),
        (Measurement, "measurement"),
        (Costs, "costs"),
        (Check, "check"),
        (Score, "score"),
        (Unscored, "unscored"),
    ],
)
def test_it_knows_each_field(record: Any, definition: str) -> None:  # noqa: ANN401 -- a class
    """A field that is added to a record has to be described."""
    described = PUBLISHED["$defs"][definition]
    names = [field.name for field in fields(record)]
    assert sorted(described["properties"]) == sorted(names)
    assert sorted(described["required"]) == sorted(names)


def test_it_knows_each_word() -> None:
    """Of every list that a record chooses from."""
    top, parts = PUBLISHED["properties"], PUBLISHED["$defs"]
    assert top["verdict"]["enum"] == list(Verdict)
    assert top["case"]["enum"] == list(Case)
    assert top["basis"]["enum"] == list(Basis)
    assert parts["result"]["enum"] == list(CheckResult)
    assert parts["unscored"]["properties"]["cause"]["enum"] == list(Cause)


@pytest.mark.parametrize(
    "change",
    [
        {"verdict": "MAYBE"},
        {"schema": "understudy/decision/1"},
        {"surprise": 1},
        {"checks": [{"metric": "mae"}]},
        {"reasons": "because"},
    ],
)
def test_it_refuses_what_is_no_record(
    decision_records: dict[str, tuple[Document, Document | None]], change: Document
) -> None:
    """A schema that lets everything through describes nothing."""
    assert not VALIDATOR.is_valid({**decision_records["promote"][0], **change})


def test_it_explains_itself() -> None:
    """Whoever reads only the schema learns what the parts are."""
    for name, part in {**PUBLISHED["properties"], **PUBLISHED["$defs"]}.items():
        known = {"numberOrNull", "intervalOrNull"}
        assert name in known or "description" in part or "$ref" in part, name
