"""Stands between a worker and one command, and outlives the worker. Standard library only.

Started as ``python -I -S supervisor.py CONTROL REPORT WORKER GRACE SCRATCH COMMAND...`` in a
session of its own, or forked by ``forkserver.py``. It becomes the reaper of everything that the
command starts, daemons included (Linux; elsewhere the process group is all it can reach), waits,
and reports the command's end. When the other end of the CONTROL pipe is closed, because the worker
asks for a stop or is dead, it sends TERM to all descendants, waits GRACE seconds and kills what is
left. It touches only its own descendants and, after a stop, the worker's SCRATCH folder.

It is a script and not a thread of the worker, because kill -9 of the worker must not reach it; it
imports as little as it can, because every step pays for its start.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from types import FrameType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
# A dead worker's end of the control pipe is closed, unless a process that the worker has forked
# still holds it: so the worker itself is looked at now and then.
_LOOK_FOR_PARENT_MS = 2000
_KILL_PAUSE_S = 0.005
# A process in uninterruptible sleep cannot be killed: it is reported as a survivor.
_GIVE_UP_S = 10.0


class Supervisor:
    """One command, its descendants, and the two pipes to the worker."""

    def __init__(self, control: int, report: int, worker: int) -> None:
        self._control, self._report, self._worker = control, report, worker
        self._is_child = os.getppid() == worker
        self._child = 0
        self._status: int | None = None
        self._wake = self._waker = -1
        self._childless = False

    def fork(self) -> bool:
        """Fork the command's process, in a process group of its own; True in the new process."""
        # The command must not hold the report open: its end tells the worker that all have ended.
        for descriptor in (self._control, self._report):
            os.set_inheritable(descriptor, False)  # noqa: FBT003 - it takes no keyword
        # Orphans below us become our children, daemons that fork twice included (prctl(2)).
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)
        self._wake, self._waker = _watch_signals()
        # Until it has signal handlers of its own, the new process has ours, which only note a
        # signal for us: a TERM in between would be lost, and the command would go on for its grace.
        signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
        self._child = os.fork()
        if self._child == 0:
            _detach()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP_SIGNALS)
        if self._child == 0:
            return True
        self._say(f"started {self._child}")
        return False

    def become(self, argv: list[str]) -> NoReturn:
        """Be the command, in its process."""
        # The report closes on exec, so that "failed" can only come from a command that never began.
        try:
            os.execvp(argv[0], argv)  # noqa: S606 - an argv list, which is the point
        except OSError as error:
            self._say(f"failed {error.errno}")
        finally:
            os._exit(127)

    def forget(self) -> None:
        """Close, in the command's process, what is between supervisor and worker."""
        for descriptor in (self._control, self._report, self._wake, self._waker):
            os.close(descriptor)

    def guard(self, grace: float, scratch: str) -> None:
        """Watch over the command to its end, end what it left behind, and report."""
        stopped = self.watch()
        leftovers = self.clear(grace)
        # A worker that stops a step may be killed before it removes the folder itself.
        if scratch and (stopped or self.orphaned):
            import shutil

            shutil.rmtree(scratch, ignore_errors=True)
        self.report_end(stopped=stopped, leftovers=leftovers)

    def watch(self) -> bool:
        """Wait for the command's end; True if a stop was asked for before it."""
        poller = select.poll()
        poller.register(self._control, select.POLLIN)
        poller.register(self._wake, select.POLLIN)
        while not self._reap():
            ready = dict(poller.poll(_LOOK_FOR_PARENT_MS))
            stop = self._wake in ready and any(s in _STOP_SIGNALS for s in os.read(self._wake, 512))
            if stop or self._control in ready or self.orphaned:
                return True
        return False

    @property
    def orphaned(self) -> bool:
        """Whether the worker is dead."""
        # An orphan is given to another parent at once. One that a forkserver has forked is no child
        # of the worker, and has only the worker's process id to look at.
        if self._is_child:
            return os.getppid() != self._worker
        worker = _stat(str(self._worker))
        return worker is None or worker[0] in b"ZX"

    def clear(self, grace: float) -> int:
        """End every descendant: TERM, ``grace`` seconds, KILL. Return how many there were."""
        first = self._alive()
        self._signal(first, signal.SIGTERM)
        self._wait_gone(time.monotonic() + grace)
        # Again and again: between the listing and the kill a process may have forked another.
        self._wait_gone(time.monotonic() + _GIVE_UP_S, signal.SIGKILL)
        return len(first)

    def report_end(self, *, stopped: bool, leftovers: int) -> None:
        """Report the end to the worker: raw wait status, whether stopped, leftovers, survivors."""
        status = -1 if self._status is None else self._status
        self._say(f"ended {status} {int(stopped)} {leftovers} {len(self._alive())}")

    def _reap(self) -> bool:
        """Collect what has ended; True once the command itself is among it."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                self._childless = True
                break
            if pid == 0:
                break
            if pid == self._child:
                self._status = status
        return self._status is not None

    def _wait_gone(self, deadline: float, number: int = 0) -> None:
        """Wait until no descendant is left; with a signal, send it again to every new one."""
        while True:
            self._reap()
            alive = self._alive()
            if not alive or time.monotonic() > deadline:
                return
            if number:
                self._signal(alive, number)
            time.sleep(_KILL_PAUSE_S if number else 4 * _KILL_PAUSE_S)

    def _alive(self) -> list[int]:
        """Return the process ids of all descendants that are not zombies."""
        # As their reaper we adopt orphans: without a child there is no descendant either.
        if self._childless and sys.platform.startswith("linux"):
            return []
        try:
            return descendants(os.getpid())
        except FileNotFoundError:
            # Without /proc the process group is all that can be looked at.
            return [self._child] if self._group_exists() else []

    def _group_exists(self) -> bool:
        try:
            os.killpg(self._child, 0)
        except OSError:
            return False
        return True

    def _signal(self, pids: list[int], number: int) -> None:
        for pid in pids:
            try:
                # A pid listed a moment ago may be gone, but hardly reused: its parent is ours too.
                os.kill(pid, number)
            except OSError:
                continue
        try:
            os.killpg(self._child, number)
        except OSError:
            return

    def _say(self, line: str) -> None:
        try:
            os.write(self._report, f"{line}\n".encode())
        except OSError:
            # The worker is dead: nobody reads the report.
            return


def _detach() -> None:
    """Reset signals, enter a process group of its own, and die with the supervisor."""
    signal.set_wakeup_fd(-1)
    # Python ignores the last two for itself, and ignored signals stay ignored over exec.
    for number in (*_STOP_SIGNALS, signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    os.setpgid(0, 0)
    end_with_parent(signal.SIGKILL)


def end_with_parent(number: int) -> None:
    """Have the kernel send this process a signal when its parent dies (prctl(2); Linux alone)."""
    _prctl(_PR_SET_PDEATHSIG, number)


def _prctl(option: int, value: int) -> None:
    if not sys.platform.startswith("linux"):
        return
    import ctypes

    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _watch_signals() -> tuple[int, int]:
    """Return a pipe from which the numbers of arriving signals can be read."""
    reading, writing = os.pipe()
    for descriptor in (reading, writing):
        os.set_blocking(descriptor, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, *_STOP_SIGNALS):
        signal.signal(number, _noted)
    return reading, writing


def _noted(_number: int, _frame: FrameType | None) -> None:
    """Do nothing: the wake-up descriptor has the number."""


def descendants(root: int) -> list[int]:
    """Return the living descendants of a process, from one pass over /proc."""
    children: dict[int, list[int]] = {}
    zombies = set()
    for name in os.listdir("/proc"):  # noqa: PTH208 - pathlib costs start-up time
        if name.isdigit() and (found := _stat(name)):
            state, parent = found
            children.setdefault(parent, []).append(int(name))
            if state in b"ZX":
                zombies.add(int(name))
    found_pids, queue = [], [root]
    while queue:
        below = children.get(queue.pop(), [])
        found_pids += below
        queue += below
    return [pid for pid in found_pids if pid not in zombies]


def _stat(pid: str) -> tuple[bytes, int] | None:
    """Return (state, parent) of a process, or None if it is gone (proc(5), /proc/pid/stat)."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:  # noqa: PTH123 - pathlib costs start-up time
            # The second field is the name in brackets, which may itself hold brackets and spaces.
            fields = stat.read().rpartition(b")")[2].split()
    except OSError:
        return None
    return fields[0], int(fields[1])


def main(argv: list[str]) -> int:
    """Guard one command; see the module's docstring for the arguments."""
    control, report, worker, grace, scratch, *command = argv
    supervisor = Supervisor(int(control), int(report), int(worker))
    if supervisor.fork():
        supervisor.become(command)
    supervisor.guard(float(grace), scratch)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
