"""Says whether a process is still the one that was started, although process ids are used again.

Reads the process table; touches nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psutil


@dataclass(frozen=True)
class Identity:
    """One process, for good: its id, and when it was born.

    Attributes:
        pid: The process id.
        birth: A word that no other process with this id ever has: the boot and the clock tick of
            the start on Linux (which no change of the clock moves), elsewhere the start time.
    """

    pid: int
    birth: str

    @classmethod
    def of(cls, pid: int) -> Identity | None:
        """The living process with this id; None when there is none. A zombie does not live."""
        birth = _birth(pid)
        return None if birth is None else cls(pid, birth)

    def alive(self) -> bool:
        """Whether this very process lives."""
        return _birth(self.pid) == self.birth


def _birth(pid: int) -> str | None:
    try:
        if psutil.Process(pid).status() in {psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD}:
            return None
        return _linux_birth(pid) or f"{psutil.Process(pid).create_time():.2f}"
    except psutil.NoSuchProcess:
        return None


def _linux_birth(pid: int) -> str | None:
    if not (boot := _boot()):
        return None
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError) as error:
        raise psutil.NoSuchProcess(pid) from error
    # Field 22 of proc(5); the second field is a name in parentheses that may hold anything.
    return f"{boot}:{stat.rpartition(')')[2].split()[19]}"


@cache
def _boot() -> str:
    path = Path("/proc/sys/kernel/random/boot_id")
    return path.read_text("ascii").strip() if path.exists() else ""


def session(leader: Identity, home: Path) -> set[Identity]:
    """The living processes of the session that `leader` opened.

    While any of them lives, the system gives the leader's id to nobody else. So an id that now
    belongs to another process says that the session is over; and when the leader is gone, only
    those that work below the folder `home`, as all that we start do, are taken for its own.
    """
    current = Identity.of(leader.pid)
    if current is not None and current != leader:
        return set()
    return {
        found
        for pid in _pids_of_session(leader.pid)
        if (found := Identity.of(pid)) and (current is not None or _works_below(pid, home))
    }


def _pids_of_session(leader: int) -> Iterator[int]:
    for pid in psutil.pids():
        try:
            if os.getsid(pid) == leader:
                yield pid
        except (ProcessLookupError, PermissionError):
            continue


def _works_below(pid: int, home: Path) -> bool:
    try:
        return Path(psutil.Process(pid).cwd()).is_relative_to(home)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False


def marked(variable: str, value: str) -> set[Identity]:
    """The living processes that were started with an environment variable of this value."""
    found: set[Identity] = set()
    for process in psutil.process_iter():
        try:
            if process.environ().get(variable) == value and process.pid != os.getpid():
                found |= {identity for identity in [Identity.of(process.pid)] if identity}
        except (psutil.Error, OSError):
            continue
    return found


def descendants(of: set[Identity]) -> set[Identity]:
    """The living children of these processes, and their children, whatever session they are in."""
    found: set[Identity] = set()
    for identity in of:
        try:
            children = psutil.Process(identity.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            continue
        found |= {child for each in children if (child := Identity.of(each.pid))}
    return found
