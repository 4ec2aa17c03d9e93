"""Runs one command under a supervisor and passes its lines on. Starts, watches and ends it."""

from __future__ import annotations

import codecs
import contextlib
import os
import re
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from understudy.errors import StepStoppedError
from understudy.redact import visible
from understudy.runner.process.warm import Channel, Conditions, Forkservers, WarmStart

LINE_LIMIT = 32_768
"""Longest line, in characters, that is passed on in one piece."""
PROGRESS_EVERY = 5.0
"""Seconds between two states of a progress bar that are passed on."""


class LineCutter:
    r"""Turns chunks of bytes into lines of text.

    Text is UTF-8, with U+FFFD for what is not; what cannot be seen is made visible, colours go.
    A line ends at ``\n`` or ``\r\n``, or at LINE_LIMIT. After a lone ``\r`` the next text
    overwrites: of such a progress bar the last state is passed on, and one every PROGRESS_EVERY
    seconds.

    Args:
        clock: Returns seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._clock = clock
        self._rest = ""
        self._shown_at = clock()

    def feed(self, chunk: bytes, *, final: bool = False) -> Iterator[str]:
        """Yield the lines that ``chunk`` completes; with ``final``, also what is left over."""
        *complete, self._rest = (self._rest + self._decoder.decode(chunk, final)).split("\n")
        for line in complete:
            yield from _pieces(line.rstrip("\r").rpartition("\r")[2])
        yield from self._progress()
        # A program that never ends its line must not fill the worker's memory.
        while len(self._rest) > LINE_LIMIT:
            piece, self._rest = self._rest[:LINE_LIMIT], self._rest[LINE_LIMIT:]
            yield visible(piece)
        if final and self._rest:
            rest, self._rest = self._rest, ""
            yield from _pieces(rest.rstrip("\r").rpartition("\r")[2])

    def _progress(self) -> Iterator[str]:
        """Drop the overwritten states of an unfinished line; now and then show the newest one."""
        *overwritten, newest = self._rest.rsplit("\r", 2)
        if not overwritten or not self._rest.strip("\r"):
            return
        # A "\r" at the very end may be half of a "\r\n" that comes with the next chunk.
        if newest == "":
            state, self._rest = overwritten[-1], overwritten[-1] + "\r"
        else:
            state, self._rest = overwritten[-1], newest
        if state and self._clock() - self._shown_at >= PROGRESS_EVERY:
            self._shown_at = self._clock()
            yield from _pieces(state.rpartition("\r")[2])


def _pieces(line: str) -> Iterator[str]:
    for start in range(0, len(line) or 1, LINE_LIMIT):
        yield visible(line[start : start + LINE_LIMIT])


_PROC: Final = Path("/proc")
_PAUSE_S: Final = 0.02
# What keeps on forking is killed again and again, for about a second.
_LOOKS: Final = 50


# An attempt's ``TMPDIR`` is its own, and whatever it starts inherits it: when the supervisor that
# would have reaped a daemon was itself killed, this is what still leads to the daemon.
def end_orphans(temporary: str) -> None:
    """Kill every process of this user that was started with this ``TMPDIR``."""
    if not _PROC.is_dir():
        return
    for _ in range(_LOOKS):
        orphans = _started_with(f"TMPDIR={temporary}".encode())
        for pid in orphans:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if not orphans:
            return
        time.sleep(_PAUSE_S)


def _started_with(variable: bytes) -> list[int]:
    found = []
    for entry in _PROC.iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                # Empty for a zombie; of other users' processes it cannot be read (proc(5)).
                variables = (entry / "environ").read_bytes().split(b"\0")
            except OSError:
                continue
            if variable in variables:
                found.append(int(entry.name))
    return found


_VMSTAT = Path("/proc/vmstat")


def oom_kills(statistics: Path = _VMSTAT) -> int:
    """Return how many processes this kernel has ended for lack of memory; 0 where it counts none.

    Containers count with their host (proc_vmstat(5)).
    """
    try:
        counted = re.search(
            r"^oom_kill (\d+)$", statistics.read_text(encoding="ascii"), re.MULTILINE
        )
    except OSError:
        return 0
    return int(counted[1]) if counted else 0


OnLine = Callable[[str], None]

_SUPERVISOR = Path(__file__).with_name("supervisor.py")
# Bytes: what a Linux pipe holds (pipe(7)).
_CHUNK = 65_536
_LAST_OUTPUT_S = 1.0
# A supervisor has nothing left to do after its report, but the machine may be busy.
_SUPERVISOR_EXIT_S = 10.0
_SHELL_SIGNAL_BASE = 128


def _nothing() -> None:
    """Do nothing when a command is being stopped."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command to run.

    ``timeout`` and ``grace`` are seconds. ``held_descriptors`` are kept open in the supervisor and
    the command, so that locks on them last until both are gone. ``scratch`` is a folder that the
    supervisor removes if we die; the command's ``TMPDIR`` is then its own. ``warm`` says how a
    forkserver may run the same; ``argv`` is what is run where it cannot.
    """

    argv: tuple[str, ...]
    folder: Path
    environment: Mapping[str, str] = field(repr=False)
    timeout: float | None = None
    grace: float = 3.0
    held_descriptors: tuple[int, ...] = ()
    scratch: Path | None = None
    warm: WarmStart | None = None


@dataclass(frozen=True, slots=True)
class Ending:
    """How a command ended.

    ``exit_code`` is negative for a signal, as in ``subprocess``. ``leftovers`` counts the
    processes that it left behind and that were ended, ``survivors`` those that could not be.
    ``out_of_memory`` says that the kernel ended processes for lack of memory meanwhile.
    """

    exit_code: int
    stopped: bool = False
    timed_out: bool = False
    leftovers: int = 0
    survivors: int = 0
    out_of_memory: bool = False

    @property
    def ok(self) -> bool:
        """Whether the command ended by itself, with exit code 0."""
        return self.exit_code == 0 and not self.stopped and not self.timed_out

    @property
    def signal(self) -> int | None:
        """The signal that ended it; a shell reports its command's as 128 + number."""
        number = -self.exit_code if self.exit_code < 0 else self.exit_code - _SHELL_SIGNAL_BASE
        return number if number in _SIGNAL_NUMBERS else None

    @property
    def likely_cause(self) -> str:
        """The usual cause of such an end, to append to a sentence; '' where the end names it."""
        # Linux's OOM killer sends SIGKILL; neither the process nor its parent learns the reason.
        if self.signal != signal.SIGKILL or self.stopped or self.timed_out:
            return ""
        if self.out_of_memory:
            return ", as the kernel ends processes when memory runs out, and did at that time"
        return ", most often because it took more memory than there is"

    def __str__(self) -> str:
        number = self.signal
        if number is None:
            return f"exit code {self.exit_code}"
        return f"signal {number} ({signal.Signals(number).name})"


