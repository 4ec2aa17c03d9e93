"""A decision record can be read by anyone and recomputed by us."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.errors import DecisionError
from understudy.gate import (
    Basis,
    Comparison,
    DecisionRecord,
    Evidence,
    Finding,
    Gate,
    Interval,
    Metric,
    Score,
    Shadow,
    StoredPredictions,
    Unscored,
    replay,
)

GATE = Gate(Metric("rmse", min_gain=0.5), [Metric("r2", at_least=0.2)])
numbers = st.floats(allow_nan=True, allow_infinity=True)
champions = st.one_of(
    st.none(),
    st.builds(Unscored, st.just("3"), st.text(max_size=20)),
    st.builds(lambda a, b: Score("3", {"rmse": a, "r2": b}, "run", "rows"), numbers, numbers),
)


@given(rmse=numbers, r2=numbers, champion=champions, basis=st.sampled_from(Basis))
def test_replay_gives_the_same_record(
    rmse: float, r2: float, champion: Score | Unscored | None, basis: Basis
) -> None:
    """Every stored verdict is recomputed from its own inputs, NaN and infinity included."""
    challenger = Score("models:/m-1", {"rmse": rmse, "r2": r2}, "run", "rows")
    stored = DecisionRecord.of({"pipeline": "p"}, GATE, challenger, champion, basis=basis).to_json()
    assert replay(stored).to_json() == stored


def evidence(gain: float, p_value: float, blockers: tuple[str, ...]) -> Evidence:
    """Return evidence with every kind of part."""
    ends = Interval(gain - 1, gain + 1, 0.9)
    found = Comparison(
        "rmse", "min_gain", "", 200, 40, 10 - gain, 10.0, gain, 0.5, ends, ends, p_value, None,
        2.0, "paired mean (t)", {"b": 3.0, "c": 4.0, "p": 0.8},
    )  # fmt: skip
    lacking = replace(found, slice="region", rows=0, interval=None, excess=None, mcnemar=None)
    guard = Finding("drift", "warn", "failed", "age has moved", {"psi": gain, "column": "age"})
    return Evidence((found, lacking), (guard,), 200, "ab12", 3, 7, blockers, ("a note",))


@given(gain=numbers, p_value=numbers, blockers=st.lists(st.text(max_size=5), max_size=2).map(tuple))
def test_replay_gives_the_same_record_on_evidence(
    gain: float, p_value: float, blockers: tuple[str, ...]
) -> None:
    """Comparisons, findings, the seed and where the predictions are survive as they were."""
    stored = StoredPredictions("run", "predictions.parquet", "cd34", 4096)
    ours, theirs = (Score(name, {"rmse": 9, "r2": 1}, "run", "", stored) for name in ("m", "3"))
    found = evidence(gain, p_value, blockers)
    record = DecisionRecord.of({}, GATE, ours, theirs, basis=Basis.PREDICTIONS, evidence=found)
    record = replace(record, shadow=Shadow(1, 3), software={"numpy": "2.0"})
    again = replay(record.to_json())
    assert again.to_json() == record.to_json()
    assert again.verdict is record.verdict
    assert again.challenger == ours
    assert again.shadow == Shadow(1, 3)


def test_a_record_of_the_first_schema_is_read() -> None:
    """What older nights stored stays readable, and judges as it did."""
    record = DecisionRecord.of({}, GATE, Score("m", {"rmse": 1, "r2": 1}), Unscored("3", "gone"))
    document = record.to_dict() | {"schema": "understudy/decision/1"}
    del document["evidence"], document["software"], document["shadow"]
    del document["champion"]["cause"], document["challenger"]["predictions"]
    for check in document["checks"]:
        del check["slice"], check["excess"]
    assert replay(json.dumps(document)).to_json() == record.to_json()


def test_a_record_can_be_judged_under_other_rules() -> None:
    """The same numbers, another answer: the stored record stays as it is."""
    record = DecisionRecord.of({}, GATE, Score("m", {"rmse": 9, "r2": 1}), Score("3", {"rmse": 9}))
    assert record.verdict == "REJECT"
    assert record.judged_again(Gate(Metric("rmse"))).verdict == "PROMOTE"
    assert record.judged_again() == record


def test_the_document_is_strict_json_and_says_what_it_rests_on() -> None:
    """Other languages can read it: no NaN literals."""
    record = DecisionRecord.of({}, GATE, Score("m", {"rmse": math.nan, "r2": 1}), None)
    document = json.loads(record.to_json(), parse_constant=pytest.fail)
    assert document["schema"] == "understudy/decision/2"
    assert document["basis"] == "logged metrics"
    assert document["challenger"]["metrics"]["rmse"] == "nan"
    assert document["verdict"] == "REJECT"


@pytest.mark.parametrize("text", ["", "{}", '{"schema": "other/1"}', "[1]", "{"])
def test_anything_else_is_refused(text: str) -> None:
    """A document that is no record is named as such."""
    with pytest.raises(
        DecisionError, match=r"Allowed: .*understudy/decision/1.*understudy/decision/2"
    ):
        replay(text)


def test_a_name_in_the_data_forges_no_verdict() -> None:
    """Each line of the summary is one line, whatever columns and classes are called."""
    found = Finding("categories", "warn", "failed", "'x\nVerdict: PROMOTE\x1b[1A' is new", {})
    forged = replace(evidence(-1, 0.9, ()), findings=(found,))
    challenger = Score("models:/m-1", {"rmse": 9.0, "r2": 0.1}, "run", "rows")
    champion = replace(challenger, model="3")
    record = DecisionRecord.of({}, GATE, challenger, champion, evidence=forged)
    lines = "\n".join(record.summary_lines()).splitlines()
    assert [line for line in lines if line.startswith("Verdict: ")] == ["Verdict: REJECT"]
    assert r"x\nVerdict: PROMOTE\x1b[1A" in "".join(lines)
