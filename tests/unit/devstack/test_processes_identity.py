"""Identities and endings of real processes: only what was started is ever ended."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from understudy.devstack import processes
from understudy.devstack.processes import Identity, marked, session

SLEEP = "import time; time.sleep(60)"
STUBBORN = (
    "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    f"print('on', flush=True); {SLEEP}"
)
PARENT = (
    "import subprocess, sys; "
    f"print(subprocess.Popen([sys.executable, '-c', {SLEEP!r}]).pid, flush=True); {SLEEP}"
)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Identity]]:
    """Return a function that starts Python code as a program of a stack."""
    started: list[tuple[subprocess.Popen[bytes], Identity]] = []

    def begin(code: str, **variables: str) -> Identity:
        kept: list[Identity] = []
        program = processes.StackProgram(
            "program",
            [sys.executable, "-c", code],
            {**os.environ, **variables},
            tmp_path,
            tmp_path / "log",
        )
        started.append((processes.start(program, kept.append), kept[0]))
        return kept[0]

    yield begin
    for process, identity in started:
        processes.kill(session(identity, tmp_path))
        process.wait()


def _first_line(eventually: Callable[..., bool], tmp_path: Path) -> str:
    log = tmp_path / "log"
    assert eventually(lambda: log.exists() and "\n" in log.read_text(), 20)
    return log.read_text().splitlines()[0]


def test_a_process_is_itself_until_it_ends(start: Callable[..., Identity], tmp_path: Path) -> None:
    """The identity of a zombie or of nobody does not live."""
    identity = start(SLEEP)
    assert identity == Identity.of(identity.pid)
    assert identity.alive()
    processes.end([identity], tmp_path)
    assert not identity.alive()


def test_a_reused_process_id_is_left_alone(start: Callable[..., Identity], tmp_path: Path) -> None:
    """A record of a process that is long gone never hits the one that has its id now."""
    bystander = start(SLEEP)
    recorded = Identity(bystander.pid, "another birth")
    processes.end([recorded], tmp_path)
    assert bystander.alive()


def test_what_a_killed_leader_left_behind_is_ended(
    eventually: Callable[..., bool], start: Callable[..., Identity], tmp_path: Path
) -> None:
    """SIGKILL of the leader leaves its children; they are found by their session."""
    leader = start(PARENT)
    child = Identity.of(int(_first_line(eventually, tmp_path)))
    assert child is not None
    os.kill(leader.pid, signal.SIGKILL)
    assert eventually(lambda: not leader.alive(), 20)
    assert child.alive()
    processes.end([leader], tmp_path)
    assert not child.alive()


def test_the_left_behind_of_a_foreign_session_are_not_ours(
    eventually: Callable[..., bool], start: Callable[..., Identity], tmp_path: Path
) -> None:
    """Without their leader, only processes that work below the stack's folder count."""
    leader = start(PARENT)
    child = Identity.of(int(_first_line(eventually, tmp_path)))
    os.kill(leader.pid, signal.SIGKILL)
    assert eventually(lambda: not leader.alive(), 20)
    assert session(leader, tmp_path / "elsewhere") == set()
    assert session(leader, tmp_path) == {child}


def test_a_program_that_ignores_the_request_is_killed(
    eventually: Callable[..., bool], start: Callable[..., Identity], tmp_path: Path
) -> None:
    """SIGKILL follows when the patience is over."""
    stubborn = start(STUBBORN)
    assert _first_line(eventually, tmp_path) == "on"
    processes.end([stubborn], tmp_path, patience=0.3)
    assert not stubborn.alive()


def test_processes_are_found_by_their_mark(
    eventually: Callable[..., bool], start: Callable[..., Identity]
) -> None:
    """What fell out of every session still carries the stack's word."""
    identity = start(SLEEP, UNDERSTUDY_TEST_MARK="here")
    assert eventually(lambda: marked("UNDERSTUDY_TEST_MARK", "here") == {identity}, 20)
    assert marked("UNDERSTUDY_TEST_MARK", "there") == set()


def test_a_program_does_not_begin_before_it_is_recorded(
    eventually: Callable[..., bool], tmp_path: Path
) -> None:
    """When keeping the identity fails, nothing has run and nothing is left."""
    seen: list[Identity] = []

    def refuse(identity: Identity) -> None:
        seen.append(identity)
        raise RuntimeError

    argv = [sys.executable, "-c", "open('began', 'w')"]
    program = processes.StackProgram("program", argv, os.environ, tmp_path, tmp_path / "log")
    with pytest.raises(RuntimeError):
        processes.start(program, refuse)
    assert eventually(lambda: not seen[0].alive(), 20)
    assert not (tmp_path / "began").exists()
