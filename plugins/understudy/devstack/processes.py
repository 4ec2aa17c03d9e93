"""Starts programs in sessions of their own, and ends exactly those again.

`start` writes a log file; `end` sends signals to processes whose identity was checked right before.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from understudy.devstack.errors import StackError
from understudy.devstack.identity import Identity, descendants, marked, session

PATIENCE = 15.0
"""Seconds that a program has between SIGTERM and SIGKILL."""
_STEP = 0.1

# The program waits until the caller has written down who it is: a caller that is killed before
# that closes the pipe, and the program never begins. So nothing runs that no record knows of.
_GATE = 'read -r go && exec "$@" </dev/null'


@dataclass(frozen=True)
class Program:
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


def start(program: Program, record: Callable[[Identity], None]) -> subprocess.Popen[bytes]:
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

    Only leaders are asked to stop; each ends its own children. What outlives `patience` seconds,
    and what a leader left behind when it died, is killed.
    """
    family = _family(leaders, home)
    asked = [leader for leader in leaders if leader.alive()]
    for leader in asked:
        send(leader, signal.SIGTERM)
    deadline = time.monotonic() + patience
    while any(leader.alive() for leader in asked) and time.monotonic() < deadline:
        time.sleep(_STEP)
        family |= _family(leaders, home)
    kill(family | _family(leaders, home))


def kill(processes: set[Identity]) -> None:
    """Kills these processes and waits until they are gone."""
    for process in processes:
        send(process, signal.SIGKILL)
    deadline = time.monotonic() + PATIENCE
    while any(process.alive() for process in processes) and time.monotonic() < deadline:
        time.sleep(_STEP)


def kill_marked(variable: str, value: str) -> None:
    """Kills whatever carries our mark in its environment and is still there."""
    kill(marked(variable, value))


def send(process: Identity, number: signal.Signals) -> None:
    """Sends a signal, if this very process still lives."""
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
