"""Starts programs in sessions of their own, and ends exactly those again.

Signals go to processes whose identity was checked right before: process ids are used again. Which
programs a stack started is one JSON file, replaced whole at each change.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import psutil

from understudy.errors import UnderstudyError


class StackError(UnderstudyError):
    """The local stack cannot be started, followed or ended."""


@dataclass(frozen=True)
class Identity:
    """One process: its id, which is reused after its end, and when it started, which is not.

    Attributes:
        pid: The process id.
        birth: A value that no other process with this id ever has: the boot and the clock tick of
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
        # Other users' processes may not be read, and any may end meanwhile: neither is ours to end.
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


# A clean stop of Airflow takes 3 to 7 s, MLflow's job consumers need some 10 s.
PATIENCE = 15.0
"""Seconds that a program has between SIGTERM and SIGKILL."""
_STEP = 0.1

# The program waits until the caller has written down who it is: a caller that is killed before
# that closes the pipe, and the program never begins. So nothing runs that no record knows of.
_GATE = 'read -r go && exec "$@" </dev/null'


@dataclass(frozen=True)
class StackProgram:
    """What to start.

    Attributes:
        name: Its name in messages and in the record.
        argv: The program and its arguments; no secret is ever among them.
        environment: All of its environment variables.
        home: Its working directory.
        log: The file that its output is appended to.
    """

    name: str
    argv: Sequence[str]
    environment: Mapping[str, str]
    home: Path
    log: Path


def start(program: StackProgram, record: Callable[[Identity], None]) -> subprocess.Popen[bytes]:
    """Starts a program in a session of its own, after `record` has kept its identity.

    Raises:
        StackError: the process was gone before it could be recorded.
    """
    with program.log.open("ab") as log:
        process = subprocess.Popen(
            ["/bin/sh", "-c", _GATE, program.name, *program.argv],
            env=dict(program.environment),
            cwd=program.home,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    identity = Identity.of(process.pid)
    if identity is None or process.stdin is None:
        raise StackError(
            f"{program.name} ended before it began; its output is in {program.log}",
            allowed="a machine that can start one more process",
            action="read that file, and free memory or processes",
        )
    # Closing stdin without a line makes `read` fail: the shell ends, the program never starts.
    try:
        with process.stdin:
            record(identity)
            process.stdin.write(b"go\n")
    except BaseException:
        process.wait()
        raise
    return process


def end(leaders: Sequence[Identity], home: Path, patience: float = PATIENCE) -> None:
    """Ends the sessions of these leaders: SIGTERM to each leader, then SIGKILL to what is left.

    Only leaders are signalled; each ends its own children. What outlives `patience` seconds,
    and what a leader left behind when it died, is killed.
    """
    # Noted before any signal: a child whose parent has died is nobody's descendant any more. Only
    # leaders get SIGTERM, and once: a second one may leave Airflow's scheduler (3.3) hanging.
    family = _family(leaders, home)
    living = [leader for leader in leaders if leader.alive()]
    for leader in living:
        send(leader, signal.SIGTERM)
    deadline = time.monotonic() + patience
    while any(leader.alive() for leader in living) and time.monotonic() < deadline:
        time.sleep(_STEP)
        family |= _family(leaders, home)
    kill(family | _family(leaders, home))


def kill_at_once(leaders: Sequence[Identity], home: Path) -> None:
    """Kills the sessions of these leaders, and all that they have started, without a request."""
    kill(_family(leaders, home))


def kill(processes: set[Identity]) -> None:
    """Kills these processes and waits until they are gone."""
    for process in processes:
        send(process, signal.SIGKILL)
    deadline = time.monotonic() + PATIENCE
    while any(process.alive() for process in processes) and time.monotonic() < deadline:
        time.sleep(_STEP)


def kill_marked(variable: str, value: str) -> None:
    """Kills what is left of the processes that carry this mark in their environment."""
    kill(marked(variable, value))


def send(process: Identity, number: signal.Signals) -> None:
    """Sends a signal, if this very process still lives."""
    # It may end between the check and the signal. Ids are given out in turn, so that no other
    # process has its id that soon.
    if process.pid != os.getpid() and process.alive():
        try:
            os.kill(process.pid, number)
        except ProcessLookupError:
            return


def _family(leaders: Sequence[Identity], home: Path) -> set[Identity]:
    members: set[Identity] = set()
    for leader in leaders:
        members |= session(leader, home)
    return members | descendants(members)


@dataclass(frozen=True)
class ProcessRecord:
    """What was started.

    Attributes:
        mark: A random token that every process of the stack carries in its environment.
        processes: The leaders of the sessions, by component.
    """

    mark: str = field(default_factory=lambda: secrets.token_hex(16))
    processes: Mapping[str, Identity] = field(default_factory=dict)

    def with_process(self, name: str, identity: Identity) -> ProcessRecord:
        """The record with one more process."""
        return replace(self, processes={**self.processes, name: identity})

    def alive(self) -> dict[str, bool]:
        """Whether each component's process lives."""
        return {name: identity.alive() for name, identity in self.processes.items()}


def read(path: Path) -> ProcessRecord | None:
    """The record; None when nothing was started.

    Raises:
        StackError: the file is not one that this program wrote.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
        processes = {name: Identity(**value) for name, value in content["processes"].items()}
        return ProcessRecord(content["mark"], processes)
    except FileNotFoundError:
        return None
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise StackError(
            f"{path} is not a record of a stack ({error})",
            allowed="the file as it was written",
            action="end what still runs by hand, then remove the file",
        ) from error


def write(path: Path, record: ProcessRecord) -> None:
    """Writes the record so that it is whole or not there, even if the power fails."""
    processes = {
        name: {"pid": process.pid, "birth": process.birth}
        for name, process in record.processes.items()
    }
    draft = path.with_suffix(".draft")
    with draft.open("w", encoding="utf-8") as handle:
        json.dump({"mark": record.mark, "processes": processes}, handle, indent=2)
        handle.flush()
        os.fsync(handle.fileno())
    draft.replace(path)


@contextmanager
def exclusively(path: Path) -> Iterator[None]:
    """Holds the stack's lock, so that it is not started and ended at the same time.

    Raises:
        StackError: another program holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StackError(
                f"Another make is starting or ending this stack (it holds {path})",
                allowed="one at a time",
                action="wait until it is done, or end it, then run this again",
            ) from error
        yield
