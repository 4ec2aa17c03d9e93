"""Ends the processes that were started with a temporary folder, wherever they are. Linux only.

An attempt's ``TMPDIR`` is its own, and whatever it starts inherits it: when the supervisor that
would have reaped a daemon was itself killed, this is what still leads to the daemon.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")
_PAUSE_S: Final = 0.02
_LOOKS: Final = 50  # what keeps on forking is killed again and again, for a second


def end_strays(temporary: str) -> None:
    """Kill every process of this user that was started with this ``TMPDIR``."""
    if not _PROC.is_dir():
        return
    for _ in range(_LOOKS):
        strays = _started_with(f"TMPDIR={temporary}".encode())
        for pid in strays:
            _kill(pid)
        if not strays:
            return
        time.sleep(_PAUSE_S)


def _started_with(variable: bytes) -> list[int]:
    found = []
    for entry in _PROC.iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                # Empty for a zombie; of other users it cannot be read.
                variables = (entry / "environ").read_bytes().split(b"\0")
            except OSError:
                continue
            if variable in variables:
                found.append(int(entry.name))
    return found


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