_SIGNAL_NUMBERS = frozenset(int(number) for number in signal.Signals)


class ProcessRunner:
    """Runs commands one after the other; ``stop`` ends the current one and forbids the next."""

    def __init__(self, forkservers: Forkservers | None = None) -> None:
        self._forkservers = forkservers
        # Re-entrant: stop() may run in a signal handler, on top of the very code that holds it.
        self._lock = threading.RLock()
        self._control: int | None = None
        self._wake: int | None = None
        self._stopped = False
        self._idle = threading.Event()
        self._idle.set()
        self._runner: int | None = None

    def stop(self, wait: float = 4.0) -> None:
        """End the running command and everything it started; nothing starts afterwards.

        Safe in a signal handler and from any thread. From another thread it waits up to ``wait``
        seconds until all is gone; in a handler on top of ``run`` it must not, ``run`` goes on.
        """
        # Before the pipes are looked at: a command that is just being started looks at this after
        # it has made them, so that one of the two sees the other.
        self._stopped = True
        with self._lock:
            self._ask_to_stop()
        if self._runner not in {None, threading.get_ident()}:
            self._idle.wait(wait)

    def check(self) -> None:
        """Raise StepStoppedError once ``stop`` was called."""
        if self._stopped:
            raise StepStoppedError(
                "The step was stopped from outside",
                allowed="a step that runs to its own end",
                action="run it again if that was not meant",
            )

    def run(
        self, command: Command, on_line: OnLine, on_stop: Callable[[], None] = _nothing
    ) -> Ending:
        """Run a command to its end, passing each line of its output to ``on_line``.

        ``on_stop`` is called, in the thread that called ``run``, as soon as ``stop`` was: while the
        command is still being ended.

        Raises:
            StepStoppedError: if ``stop`` was called before it could start.
            OSError: if the command cannot be executed.
        """
        self._runner = threading.get_ident()
        self._idle.clear()
        killed = oom_kills()
        try:
            self.check()
            with self._started(command, on_line) as guarded:
                ending = guarded.follow(on_line, on_stop, command.timeout)
            return replace(ending, out_of_memory=oom_kills() > killed)
        finally:
            self._runner = None
            self._idle.set()

    @contextlib.contextmanager
    def _started(self, command: Command, on_line: OnLine) -> Iterator[_Guarded]:
        # Two pipes for a stop: closing or writing `control` reaches the supervisor, also when this
        # process dies; `wake` ends the poll of our own thread, which a signal handler cannot.
        control_end, self._control = os.pipe()
        wake, self._wake = os.pipe()
        report, report_end = os.pipe()
        output, output_end = os.pipe()
        channel = Channel(output_end, control_end, report_end, command.held_descriptors)
        try:
            supervisor = self._start(command, channel, on_line)
        except BaseException:
            self._close_ends()
            for end in (wake, report, output):
                os.close(end)
            raise
        finally:
            # Else our own copies would keep the pipes open, and their end could never be read.
            for end in (control_end, report_end, output_end):
                os.close(end)
        ends = _Ends(output, report, wake)
        guarded = _Guarded(command, supervisor, ends, self._close_control)
        try:
            with self._lock:
                if self._stopped:
                    self._ask_to_stop()
            yield guarded
        finally:
            self._close_ends()
            guarded.close(command.grace)

    def _start(
        self, command: Command, channel: Channel, on_line: OnLine
    ) -> subprocess.Popen[bytes] | None:
        """Start a supervisor with the command; None where a forkserver has forked it."""
        if command.warm is None or self._forkservers is None:
            return _start_supervisor(command, channel)
        around = Conditions(command.folder, command.environment, command.grace, command.scratch)
        reason = self._forkservers.launch(command.warm, around, channel)
        if not reason:
            return None
        on_line(f"Not started from a forkserver: {reason}")
        return _start_supervisor(command, channel)

    def _ask_to_stop(self) -> None:
        for end in (self._control, self._wake):
            if end is not None:
                # The command may just have ended by itself.
                with contextlib.suppress(BrokenPipeError):
                    os.write(end, b"s")

    def _close_control(self) -> None:
        with self._lock:
            control, self._control = self._control, None
        if control is not None:
            os.close(control)

    def _close_ends(self) -> None:
        self._close_control()
        with self._lock:
            wake, self._wake = self._wake, None
        if wake is not None:
            os.close(wake)


