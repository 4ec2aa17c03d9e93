"""What a pipeline may ask of its data and of a model's costs, found wrong when the file is read."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from understudy.errors import DeclarationError
from understudy.spec.guards import Budgets, Guards, Limit

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (
            lambda: Guards(drift="blokc"),
            "'drift' is 'blokc': input should be 'off', 'warn', 'block'",
        ),
        (lambda: Guards(leak="block"), "did you mean 'leakage'"),
        (lambda: Guards(copied_rows=2.0), "'copied_rows' is 2.0"),
        (lambda: Guards(max_age="3x"), "max_age: '3x' is no duration"),
        (lambda: Guards(min_training_rows=0), "'min_training_rows' is 0"),
        (lambda: Budgets(size=Limit("50ms")), r"size\.at_most: '50ms' is no size"),
        (lambda: Budgets(latency_p95=Limit("1MB")), r"latency_p95\.at_most: '1MB' is no duration"),
        (lambda: Limit(growth=-0.1), "'growth' is -0.1"),
    ],
)
def test_wrong_declarations(made: Callable[[], object], told: str) -> None:
    """Each names the field, the value and what would be right."""
    with pytest.raises(DeclarationError, match=told):
        made()


def test_limits_in_bytes_and_seconds() -> None:
    """What limits nothing, and what is off, is no bound."""
    budgets = Budgets(
        size=Limit("200MB"),
        memory=Limit(growth=1.0, level="off"),
        latency_p95=Limit("50ms", growth=0.2, level="warn"),
    )
    assert [tuple(bound) for bound in budgets.bounds] == [
        ("size", 2e8, None, "block"),
        ("latency_p95", 0.05, 0.2, "warn"),
    ]


def test_through_json() -> None:
    """A record keeps every field: a default that changes later changes no replay."""
    guards = Guards(drift="block", max_age="3d", drift_distance=0.3)
    budgets = Budgets(size=Limit("1GB", growth=0.5), unchecked="block")
    assert Guards.from_dict(json.loads(json.dumps(guards.to_dict()))) == guards
    assert Budgets.from_dict(json.loads(json.dumps(budgets.to_dict()))) == budgets
    assert set(Guards().to_dict()) == set(Guards.__dataclass_fields__)


def test_the_level_that_0_1_called_hold() -> None:
    """A Dag file is told what to write, at its own line; what was stored is read without a word."""
    for made in (
        lambda: Guards(drift="hold").drift,
        lambda: Guards(unchecked="hold").unchecked,
        lambda: Limit("1GB", level="hold").level,
        lambda: Budgets(unchecked="hold").unchecked,
    ):
        with pytest.warns(
            DeprecationWarning, match=r"'hold' has a new name: write \w+='block'"
        ) as told:
            assert made() == "block"
        assert [one.filename for one in told] == [__file__]
    stored = {**Guards().to_dict(), "drift": "hold", "unchecked": "hold"}
    assert Guards.from_dict(stored) == Guards(drift="block", unchecked="block")
    limited = {**Budgets().to_dict(), "size": {"at_most": "1GB", "level": "hold"}}
    assert Budgets.from_dict({**limited, "unchecked": "hold"}) == Budgets(
        size=Limit("1GB"), unchecked="block"
    )
