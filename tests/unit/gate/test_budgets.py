"""Findings of budgets: exact for sizes, on intervals for times, never certain without numbers."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fixtures.examples import examples

from understudy.gate.budgets import Costs, Measurement, findings
from understudy.gate.evidence import Finding
from understudy.spec.guards import Budgets, Limit

pytestmark = pytest.mark.unit

OFF = Limit(level="off")
NOTHING = Budgets(size=OFF, memory=OFF, latency_p50=OFF, latency_p95=OFF, batch_latency=OFF)


def costs(
    *, mean: float = 0.01, noise: float = 0.1, seed: int = 0, rounds: int = 40, size: float = 1e6
) -> Costs:
    """Return costs whose single predictions take ``mean`` seconds, give or take a share."""
    draw = random.Random(seed)  # noqa: S311 -- reproducible, nothing secret
    single = tuple(
        tuple(mean * draw.uniform(1 - noise, 1 + noise) for _ in range(20)) for _ in range(rounds)
    )
    return Costs("1", "", size, 3e8, 1e7, single, tuple(50 * one[0] for one in single), 1000)


def judged(ours: Costs, theirs: Costs | None, **limits: Limit) -> Finding:
    """Return the one finding of one limit."""
    budgets = Budgets(
        **{**{name: OFF for name in Budgets.__dataclass_fields__ if name != "unchecked"}, **limits}
    )
    (finding,) = findings(budgets, Measurement(ours, theirs))
    return finding


@pytest.mark.parametrize(
    ("size", "limit", "result"),
    [
        (2e6, Limit("2MB"), "passed"),
        (2e6 + 1, Limit("2MB"), "failed"),
        (1.5e6, Limit(growth=0.5), "passed"),
        (1.6e6, Limit(growth=0.5), "failed"),
        (1.6e6, Limit("2MB", growth=0.5), "failed"),
    ],
)
def test_sizes_are_exact(size: float, limit: Limit, result: str) -> None:
    """A limit includes itself; of two limits both count."""
    assert judged(costs(size=size), costs(), size=limit).result == result


@pytest.mark.parametrize(
    ("mean", "limit", "result"),
    [
        (0.010, Limit(growth=0.2), "passed"),
        (0.015, Limit(growth=0.2), "failed"),
        (0.012, Limit(growth=0.2), "undecided"),
        (0.010, Limit("20ms"), "passed"),
        (0.030, Limit("20ms"), "failed"),
    ],
)
def test_times_are_judged_on_an_interval(mean: float, limit: Limit, result: str) -> None:
    """Near the limit nothing is certain."""
    ours, theirs = costs(mean=mean, noise=0.5, seed=1), costs(noise=0.5, seed=2)
    finding = judged(ours, theirs, latency_p50=limit)
    assert finding.result == result
    assert f"latency_p50 {1000 * ours.value('latency_p50'):.3g} ms" in finding.reason


def test_both_models_slow_together() -> None:
    """A machine that slows down for some rounds does so for both, and cancels out."""
    ours, theirs = costs(seed=1), costs(seed=2)

    def slowed(model: Costs) -> Costs:
        rounds = tuple(
            tuple(time * (3 if number % 2 else 1) for time in one)
            for number, one in enumerate(model.single)
        )
        return Costs("1", single=rounds, batch=model.batch, batch_rows=1000)

    assert judged(slowed(ours), slowed(theirs), latency_p50=Limit(growth=0.2)).result == "passed"


def test_what_was_not_measured_does_as_it_was_told_to() -> None:
    """By default it warns: nobody can make a model of another age measurable."""
    broken = Costs("7", error="its environment cannot be had")
    finding = judged(costs(), broken, size=Limit(growth=0.5))
    assert (finding.level, finding.result) == ("warn", "undecided")
    assert finding.reason == "not measured: 7: its environment cannot be had"
    assert judged(costs(), broken, size=Limit("2MB")).result == "passed"
    few = judged(costs(rounds=2), None, latency_p95=Limit("1s"))
    assert (few.result, "timed 2 times" in few.reason) == ("undecided", True)
    held = findings(Budgets(unchecked="block"), Measurement(costs(), broken))
    assert {one.level for one in held} == {"block"}


def test_first_model() -> None:
    """Without a champion there is nothing to grow from."""
    finding = judged(costs(), None, size=Limit(growth=0.1))
    assert (finding.result, finding.reason) == ("passed", "size 1.0 MB")


def test_through_json() -> None:
    """What was measured gives the same findings when it is read again."""
    measured = Measurement(costs(seed=3), costs(seed=4))
    again = Measurement.from_dict(json.loads(json.dumps(measured.to_dict())))
    assert again == measured
    assert findings(Budgets(), again) == findings(Budgets(), measured)


@examples(15)  # each resamples four times a thousand
@given(
    mean=st.floats(1e-4, 1.0),
    factor=st.floats(1.0, 3.0),
    growth=st.floats(0.0, 1.0),
    seed=st.integers(0, 5),
)
def test_a_slower_model_is_never_better_off(
    mean: float, factor: float, growth: float, seed: int
) -> None:
    """More time can only turn passed into undecided, and undecided into failed."""
    order = ["passed", "undecided", "failed"]
    champion, limit = costs(seed=9, rounds=6), Limit(growth=growth)
    quick, slow = (costs(mean=m, seed=seed, rounds=6) for m in (mean, mean * factor))
    results = [judged(one, champion, latency_p95=limit).result for one in (quick, slow)]
    assert order.index(results[0]) <= order.index(results[1])
