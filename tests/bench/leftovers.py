"""What a fault left behind: processes, folders, MLflow runs, locks. Reads only.

Everything that belongs to a stack, steps and what they start included, carries the stack's mark in
its environment. Forkservers are ended before a count: they would stay for a minute, on purpose.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from bench.cpu import end_forkservers
from understudy.devstack.processes import marked
from understudy.devstack.settings import MARK

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

SETTLE_S = 30.0
"""Seconds that Airflow and the supervisors have to bring everything to its end."""
_LOCKS = Path("/proc/locks")
_INODE = re.compile(r" [0-9a-f]+:[0-9a-f]+:(\d+) ")  # after the device's numbers


@dataclass(frozen=True)
class Leftovers:
    """How many of each kind there are."""

    processes: int = 0
    folders: int = 0
    running: int = 0
    locks: int = 0

    def __add__(self, other: Leftovers) -> Leftovers:
        return Leftovers(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    def __bool__(self) -> bool:
        return any(astuple(self))


@dataclass(frozen=True)
class Ground:
    """Where faults are injected, and what counts as left there.

    Attributes:
        temporary: The ``TMPDIR`` of everything.
        caches: Folders of commits and environments.
        client: Of the tracking server.
        mark: What all processes carry.
        components: Returns the ids of the processes that may stay: the stack's own programs.
        known: Entries of the temporary folder that were there before.
    """

    temporary: Path
    caches: Sequence[Path]
    client: MlflowClient
    mark: str
    components: Callable[[], set[int]]
    known: frozenset[str]

    def settled(self) -> Leftovers:
        """Return what is left when nothing is, or when it has had its time."""
        end_forkservers()
        deadline = time.monotonic() + SETTLE_S
        while (left := self.count()) and time.monotonic() < deadline:
            time.sleep(0.5)
        return left

    def count(self) -> Leftovers:
        """Return what there is at this moment."""
        return Leftovers(
            processes=len(self._strangers()),
            folders=len(self._folders()),
            running=self._running(),
            locks=self._locks(),
        )

    def described(self) -> str:
        """Return the command lines of the processes and the names of the folders."""
        found = []
        for pid in self._strangers():
            try:
                found.append(f"{pid} {' '.join(psutil.Process(pid).cmdline())[:300]}")
            except psutil.NoSuchProcess:
                continue
        return "\n".join([*found, *self._folders()])

    def _strangers(self) -> set[int]:
        allowed = self.components()
        return {one.pid for one in marked(MARK, self.mark)} - allowed

    def _folders(self) -> set[str]:
        scratch = self.temporary / f"understudy-{os.getuid()}"
        attempts = {entry.name for entry in scratch.iterdir()} if scratch.is_dir() else set()
        return attempts | ({entry.name for entry in self.temporary.iterdir()} - self.known)

    def _running(self) -> int:
        experiments = [one.experiment_id for one in self.client.search_experiments()]
        return len(self.client.search_runs(experiments, "attributes.status = 'RUNNING'"))

    def _locks(self) -> int:
        """Return how many files of ours somebody holds a lock on (proc(5), /proc/locks)."""
        held = set(_INODE.findall(_LOCKS.read_text()))
        files = [*self.temporary.glob("*/*/.lock")]
        files += [path for cache in self.caches for path in cache.glob("*/*.lock")]
        return sum(str(path.stat().st_ino) in held for path in files)


def tree(pid: int) -> set[int]:
    """Return a process and its descendants."""
    try:
        return {pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))}
    except psutil.NoSuchProcess:
        return set()
