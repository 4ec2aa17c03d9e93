"""Which tolerance late labels choose: costs, chances, the bound of the regret, what is known."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from understudy.errors import DecisionError
from understudy.gate import (
    Basis,
    Comparison,
    DecisionRecord,
    Evidence,
    Gate,
    Interval,
    Learned,
    Metric,
    Score,
    Verdict,
    judge,
    replay,
)
from understudy.gate.learning import BURN_IN, Hedged, Learning, Lesson, hedge, least_tolerance

SCHEMA = Path(__file__).parents[3] / "docs/schema/decision-2.json"
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
SET = (0.0, 0.03, 0.1)
GATE = Gate(Metric("rmse"), learn=Learned())
SCORES = Score("challenger", {}, holdout_sha256="ab"), Score("champion", {}, holdout_sha256="ab")


def at(night: int) -> str:
    """Return the ISO time of a night."""
    return (BEGIN + timedelta(days=night)).isoformat()


def lessons(
    nights: Sequence[tuple[float | None, float]], delay: int = 1, since: int = 0
) -> list[Lesson]:
    """Return nights, one a day, with the least tolerance that promotes and the later gain."""
    return [
        Lesson(at(since + n), at(since + n + delay), least, gain)
        for n, (least, gain) in enumerate(nights)
    ]


def evidence(gain: float, width: float, rule: str = "tolerance", **more: Any) -> Evidence:
    """Return a comparison with a champion whose rmse is 2: a gain, give or take a width."""
    ends = Interval(gain - width, gain + width, 0.4)
    p_value = 0.999 if ends.high < 0 else 0.5
    found = Comparison(
        *("rmse", rule, "", 80, 80, 2.0 - gain, 2.0, gain, -0.06, ends, ends),
        *(p_value, None, 0.1, "t", None),
    )
    return Evidence((found,), rows=80, **more)


@pytest.mark.parametrize(
    ("gain", "width", "more", "wanted"),
    [
        pytest.param(0.1, 0.5, {}, 0.0, id="better"),
        pytest.param(-0.05, 0.5, {}, 0.025, id="a small loss"),
        pytest.param(-0.4, 0.5, {}, 0.2, id="a large loss that may be luck"),
        pytest.param(-0.4, 0.1, {}, None, id="shown to be worse"),
        pytest.param(-0.05, 0.5, {"judged_before": 1}, None, id="a loss on the very same rows"),
        pytest.param(0.1, 0.5, {"judged_before": 1}, 0.0, id="a gain on the very same rows"),
        pytest.param(0.1, 0.5, {"blockers": ("rows differ",)}, None, id="blocked"),
    ],
)
def test_the_least_tolerance_that_promotes(
    gain: float, width: float, more: dict[str, Any], wanted: float | None
) -> None:
    """It is where the verdict changes, as the judge itself says."""
    asked = *SCORES, Basis.PREDICTIONS, evidence(gain, width, **more)
    least = least_tolerance(GATE, *asked)
    assert least == (None if wanted is None else pytest.approx(wanted))
    for tolerance in (0.0, 0.01, 0.024, 0.025, 0.026, 0.1, 0.19, 0.2, 0.5):
        rules = Gate(Metric("rmse", tolerance=tolerance, relative="error"))
        found = evidence(gain, width, **more)
        needed = replace(found.comparisons[0], needed=-2.0 * tolerance)
        judged = judge(
            rules, *SCORES, Basis.PREDICTIONS, replace(found, comparisons=(needed,))
        ).verdict
        assert (judged is Verdict.PROMOTE) == (least is not None and tolerance >= least - 1e-9)


def test_other_rules_and_a_missing_champion_leave_no_tolerance() -> None:
    """A guardrail that fails keeps the champion whatever the tolerance."""
    strict = Gate(Metric("rmse"), [Metric("rmse", at_most=1.0)], learn=Learned())
    found = evidence(0.1, 0.5)
    value = replace(found.comparisons[0], rule="at_most", needed=1.0)
    found = replace(found, comparisons=(*found.comparisons, value))
    assert least_tolerance(strict, *SCORES, Basis.PREDICTIONS, found) is None
    assert least_tolerance(GATE, SCORES[0], None, Basis.PREDICTIONS, found) is None
    assert least_tolerance(GATE, *SCORES, Basis.VALIDATIONS, None) is None


def test_the_costs_by_hand() -> None:
    """A promotion costs what the later rows lost by it, a kept champion nothing."""
    told = lessons([(0.0, 0.5), (0.02, -1.0), (0.05, 0.25), (None, -9.0)])
    assert hedge(SET, told).costs == pytest.approx((-0.5, 0.5, 0.25))


def test_a_night_without_late_labels_is_judged_by_the_person() -> None:
    """And so is one with fewer than are needed; the sentence says how many there are."""
    none = Learning.of(GATE, (), at(0))
    assert (none.chosen, none.lessons) == (0.03, ())
    assert "0 nights were seen again so far" in none.why
    few = Learning.of(GATE, lessons([(0.05, 1.0)] * (BURN_IN - 1)), at(400))
    assert few.chosen == 0.03
    enough = Learning.of(GATE, lessons([(0.05, 1.0)] * BURN_IN), at(400))
    assert enough.chosen == 0.1, "what 3 % keeps away would have served better each time"
    assert "(0.03 is stated)" in enough.why


def test_only_what_was_known_before_the_night_counts() -> None:
    """Labels that came on the night itself, or later, change nothing."""
    early = lessons([(0.05, 1.0)] * 25, delay=7)
    late = lessons([(0.05, -50.0)] * 30, delay=7, since=25)
    now = at(25 + 7)
    alone, with_future = (Learning.of(GATE, some, now) for some in (early, early + late))
    assert alone == with_future
    after = Learning.of(GATE, early + late, at(25 + 8))
    assert len(after.lessons) == len(alone.lessons) + 1, "known on the night before"


def test_the_order_in_which_nights_are_found_does_not_matter() -> None:
    """They are taken in the order of their times, whatever their zone."""
    told = lessons([(0.05, 0.1 * (-1) ** n) for n in range(40)], delay=3)
    elsewhere = [
        replace(one, as_of=datetime.fromisoformat(one.as_of).astimezone().isoformat())
        for one in told
    ]
    first = Learning.of(GATE, told, at(60))
    assert Learning.of(GATE, told[::-1], at(60)) == first
    assert Learning.of(GATE, elsewhere, at(60)).weights == first.weights


def test_the_draw_follows_the_chances_and_the_seed() -> None:
    """Over many nights each tolerance is chosen as often as its weight says."""
    rng = np.random.default_rng(3)
    told = lessons([(0.05, float(gain)) for gain in rng.normal(0.02, 1.0, 60)])
    found = [Learning.of(GATE, told, at(100 + night)) for night in range(1000)]
    weights = found[0].weights
    assert max(weights) < 0.95, "a case in which chance has something to say"
    for tolerance, weight in zip(SET, weights, strict=True):
        share = np.mean([one.chosen == tolerance for one in found])
        assert share == pytest.approx(weight, abs=4 * math.sqrt(weight * (1 - weight) / 1000))
    again = [Learning.of(replace(GATE, seed=1), told, at(100 + night)) for night in range(50)]
    assert [one.chosen for one in again] != [one.chosen for one in found[:50]]


def bounded(found: Hedged) -> None:
    """Fail where more was served than the bound of the regret allows."""
    assert found.expected <= min(found.costs) + found.bound + 1e-9 * (1 + abs(found.expected))


NIGHTS = st.lists(
    st.tuples(
        st.one_of(st.none(), st.sampled_from([0.0, 0.01, 0.03, 0.05, 0.1, 0.2])),
        st.floats(-1e3, 1e3),
    ),
    max_size=60,
)


@given(NIGHTS, st.integers(1, 20))
def test_the_regret_never_exceeds_its_bound(
    nights: list[tuple[float | None, float]], delay: int
) -> None:
    """Whatever the nights are like, and however late their labels."""
    found = hedge(SET, lessons(nights, delay))
    bounded(found)
    assert sum(found.weights) == pytest.approx(1)
    assert all(weight >= 0 for weight in found.weights)


def stream(kind: str, nights: int, rng: np.random.Generator) -> list[tuple[float | None, float]]:
    """Return nights of one kind: what each tolerance promotes, and the later gains."""
    least = rng.choice([0.0, 0.02, 0.05, 0.2], nights)
    drift = {"older is better": -0.1, "newer is better": 0.1, "alike": 0.0}.get(kind, 0.0)
    gains = rng.normal(drift, 1.0, nights)
    if kind == "turns":
        gains += np.where(np.arange(nights) < nights // 2, 0.3, -0.3)
    if kind == "against the leader":
        # What it was like, the other way round each time.
        least, gains = np.full(nights, 0.05), np.where(np.arange(nights) % 2, 1.0, -1.0)
    return list(zip(least.tolist(), gains.tolist(), strict=True))


KINDS = ("older is better", "newer is better", "alike", "turns", "against the leader")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("delay", [1, 7])
def test_what_is_lost_on_made_streams(kind: str, delay: int) -> None:
    """Within its bound, which grows as the root of the nights; less in the long run, per night."""
    per_night = []
    for count in (100, 400):
        found = [
            hedge(SET, lessons(stream(kind, count, np.random.default_rng(seed)), delay))
            for seed in range(5)
        ]
        for one in found:
            bounded(one)
            # A gain has a standard deviation of 1, or is 1: the bound in the form of theory.
            assert one.bound <= 8 * math.sqrt(delay * count * math.log(3)) + 10
        regrets = [(one.expected - min(one.costs)) / count for one in found]
        per_night.append(float(np.mean(regrets)))
    assert per_night[1] < 0.12
    assert per_night[1] <= per_night[0] + 0.02


@given(NIGHTS, st.floats(0, 0.05), st.floats(0.06, 0.5), st.integers(0, 5))
def test_the_bounds_are_never_left(
    nights: list[tuple[float | None, float]], least: float, most: float, seed: int
) -> None:
    """Nor is anything chosen that is none of the three."""
    stated = Metric("rmse", tolerance=0.055, relative="error")
    gate = Gate(stated, learn=Learned(least, most), seed=seed)
    found = Learning.of(gate, lessons(nights), at(100))
    assert found.chosen in {least, 0.055, most}
    assert least <= found.chosen <= most


def decided(nights: int) -> DecisionRecord:
    """Return the record of a night with a loss of 4 %, after nights that were seen again."""
    learning = Learning.of(GATE, lessons([(0.05, 1.0)] * nights), at(100))
    rules = GATE.tolerating(learning.chosen)
    found = evidence(-0.08, 0.5)
    found = replace(
        found, comparisons=(replace(found.comparisons[0], needed=-2 * learning.chosen),)
    )
    return DecisionRecord.of(
        {"as_of": at(100), "pipeline": "wine"},
        rules,
        *SCORES,
        basis=Basis.PREDICTIONS,
        evidence=found,
        learned=learning,
    )


@pytest.mark.parametrize(("nights", "wanted"), [(3, Verdict.HOLD), (30, Verdict.PROMOTE)])
def test_a_replay_gives_the_same_verdict(nights: int, wanted: Verdict) -> None:
    """From the record alone, with the same tolerance and the same reasons for it."""
    record = decided(nights)
    assert record.verdict is wanted
    again = replay(record.to_json())
    assert (again.verdict, again.learned) == (wanted, record.learned)
    assert again.to_json() == record.to_json()
    assert record.learned is not None
    assert record.decision.notes[0] == record.learned.why
    assert any(record.learned.why in line for line in record.summary_lines())
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    Draft202012Validator(schema).validate(record.to_dict())


def test_a_record_whose_tolerance_was_changed_is_found_out() -> None:
    """What was chosen is computed again and not believed."""
    stored = decided(30).to_dict()
    stored["rules"]["primary"]["tolerance"] = 0.0
    stored["learned"]["chosen"] = 0.0
    again = replay(json.dumps(stored))
    assert again.gate.primary.tolerance == 0.1
    assert again.verdict is Verdict.PROMOTE


def test_a_record_whose_rules_do_not_learn_is_refused() -> None:
    """A chosen tolerance needs the bounds that it was chosen between."""
    stored = decided(30).to_dict()
    del stored["rules"]["learn"]
    with pytest.raises(DecisionError, match="do not learn"):
        replay(json.dumps(stored))


def test_other_rules_judge_by_the_tolerance_that_they_state() -> None:
    """A night judged again under rules of another day has not learned anything for them."""
    other = decided(30).judged_again(Gate(Metric("rmse")))
    assert other.learned is None
    assert other.gate.primary.tolerance is None
