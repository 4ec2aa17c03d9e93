"""A verdict is right where the later rows make the same choice for sure."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from understudy.errors import DecisionError
from understudy.gate import (
    Basis,
    Budgets,
    Choice,
    Comparison,
    DecisionRecord,
    Evidence,
    Gate,
    Guards,
    Interval,
    LateLabelContext,
    LateLabelRecord,
    Metric,
    Previous,
    Score,
    StoredPredictions,
    Tally,
    Verdict,
    replay,
)
from understudy.gate.late_labels import SCHEMA, choice, rules_of_rows

if TYPE_CHECKING:
    from tests.fixtures.decision_records import Document


SCHEMAS = Path(__file__).parents[3] / "docs/schema"
PUBLISHED, DECISION = (
    json.loads((SCHEMAS / name).read_text(encoding="utf-8"))
    for name in ("matured-1.json", "decision-2.json")
)
KNOWN: Registry[Any] = Registry().with_resource(DECISION["$id"], Resource.from_contents(DECISION))
VALIDATOR = Draft202012Validator(PUBLISHED, registry=KNOWN)
RUN = "6d1f4c0b2a9e48d7b3c5a1e0f7d69824"
ABOUT = LateLabelContext(
    *("wine", "wine", RUN, "2026-01-04T00:00:00+00:00", Verdict.PROMOTE, "PROMOTED"),
    *("ab12", "2026-01-18T00:00:00+00:00", "2026-01-18T00:00:00+00:00"),
)
LATER = ("promote", "hold", "reject", "first", "unscored")
FINITE = st.floats(-1e6, 1e6)


@pytest.fixture(scope="module")
def later_decisions(
    decision_records: dict[str, tuple[Document, Document | None]],
) -> dict[str, DecisionRecord]:
    """Return the decisions that later rows led to."""
    return {
        name: replay(json.dumps(record))
        for name, (record, _) in decision_records.items()
        if name in LATER
    }


def score(model: str) -> Score:
    """Return the numbers of a model whose predictions are stored."""
    stored = StoredPredictions(RUN, "predictions.parquet", "9b" * 32, 48211)
    return Score(model, {}, RUN, "ab" * 32, stored)


def seen(then: Verdict, later: DecisionRecord | None, **more: Any) -> LateLabelRecord:
    """Return a night of a verdict, seen again."""
    return LateLabelRecord(replace(ABOUT, verdict=then), later, **more)


def compared(gain: float, width: float) -> DecisionRecord:
    """Return a later comparison by one metric: its gain, give or take a width."""
    ends = Interval(gain - width, gain + width, 0.4)
    p_value = 0.999 if ends.high < 0 else 0.5
    found = Comparison(
        *("rmse", "min_gain", "", 80, 80, 3.0 - gain, 3.0, gain, 0.0, ends, ends),
        *(p_value, None, 0.1, "t", None),
    )
    ours, theirs, gate = score("8"), score("7"), Gate(Metric("rmse", min_gain=0.0))
    basis, evidence = Basis.PREDICTIONS, Evidence((found,), rows=80)
    return DecisionRecord.of({}, gate, ours, theirs, basis=basis, evidence=evidence)


@pytest.mark.parametrize(
    ("then", "later", "wanted"),
    [
        ("PROMOTE", "PROMOTE", "right"),
        ("PROMOTE", "HOLD", "undecided"),
        ("PROMOTE", "REJECT", "wrong"),
        ("HOLD", "PROMOTE", "wrong"),
        ("HOLD", "HOLD", "undecided"),
        ("HOLD", "REJECT", "right"),
        ("REJECT", "PROMOTE", "wrong"),
        ("REJECT", "HOLD", "undecided"),
        ("REJECT", "REJECT", "right"),
    ],
)
def test_the_whole_table(then: str, later: str, wanted: str) -> None:
    """HOLD and REJECT make the same choice; nobody is blamed for what is not certain."""
    assert choice(Verdict(then), Verdict(later)) is Choice(wanted)


@given(gain=FINITE, width=st.floats(0, 1e6))
def test_promoting_and_keeping_are_never_both_right(gain: float, width: float) -> None:
    """One is right where the other is wrong, and what the one cost the other gained."""
    later = compared(gain, width)
    promoted, kept = seen(Verdict.PROMOTE, later), seen(Verdict.HOLD, later)
    opposite = {Choice.RIGHT: Choice.WRONG, Choice.WRONG: Choice.RIGHT}
    assert kept.choice is opposite.get(promoted.choice, Choice.UNDECIDED)
    assert promoted.cost is not None
    assert promoted.cost == -gain == -(kept.cost or 0)
    # Bounds are inclusive on decimal numbers, so what is next to nothing is nothing.
    if gain - width > 1e-3:
        assert promoted.choice is Choice.RIGHT
    if gain + width < -1e-3:
        assert promoted.choice is Choice.WRONG


@pytest.mark.parametrize(("then", "name"), list(product(Verdict, LATER)))
def test_a_record_comes_back_and_is_what_was_published(
    later_decisions: dict[str, DecisionRecord], then: Verdict, name: str
) -> None:
    """With every verdict, with a previous version and without."""
    comparisons = compared(0.5, 0.1).evidence.comparisons  # type: ignore[union-attr]
    for previous in (None, Previous("6", "it was deleted"), Previous("6", "", comparisons)):
        record = seen(then, later_decisions[name], previous=previous)
        VALIDATOR.validate(record.to_dict())
        again = LateLabelRecord.of(record.to_json())
        assert again.to_json() == record.to_json()
        assert again.choice is record.choice


def test_a_night_that_could_not_be_seen_is_undecided() -> None:
    """It says why, and costs nothing."""
    record = seen(Verdict.PROMOTE, None, obstacle="the challenger is gone")
    VALIDATOR.validate(record.to_dict())
    assert (record.choice, record.cost, record.rows) == (Choice.UNDECIDED, None, 0)
    assert (
        record.summary() == "Night of 2026-01-04T00:00, PROMOTE: undecided. the challenger is gone"
    )
    assert LateLabelRecord.of(record.to_json()) == record


def test_it_is_told_in_one_line() -> None:
    """What was said, what became of it, on how many rows, and why."""
    told = seen(Verdict.HOLD, compared(0.5, 0.1)).summary()
    assert told.startswith("Night of 2026-01-04T00:00, HOLD: wrong on 80 rows that came after it. ")
    assert "\n" not in told


def test_nights_are_counted_and_wrong_ones_priced(
    later_decisions: dict[str, DecisionRecord],
) -> None:
    """What right ones saved does not pay for them."""
    records = [
        seen(Verdict.PROMOTE, compared(-0.5, 0.1)),
        seen(Verdict.HOLD, compared(1.5, 0.1)),
        seen(Verdict.PROMOTE, compared(2.0, 0.1)),
        seen(Verdict.HOLD, compared(0.1, 0.2)),
        seen(Verdict.HOLD, None, obstacle="gone"),
    ]
    tally = Tally.of(records)
    assert tally.costs == (0.5, 1.5)
    assert list(tally.summary_lines()) == [
        "5 nights: 1 right, 2 wrong, 2 undecided",
        "The gate chose right in 33% of the 3 nights that are decided",
        "Where it was wrong, the other model's rmse was better by 1 on average, 1.5 at most",
    ]
    mixed = Tally.of([*records, seen(Verdict.PROMOTE, later_decisions["reject"])])
    assert mixed.counts[Choice.WRONG] == 3
    assert not mixed.costs


def test_only_what_rows_can_answer_is_asked_again() -> None:
    """Guards and shadow nights belong to the night."""
    rules = Gate(
        Metric("rmse", min_gain=0.0, at_most=9),
        guards=Guards(),
        budgets=Budgets(unchecked="block"),
        shadow_nights=3,
        unscored_champion="promote",
        slices=["region"],
        cluster="customer",
    )
    wanted = Gate(Metric("rmse", min_gain=0.0, at_most=9), slices=["region"], cluster="customer")
    assert rules_of_rows(rules).to_dict() == wanted.to_dict()


@pytest.mark.parametrize(
    "document", ["", "{}", '{"schema": "understudy/decision/2"}', f'{{"schema": "{SCHEMA}"}}']
)
def test_other_documents_are_refused(document: str) -> None:
    """The message says which file is meant."""
    with pytest.raises(DecisionError, match=r"decision/matured\.json"):
        LateLabelRecord.of(document)


def test_the_schema_lets_nothing_else_through(later_decisions: dict[str, DecisionRecord]) -> None:
    """Unknown fields and words are refused; each field is explained."""
    Draft202012Validator.check_schema(PUBLISHED)
    record = seen(Verdict.HOLD, later_decisions["promote"]).to_dict()
    for change in ({"choice": "perhaps"}, {"surprise": 1}, {"schema": "understudy/matured/2"}):
        assert not VALIDATOR.is_valid({**record, **change})
    for name, part in {**PUBLISHED["properties"], **PUBLISHED["$defs"]}.items():
        assert "description" in part, name
    described = PUBLISHED["properties"]["about"]["properties"]
    assert sorted(described) == sorted(record["about"])
