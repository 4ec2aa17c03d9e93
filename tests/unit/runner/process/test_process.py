"""Commands under a supervisor: how they end, and that nothing of them stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.fixtures.machine import CHECKOUT

from understudy.errors import StepStoppedError
from understudy.runner.process.process import Command, Ending, ProcessRunner

pytestmark = pytest.mark.unit

TOKEN = f"{os.getpid()}.5"
"""Seconds for ``sleep`` that no other process uses: by it stragglers are found."""
NAP = f"sleep {TOKEN}"
SUPERVISOR = CHECKOUT / "plugins/understudy/runner/process/supervisor.py"


def command(line: str, folder: Path, **options: object) -> Command:
    """Return a shell line as a command with a short grace."""
    fields: dict[str, object] = {"grace": 0.3, **options}
    return Command(("bash", "-c", line), folder, dict(os.environ), **fields)  # type: ignore[arg-type]


def nobody_naps() -> bool:
    """Whether no process of these tests is left."""
    return not sleepers()


def sleepers() -> list[int]:
    """Return the processes that sleep for TOKEN seconds."""
    return [
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and _naps(entry)
    ]


def _naps(entry: Path) -> bool:
    try:
        return (entry / "cmdline").read_bytes().split(b"\0")[:2] == [b"sleep", TOKEN.encode()]
    except OSError:
        return False


@pytest.fixture(autouse=True)
def _no_stragglers(eventually: Callable[..., bool]) -> Iterator[None]:
    """No test leaves a process."""
    yield
    assert eventually(nobody_naps, 2.0), "a process outlived its supervisor"


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("true", "exit code 0"),
        ("exit 65", "exit code 65"),
        ("kill -9 $$", "signal 9 (SIGKILL)"),
        ("bash -c 'kill -11 $$'; exit $?", "signal 11 (SIGSEGV)"),
        ("exit 255", "exit code 255"),
    ],
)
def test_endings(line: str, shown: str, tmp_path: Path) -> None:
    """Exit codes and signals are told apart, a shell's 128 + n included."""
    ending = ProcessRunner().run(command(line, tmp_path), lambda _: None)
    assert str(ending) == shown
    assert ending.ok == (shown == "exit code 0")
    assert ("more memory than there is" in ending.likely_cause) == ("SIGKILL" in shown)


def test_output_comes_line_by_line_from_both_streams(tmp_path: Path) -> None:
    """In the order in which it was written, while the command runs."""
    times: dict[str, float] = {}
    line = "echo one; echo two >&2; sleep 0.5; printf three"
    ProcessRunner().run(
        command(line, tmp_path), lambda text: times.setdefault(text, time.monotonic())
    )
    assert list(times) == ["one", "two", "three"]
    assert times["three"] - times["two"] > 0.3


def test_much_output_and_a_slow_reader_do_not_block(tmp_path: Path) -> None:
    """Far more than a pipe holds, with noise."""
    count = 0

    def on_line(_line: str) -> None:
        nonlocal count
        count += 1

    line = "head -c 3000000 /dev/urandom; yes | head -n 100000"
    ending = ProcessRunner().run(command(line, tmp_path), on_line)
    assert ending.ok
    assert count > 100_000


def test_daemons_are_ended_with_the_command(tmp_path: Path) -> None:
    """Sessions of their own, double forks and ignored signals do not help them."""
    line = f"(setsid setsid {NAP} &) ; (trap '' TERM; setsid {NAP} & ) ; sleep 0.5"
    ending = ProcessRunner().run(command(line, tmp_path), lambda _: None)
    assert ending.ok
    assert ending.leftovers >= 2
    assert nobody_naps()


def test_timeout(tmp_path: Path) -> None:
    """Time is up, TERM is ignored, KILL is not."""
    started = time.monotonic()
    line = f"trap '' TERM; {NAP} & {NAP}"
    ending = ProcessRunner().run(command(line, tmp_path, timeout=0.3), lambda _: None)
    assert (ending.timed_out, ending.stopped, ending.ok) == (True, False, False)
    assert time.monotonic() - started < 3


def test_stop_from_another_thread_waits_until_all_is_gone(
    eventually: Callable[..., bool], tmp_path: Path
) -> None:
    """Well within the five seconds that Airflow gives; nothing starts afterwards."""
    process_runner = ProcessRunner()
    endings: list[Ending] = []
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    naps = command(f"trap '' TERM; while :; do {NAP}; done", tmp_path, scratch=scratch)
    run = threading.Thread(target=lambda: endings.append(process_runner.run(naps, lambda _: None)))
    run.start()
    assert eventually(lambda: len(sleepers()) > 0)
    process_runner.stop()
    assert nobody_naps()
    assert not scratch.exists()  # Airflow may kill a worker that was told to stop
    run.join(5)
    assert endings[0].stopped
    with pytest.raises(StepStoppedError):
        process_runner.run(command("true", tmp_path), lambda _: None)


def test_a_stop_is_told_while_the_command_is_still_being_ended(
    eventually: Callable[..., bool], tmp_path: Path
) -> None:
    """Once, in the thread that runs it, before one that ignores TERM is killed."""
    process_runner = ProcessRunner()
    told: list[tuple[int, bool]] = []

    def on_line(_: str) -> None:
        threading.Thread(target=process_runner.stop).start()

    ending = process_runner.run(
        command(f"trap '' TERM; {NAP} & echo up; wait", tmp_path),
        on_line,
        lambda: told.append((threading.get_ident(), eventually(lambda: len(sleepers()) == 1))),
    )
    assert told == [(threading.get_ident(), True)]
    assert ending.stopped


