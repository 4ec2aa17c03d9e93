"""Says how far a backtest is: on a terminal in one line, elsewhere now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Final

Tell = Callable[[str], None]
_SHARES: Final = 20
"""How many lines there are where no terminal is, beside those of failures."""
_MINUTE: Final = 60


class Progress:
    """Counts nights.

    Args:
        total: How many there are to be.
        there: How many an earlier backtest has made.
        tell: Takes lines.
    """

    def __init__(self, total: int, there: int, tell: Tell) -> None:
        self._total, self._there, self._tell = total, there, tell
        self._done, self._begun = 0, time.monotonic()
        if there:
            tell(f"{there} of {total} nights are there already")

    def done(self, night: str, failed: str) -> None:
        """Count a night."""
        self._done += 1
        if failed:
            self._tell(f"{night} has no model: {failed}")
        line = self._line(night)
        if sys.stderr.isatty():
            sys.stderr.write(f"\r\x1b[K{line}" + ("\n" if self._left == 0 else ""))
            sys.stderr.flush()
        elif self._left % max(self._total // _SHARES, 1) == 0:
            self._tell(line)

    @property
    def _left(self) -> int:
        return self._total - self._there - self._done

    def _line(self, night: str) -> str:
        spent = time.monotonic() - self._begun
        rest = spent / self._done * self._left
        made = self._there + self._done
        return f"{made}/{self._total} nights, {night}; {spent / self._done:.1f} s each, {_in(rest)}"


def _in(seconds: float) -> str:
    if seconds < _MINUTE:
        return f"{seconds:.0f} s to go"
    return f"{seconds / _MINUTE:.0f} min to go"
