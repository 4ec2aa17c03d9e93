"""Fixtures of the backtest's tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.unit.backtest.replayed import Replayed


@pytest.fixture
def replayed(tmp_path: Path) -> Callable[..., Replayed]:
    """Return a function that leaves the files of nights with such errors."""

    def make(*errors: float | None, **extra: object) -> Replayed:
        return Replayed(tmp_path / "backtest", errors, extra).write()

    return make
