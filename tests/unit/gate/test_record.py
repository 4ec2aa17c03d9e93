"""A decision record can be read by anyone and recomputed by us."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.errors import DecisionError
from understudy.gate import Basis, DecisionRecord, Gate, Metric, Score, Unscored, replay

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
    stored = DecisionRecord.of({"pipeline": "p"}, GATE, challenger, champion, basis).to_json()
    assert replay(stored).to_json() == stored


def test_the_document_is_strict_json_and_says_what_it_rests_on() -> None:
    """Other languages can read it: no NaN literals."""
    record = DecisionRecord.of({}, GATE, Score("m", {"rmse": math.nan, "r2": 1}), None)
    document = json.loads(record.to_json(), parse_constant=pytest.fail)
    assert document["schema"] == "understudy/decision/1"
    assert document["basis"] == "logged metrics"
    assert document["challenger"]["metrics"]["rmse"] == "nan"
    assert document["verdict"] == "REJECT"


@pytest.mark.parametrize("text", ["", "{}", '{"schema": "other/1"}', "[1]", "{"])
def test_anything_else_is_refused(text: str) -> None:
    """A document that is no record is named as such."""
    with pytest.raises(DecisionError, match=r"Allowed: .*understudy/decision/1"):
        replay(text)