def test_stop_in_a_signal_handler_on_top_of_run(tmp_path: Path) -> None:
    """As Airflow's on_kill is called: in the thread that is in run()."""
    process_runner = ProcessRunner()
    before = signal.signal(signal.SIGALRM, lambda *_: process_runner.stop())
    signal.setitimer(signal.ITIMER_REAL, 0.4)
    try:
        ending = process_runner.run(command(NAP, tmp_path), lambda _: None)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert ending.stopped


def test_a_stop_at_the_very_start_is_not_lost() -> None:
    """It reaches the command in the moment between fork and exec, on a busy machine a long one."""
    control, ask = os.pipe()
    report, report_end = os.pipe()
    os.write(ask, b"s")
    arguments = (control, report_end, os.getpid(), 30.0, "", "sleep", TOKEN)
    program = (
        f"import os, sys, time; sys.path.insert(0, {str(SUPERVISOR.parent)!r}); import supervisor;"
        "os.register_at_fork(after_in_child=lambda: time.sleep(0.5));"
        "sys.exit(supervisor.main(sys.argv[1:]))"
    )
    began = time.monotonic()
    subprocess.run(
        [sys.executable, "-I", "-S", "-c", program, *map(str, arguments)],
        pass_fds=(control, report_end),
        check=True,
    )
    os.close(report_end)
    with os.fdopen(report) as lines:
        *_, ended = lines
    assert ended == f"ended {signal.SIGTERM:d} 1 1 0\n"
    assert time.monotonic() - began < 15
    os.close(control)
    os.close(ask)


def test_an_exception_on_top_of_run_ends_the_command(tmp_path: Path) -> None:
    """As Airflow's execution time-out is raised: out of a signal handler."""

    class TimeoutFromOutside(BaseException):
        pass

    def strike(*_: object) -> None:
        raise TimeoutFromOutside

    before = signal.signal(signal.SIGALRM, strike)
    signal.setitimer(signal.ITIMER_REAL, 0.4)
    try:
        with pytest.raises(TimeoutFromOutside):
            ProcessRunner().run(command(f"trap '' TERM; {NAP}; {NAP}", tmp_path), lambda _: None)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert nobody_naps()


def test_a_command_that_cannot_be_executed(tmp_path: Path) -> None:
    """The reason is the operating system's."""
    with pytest.raises(FileNotFoundError):
        ProcessRunner().run(Command(("no-such-command",), tmp_path, dict(os.environ)), print)
    with pytest.raises(FileNotFoundError):
        ProcessRunner().run(command("true", tmp_path / "nowhere"), print)


WORKER = """
import os, sys
from pathlib import Path
from understudy.runner.process.process import Command, ProcessRunner
folder = Path(sys.argv[1])
(folder / "scratch").mkdir()
line = sys.argv[2]
ProcessRunner().run(
    Command(("bash", "-c", line), folder, dict(os.environ), grace=0.3, scratch=folder / "scratch"),
    lambda line: print(line, flush=True),
)
"""


def start_worker(folder: Path, line: str) -> subprocess.Popen[bytes]:
    """Start a process that runs a command, and wait until the command says something."""
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(folder), line],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": ":".join(sys.path)},
    )
    assert worker.stdout
    assert worker.stdout.readline() == b"started\n"
    return worker


def test_kill_9_of_the_worker_ends_everything(
    eventually: Callable[..., bool], tmp_path: Path
) -> None:
    """The supervisor sees its pipe close, ends the tree and removes the scratch folder."""
    line = f"(trap '' TERM; setsid {NAP} &) ; {NAP} & echo started; wait"
    with start_worker(tmp_path, line) as worker:
        assert eventually(lambda: len(sleepers()) == 2)
        worker.kill()
    assert eventually(nobody_naps)
    assert eventually(lambda: not (tmp_path / "scratch").exists())


def test_kill_9_of_the_guardian_ends_the_command(tmp_path: Path) -> None:
    """The command dies with its supervisor, and the worker gets an ending."""
    supervisors: list[int] = []

    def on_line(line: str) -> None:
        supervisors.append(int(line))
        os.kill(int(line), signal.SIGKILL)

    ending = ProcessRunner().run(command(f"echo $PPID; {NAP} & {NAP}", tmp_path), on_line)
    assert supervisors
    assert not ending.ok


def test_kill_9_of_the_guardian_ends_daemons_too(
    eventually: Callable[..., bool], tmp_path: Path
) -> None:
    """Nobody reaps them then, but they have the attempt's own temporary folder."""

    def on_line(line: str) -> None:
        assert eventually(lambda: len(sleepers()) == 3)
        os.kill(int(line), signal.SIGKILL)

    mine = {**os.environ, "TMPDIR": str(tmp_path / "tmp")}
    line = f"setsid {NAP} & (setsid {NAP} &); echo $PPID; {NAP}"
    daemons = Command(("bash", "-c", line), tmp_path, mine, grace=0.3, scratch=tmp_path)
    assert not ProcessRunner().run(daemons, on_line).ok
    assert eventually(nobody_naps)


def test_no_ending_is_lost(tmp_path: Path) -> None:
    """Output and report may end in the same moment; the report counts, many times over."""
    process_runner = ProcessRunner()
    for _ in range(15):
        assert (
            process_runner.run(command("exit 7", tmp_path), lambda _: time.sleep(0.01)).exit_code
            == 7
        )


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    """After many commands as before."""
    process_runner = ProcessRunner()
    process_runner.run(command("true", tmp_path), lambda _: None)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        process_runner.run(command("true", tmp_path), lambda _: None)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
