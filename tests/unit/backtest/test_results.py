"""What a backtest recommends, and why."""

from __future__ import annotations

from typing import Any

import pytest

from understudy.backtest.results import recommendation

pytestmark = pytest.mark.unit


def result(default: float | None, strict: float | None, always: float = 9.0) -> dict[str, Any]:
    """Return the result of two rule sets by what they served."""
    served = {"hindsight": 1.0, "point": 9.0, "always": always, "frozen": 9.0}
    return {
        "metric": {"name": "rmse", "lower_is_better": True},
        "rules": [{"name": "default", "served": default}, {"name": "strict", "served": strict}],
        "paths": {name: {"served": value} for name, value in served.items()},
    }


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (result(2.0, 2.1), "Recommended: default, since no other rule set serves better by"),
        (result(2.0, 1.995), "Recommended: default, since no other rule set serves better by"),
        (result(2.0, 1.8), "Recommended: strict, since it serves better than default by 10.0%"),
        (result(None, 1.8), "Recommended: strict, since no other"),
        (result(None, None), "No rule set can be recommended"),
    ],
)
def test_one_rule_set_is_recommended_with_its_reason(found: dict[str, Any], said: str) -> None:
    """The default stands unless another one is clearly better."""
    assert recommendation(found).startswith(said)


def test_a_policy_without_rules_that_served_better_is_named() -> None:
    """A person has to know, whatever it protects from."""
    assert recommendation(result(2.0, 2.1, always=1.5)).endswith(
        "; on these nights, promote always served better"
    )
