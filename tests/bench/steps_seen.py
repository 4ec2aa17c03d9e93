"""Notes when the step processes of a night begin and end, by watching the process table.

Watching costs the bench, not what is measured, about two hundredths of a core.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil

from bench.cpu import spent

SEARCH = 0.4
"""Seconds between two searches for new processes; a step takes several."""
LOOK = 0.05
"""Seconds between two looks at those that are known."""
_STEP = re.compile(r"tabular\.(\w+)$")


@dataclass
class StepProcess:
    """One step's process.

    Attributes:
        step: The entry point.
        start: Seconds since 1970.
        end: When it was last seen, at most `LOOK` before its end.
        cpu: CPU seconds that it had used then.
    """

    step: str
    start: float
    end: float
    cpu: float


class _Watcher:
    def __init__(self, root: int) -> None:
        self._root = psutil.Process(root)
        self._known: set[int] = set()
        self._alive: list[tuple[psutil.Process, StepProcess]] = []
        self.seen: list[StepProcess] = []
        self.stop = threading.Event()

    def watch(self) -> None:
        """Watch until told to stop."""
        searched = 0.0
        while not self.stop.wait(LOOK):
            if time.monotonic() - searched > SEARCH:
                searched = time.monotonic()
                self._search()
            self._alive = [one for one in self._alive if _note(*one)]

    def _search(self) -> None:
        for process in self._root.children(recursive=True):
            if process.pid in self._known:
                continue
            step = _step_of(process)
            if step:
                self._known.add(process.pid)
                found = StepProcess(step, process.create_time(), time.time(), 0.0)
                self._alive.append((process, found))
                self.seen.append(found)


def _note(process: psutil.Process, found: StepProcess) -> bool:
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        found.cpu, found.end = spent(process), time.time()
    except psutil.NoSuchProcess:
        return False
    return True


def _step_of(process: psutil.Process) -> str:
    """Return the entry point of a `python -m tabular.<step>`; '' for another process."""
    try:
        argv = process.cmdline()
    except psutil.Error:
        return ""
    matched = _STEP.match(argv[2]) if argv[1:2] == ["-m"] and len(argv) > 2 else None
    return matched[1] if matched else ""


@contextmanager
def steps_of(root: int) -> Iterator[list[StepProcess]]:
    """Note the step processes below a process while inside; the list is whole afterwards."""
    watcher = _Watcher(root)
    thread = threading.Thread(target=watcher.watch)
    thread.start()
    try:
        yield watcher.seen
    finally:
        watcher.stop.set()
        thread.join()
