"""A cause and a reason travel from the champion's task to the gate as one tag."""

from __future__ import annotations

import pytest

from understudy.decide.inputs import as_tag, from_tag
from understudy.gate import Cause

MLFLOW_LIMIT = 8000  # characters of a tag


@pytest.mark.parametrize("cause", list(Cause))
def test_cause_and_reason_survive(cause: Cause) -> None:
    """Quotes and line ends too."""
    reason = 'a "reason"\nof two lines'
    assert from_tag(as_tag(cause, reason)) == (cause, reason)


def test_a_long_reason_fits_into_a_tag() -> None:
    """Cut, not refused by the server in the middle of an error."""
    assert len(as_tag(Cause.CRASHED, "x" * 100_000)) < MLFLOW_LIMIT


def test_no_tag_is_no_cause() -> None:
    """What an earlier pass wrote is wiped with an empty tag."""
    assert from_tag("") is None
