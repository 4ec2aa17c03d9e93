"""The one error of the local stack."""

from __future__ import annotations

from understudy.errors import UnderstudyError


class StackError(UnderstudyError):
    """The local stack cannot be started, followed or ended."""
