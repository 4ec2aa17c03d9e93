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
        (lambda: Guards(drift="hodl"), "'drift' is 'hodl': input should be 'off', 'warn', 'hold'"),
        (lambda: Guards(leak="hold"), "did you mean 'leakage'"),
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
        ("size", 2e8, None, "hold"),
        ("latency_p95", 0.05, 0.2, "warn"),
    ]


def test_through_json() -> None:
    """A record keeps every field: a default that changes later changes no replay."""
    guards = Guards(drift="hold", max_age="3d", drift_distance=0.3)
    budgets = Budgets(size=Limit("1GB", growth=0.5), unchecked="hold")
    assert Guards.from_dict(json.loads(json.dumps(guards.to_dict()))) == guards
    assert Budgets.from_dict(json.loads(json.dumps(budgets.to_dict()))) == budgets
    assert set(Guards().to_dict()) == set(Guards.__dataclass_fields__)
