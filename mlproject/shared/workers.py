"""Who works on a trial, and whether that process is still there. Touches `/proc` only.

On the same machine a process is known by its id and the moment when it began. Elsewhere it counts
as gone when it was not seen for a while: each worker notes the time on its trial every few seconds,
so clocks of machines that share a study must agree better than `GONE_AFTER`.
"""

import functools
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SEEN_EVERY = 10.0  # seconds
GONE_AFTER = 60.0  # seconds


def this_worker() -> dict[str, Any]:
    """Return this process as JSON values, seen now, in seconds since the epoch."""
    now, pid = time.time(), os.getpid()
    return {"machine": _machine(), "pid": pid, "began": _began(pid), "since": now, "seen": now}


def is_gone(worker: Mapping[str, Any]) -> bool:
    """Return whether the process is known or presumed to have ended.

    Args:
        worker: what `this_worker` returned, with the time when it was seen last.
    """
    if worker["machine"] and worker["machine"] == _machine():
        return _began(worker["pid"]) != worker["began"]
    return time.time() - float(worker["seen"]) > GONE_AFTER


@functools.cache
def _machine() -> str:
    """Return what tells this boot of this machine, and its process ids, from others; '' unknown."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    try:
        return f"{boot.read_text('ascii').strip()} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _began(pid: int) -> str:
    """Return when a process began, in clock ticks since boot; '' where it has ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("ascii", "replace")
    except OSError:
        return ""
    # The program's name, in brackets, may hold blanks and brackets itself.
    fields = stat.rpartition(")")[2].split()
    return "" if fields[0] in {"Z", "X"} else fields[19]
