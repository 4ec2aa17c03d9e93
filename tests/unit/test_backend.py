"""What ``mlflow run`` and its backend configuration may ask for."""

from __future__ import annotations

from typing import Any

import pytest
from mlflow.exceptions import ExecutionException

from understudy.backend import _options

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {"environment": {}, "docker_options": ()}),
        ({"ENV_MANAGER": "virtualenv"}, {"env_manager": "virtualenv"}),
        ({"ENV_MANAGER": None, "env_manager": "conda"}, {"env_manager": "conda"}),
        ({"environment": ["SECRET"]}, {"environment": {"SECRET": "x"}}),
        ({"reuse": True, "timeout": 9}, {"reuse": True, "timeout": 9}),
        (
            {"DOCKER_ARGS": {"network": "host", "t": True, "gpus": "all"}},
            {"docker_options": ("--network=host", "-t", "--gpus=all")},
        ),
    ],
)
def test_taken(
    given: dict[str, Any], expected: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow's own options, and ours."""
    monkeypatch.setenv("SECRET", "x")
    found = _options(given)
    assert {name: found[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"env_manger": "uv"}, r"no option 'env_manger' \(did you mean 'env_manager'\?\)"),
        ({"environment": ["NOT_SET_HERE"]}, r"'environment' is \['NOT_SET_HERE'\]"),
        ({"environment": "SECRET"}, "'environment' is 'SECRET'"),
        ({"reuse": "yes"}, r"'reuse' is 'yes'. Allowed: true, false"),
    ],
)
def test_refused(given: dict[str, Any], message: str) -> None:
    """With what is allowed, and what to do."""
    with pytest.raises(ExecutionException, match=message) as caught:
        _options(given)
    assert "Allowed: " in str(caught.value)
    assert "Next: " in str(caught.value)
