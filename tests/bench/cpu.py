"""Counts the CPU seconds of everything that the bench started. Reads the process table only.

A process keeps its own CPU time and that of the children it waited for, so the sum over all living
processes of a tree neither loses nor counts twice what has ended: it only grows, by what the tree
has used. Read before and after a night, the difference is the night's. Airflow polls its database
also when there is nothing to do; that rate is measured beforehand and taken off, because it is paid
all day whatever the nights do. It is reported beside. The bench's own time does not count.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import psutil

from understudy.runner.settings import CACHE_VARIABLE

SETTLE = 2.0
"""Seconds after a night in which Airflow ends its task processes, which belong to the night."""
FORKSERVERS = "forkservers"
"""The part that steps are counted under which forkservers run: no component started these."""
HERE = "shell"
"""The part that the bench's own children are counted under."""


@dataclass(frozen=True)
class Reading:
    """The state of all counters at one moment.

    Attributes:
        moment: As `time.monotonic` counts, s.
        parts: CPU seconds by component of the stack, and of the bench's other children.
        machine: CPU seconds of the whole machine.
        own: CPU seconds of the bench itself.
    """

    moment: float
    parts: Mapping[str, float]
    machine: float
    own: float


@dataclass
class Window:
    """What was used between two moments.

    Attributes:
        seconds: Its length, s.
        parts: CPU seconds by part, the idle rate not taken off.
        others: How many cores programs that are not ours kept busy, on average.
    """

    seconds: float = 0.0
    parts: dict[str, float] = field(default_factory=dict)
    others: float = 0.0


class Meter:
    """Reads the CPU counters of a stack.

    Args:
        components: Process ids of the stack's components, by name.
    """

    def __init__(self, components: Mapping[str, int]) -> None:
        self._components = components
        self.idle: dict[str, float] = {}
        self._forkservers = 0.0

    def measure_idle(self, seconds: float) -> None:
        """Measure what each part uses per second while nothing is asked of it."""
        with self.window(settle=0) as window:
            time.sleep(seconds)
        self.idle = {name: used / window.seconds for name, used in window.parts.items()}

    @contextmanager
    def window(self, settle: float = SETTLE) -> Iterator[Window]:
        """Measure what is used inside, and in `settle` seconds after it."""
        window, before = Window(), self._read()
        yield window
        time.sleep(settle)
        after = self._read()
        window.seconds = after.moment - before.moment
        window.parts = {name: after.parts[name] - before.parts[name] for name in after.parts}
        self._forkservers += window.parts[FORKSERVERS]
        ours = sum(window.parts.values()) + after.own - before.own
        window.others = (after.machine - before.machine - ours) / window.seconds

    def whole(self) -> float:
        """Return the CPU seconds of everything since the stack was started, the bench included.

        Forkservers end between windows, so that theirs are those of all windows.
        """
        now = self._read()
        return sum(now.parts.values()) - now.parts[FORKSERVERS] + self._forkservers + now.own

    def net(self, window: Window) -> dict[str, float]:
        """Return the CPU seconds by part beyond what the stack uses when idle."""
        rest = {name: rate * window.seconds for name, rate in self.idle.items()}
        return {name: used - rest.get(name, 0.0) for name, used in window.parts.items()}

    def _read(self) -> Reading:
        while True:
            try:
                parts = {name: _tree(pid) for name, pid in self._components.items()}
                parts[FORKSERVERS] = sum(_tree(pid) for pid in forkservers())
                break
            except psutil.NoSuchProcess:  # one ended while it was read: its parent has its time
                continue
        times, machine = os.times(), psutil.cpu_times()
        parts[HERE] = times.children_user + times.children_system
        busy = sum(machine) - machine.idle - getattr(machine, "iowait", 0.0)
        # Guests are in user's time already.
        busy -= getattr(machine, "guest", 0.0) + getattr(machine, "guest_nice", 0.0)
        return Reading(time.monotonic(), parts, busy, times.user + times.system)


def end_forkservers(cache: str = "") -> None:
    """End every forkserver that learns below a cache, ours if none is named, and wait for it."""
    servers = [psutil.Process(pid) for pid in forkservers(cache)]
    for server in servers:
        server.terminate()
    psutil.wait_procs(servers, timeout=10)


def forkservers(cache: str = "") -> list[int]:
    """Return those forkservers below a cache, ours if none is named, that no other one forked."""
    ours = f"{cache or os.environ[CACHE_VARIABLE]}/"
    found = {
        process.pid: process.info["ppid"]
        for process in psutil.process_iter(["cmdline", "ppid"])
        if any(word.startswith(ours) for word in process.info["cmdline"] or [])
        and any(word.endswith("/forkserver.py") for word in process.info["cmdline"])
    }
    return [pid for pid, parent in found.items() if parent not in found]


def _tree(pid: int) -> float:
    root = psutil.Process(pid)
    return sum(spent(process) for process in (root, *root.children(recursive=True)))


def spent(process: psutil.Process) -> float:
    """Return the CPU seconds of a process and of the children that it waited for."""
    times = process.cpu_times()
    return float(times.user + times.system + times.children_user + times.children_system)
