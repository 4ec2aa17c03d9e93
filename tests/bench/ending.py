"""Lets a long program that is told to end take down what it started."""

from __future__ import annotations

import signal
import sys
from types import FrameType


def end_on_terminate() -> None:
    """Turn SIGTERM and SIGINT into an exit that runs every ``finally``, also behind ``nohup &``."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave)


def _leave(number: int, _frame: FrameType | None) -> None:
    # make passes on what it gets itself: the second one would cut the taking down short.
    for other in (signal.SIGTERM, signal.SIGINT):
        signal.signal(other, signal.SIG_IGN)
    name = signal.Signals(number).name
    sys.stderr.write(f"\n{name}: what was started is being ended\n")
    sys.exit(128 + number)