def _start_supervisor(command: Command, channel: Channel) -> subprocess.Popen[bytes]:
    known = (channel.control, channel.report, os.getpid(), command.grace, command.scratch or "")
    return subprocess.Popen(
        [sys.executable, "-I", "-S", str(_SUPERVISOR), *map(str, known), *command.argv],
        cwd=command.folder,
        env=dict(command.environment),
        stdin=subprocess.DEVNULL,
        stdout=channel.output,
        stderr=subprocess.STDOUT,
        pass_fds=(channel.control, channel.report, *channel.held),
        start_new_session=True,
    )


@dataclass(frozen=True, slots=True)
class _Ends:
    """Our ends of the pipes: the command's output, the supervisor's report, a stop from here."""

    output: int
    report: int
    wake: int

    def close(self) -> None:
        for end in (self.output, self.report, self.wake):
            os.close(end)


class _Guarded:
    """A running supervisor: its output, its report, its end.

    One that a forkserver forked is no child of ours: it has ended when its report is closed.
    """

    def __init__(
        self,
        command: Command,
        supervisor: subprocess.Popen[bytes] | None,
        ends: _Ends,
        ask_to_stop: Callable[[], None],
    ) -> None:
        self._command, self._supervisor = command, supervisor
        self._ends, self._ask_to_stop = ends, ask_to_stop
        self._report_bytes = b""
        self._timed_out = self._reported = False

    def follow(self, on_line: OnLine, on_stop: Callable[[], None], timeout: float | None) -> Ending:
        """Pass lines on until the command and all it started are gone."""
        cutter = LineCutter()
        for chunk in self._chunks(on_stop, timeout):
            for line in cutter.feed(chunk):
                on_line(line)
        for line in cutter.feed(b"", final=True):
            on_line(line)
        return self._ending()

    def close(self, grace: float) -> None:
        """Wait until the supervisor has ended everything, whatever else happens."""
        try:
            if not self._gone(0):
                self._discard(time.monotonic() + grace + _LAST_OUTPUT_S)
            # One that needs longer goes on without us: control is closed, it will end by itself.
            self._gone(_LAST_OUTPUT_S)
        finally:
            self._ends.close()

    def _gone(self, seconds: float) -> bool:
        """Whether the supervisor ends within some time; what it still reports is kept."""
        deadline = time.monotonic() + seconds
        poller = select.poll()
        poller.register(self._ends.report, select.POLLIN)
        while poller.poll(_milliseconds(deadline)):
            if not (chunk := os.read(self._ends.report, _CHUNK)):
                return self._waited_for(deadline)
            self._report_bytes += chunk
        return False

    def _waited_for(self, deadline: float) -> bool:
        if self._supervisor is None:
            return True
        try:
            self._supervisor.wait(max(deadline - time.monotonic(), _LAST_OUTPUT_S))
        except subprocess.TimeoutExpired:
            return False
        return True

    def _chunks(self, on_stop: Callable[[], None], timeout: float | None) -> Iterator[bytes]:
        """Yield output until it is closed, or until it dries up after the supervisor's report."""
        deadline = None if timeout is None else time.monotonic() + timeout
        poller = select.poll()
        for descriptor in (self._ends.output, self._ends.report, self._ends.wake):
            poller.register(descriptor, select.POLLIN)
        while True:
            for descriptor, _ in poller.poll(_milliseconds(deadline)):
                chunk = os.read(descriptor, _CHUNK)
                if descriptor == self._ends.wake:
                    poller.unregister(descriptor)
                    on_stop()
                elif descriptor == self._ends.output:
                    if not chunk:
                        return
                    yield chunk
                elif chunk:
                    self._report_bytes += chunk
                else:
                    # All that could be ended has ended. A process that escaped may hold the output
                    # open for ever: only what is in the pipe already is still read.
                    poller.unregister(descriptor)
                    deadline, self._reported = time.monotonic() + _LAST_OUTPUT_S, True
            if deadline is not None and time.monotonic() > deadline:
                if self._reported:
                    return
                self._timed_out, deadline = True, None
                self._ask_to_stop()

    def _discard(self, deadline: float) -> None:
        """Read and drop output, so that nothing blocks on a full pipe while it is being ended."""
        poller = select.poll()
        poller.register(self._ends.output, select.POLLIN)
        while time.monotonic() < deadline:
            if poller.poll(_milliseconds(deadline)) and not os.read(self._ends.output, _CHUNK):
                return

    def _ending(self) -> Ending:
        # Output may have ended in the very moment of the report, and been read before it.
        self._gone(_SUPERVISOR_EXIT_S)
        # Lines of "word rest", as Supervisor._say writes them: started, failed, ended.
        reports = dict(line.split(" ", 1) for line in self._report_bytes.decode().splitlines())
        if "failed" in reports:
            number = int(reports["failed"])
            raise OSError(number, os.strerror(number))
        if "ended" not in reports:
            return self._supervisor_lost(int(reports.get("started", 0)))
        status, stopped, leftovers, survivors = map(int, reports["ended"].split())
        return Ending(
            exit_code=os.waitstatus_to_exitcode(status) if status >= 0 else -signal.SIGKILL,
            stopped=bool(stopped) and not self._timed_out,
            timed_out=self._timed_out,
            leftovers=leftovers,
            survivors=survivors,
        )

    def _supervisor_lost(self, child: int) -> Ending:
        """End what can be reached when the supervisor itself was killed."""
        if child:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)
        temporary = self._command.environment.get("TMPDIR")
        if self._command.scratch is not None and temporary:
            end_orphans(temporary)
        return Ending(
            exit_code=(self._supervisor and self._supervisor.returncode) or -signal.SIGKILL
        )


def _milliseconds(deadline: float | None) -> int | None:
    return None if deadline is None else max(0, int((deadline - time.monotonic()) * 1000) + 1)
