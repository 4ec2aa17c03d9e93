"""Ctrl-C, as a terminal sends it: the command and all that it started are gone at once.

Each on real processes, with a server that hangs or a step that wants to go on.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import pytest

from understudy.devstack import processes, settings

pytestmark = pytest.mark.integration

LATEST_S = 8.0
"""Two on a quiet machine; four times as much where others compute beside the tests."""


@pytest.fixture(autouse=True)
def _interruptible() -> Iterator[None]:
    """Let Ctrl-C reach what a test starts, also where a shell started the tests with ``&``."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def mute() -> Iterator[str]:
    """A server that takes connections and never answers; yields its address."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@contextmanager
def started(
    folder: Path, *words: str, server: str = "", module: str = "understudy"
) -> Iterator[subprocess.Popen[str]]:
    """Run ``understudy`` with these words, in a process group of its own, as a terminal does."""
    variables = {
        **os.environ,
        "MLFLOW_TRACKING_URI": server,
        "UNDERSTUDY_CACHE": str(folder / "cache"),
        "TMPDIR": str(folder),
    }
    with ExitStack() as stack:
        process = stack.enter_context(
            subprocess.Popen(
                [sys.executable, "-m", module, *words],
                cwd=folder,
                env=variables,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                process_group=0,
            )
        )
        stack.callback(process.kill)
        yield process


def lives(process: psutil.Process) -> bool:
    """Whether a process has not ended; what nobody has reaped yet has."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def ends_at_once(process: subprocess.Popen[str]) -> None:
    """Press Ctrl-C, and see that all is gone in time, with a word and the documented status."""
    begun = psutil.Process(process.pid).children(recursive=True)
    at = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    code = process.wait(timeout=30)
    while any(map(lives, begun)) and time.monotonic() < at + LATEST_S:
        time.sleep(0.01)
    took = time.monotonic() - at
    assert took <= LATEST_S
    assert not list(filter(lives, begun)), f"not gone after {took:.1f} s"
    assert code == 130
    assert process.stdout is not None
    said = process.stdout.read()
    assert "interrupted" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    "words", [("history", "wine"), ("metrics", "--port", "0"), ("retention", "wine")]
)
def test_while_a_server_does_not_answer(
    tmp_path: Path, mute: str, words: tuple[str, ...], eventually: Callable[..., bool]
) -> None:
    """Whatever it waits for: the address, an answer of MLflow, a question of Prometheus."""
    with started(tmp_path, *words, server=mute) as process:
        # Until it has imported what it needs, Python itself ends it.
        assert eventually(lambda: len(psutil.Process(process.pid).net_connections()) > 0, 30)
        ends_at_once(process)


@pytest.mark.long("a backtest that sets up its workers' stores")
def test_a_backtest_whose_steps_do_not_want_to_end(
    tmp_path: Path, eventually: Callable[..., bool], running: Callable[[str], list[int]]
) -> None:
    """Neither its workers nor their steps are left, whatever these do with signals."""
    project = tmp_path / "stubborn"
    project.mkdir()
    steps = "".join(
        f"  {name}:\n    parameters: {{{given}}}\n    command: \"trap '' TERM INT; sleep 61.5\"\n"
        for name, given in {
            "download": "as_of: {type: string, default: ''}",
            "preprocess": "raw: path",
            "train": "data: path",
            "validate": "data: path, model_uri: string",
        }.items()
    )
    (project / "MLproject").write_text(f"name: stubborn\nentry_points:\n{steps}")
    options = "--nights 2 --jobs 2 --metric rmse --env-manager local --until 2026-01-01"
    with started(
        tmp_path, "backtest", str(project), *options.split(), "--out", str(tmp_path / "out")
    ) as process:
        assert eventually(lambda: running(r"^sleep 61\.5$"), 120), process.poll()
        ends_at_once(process)
    assert not running(r"^sleep 61\.5$")


@pytest.mark.long("the first seconds of Airflow and MLflow")
def test_a_stack_that_is_being_started(tmp_path: Path, eventually: Callable[..., bool]) -> None:
    """Nothing of it is left, and nothing is recorded as running."""
    state, dags = tmp_path / "state", tmp_path / "dags"
    dags.mkdir()
    words = ("up", "--state", str(state), "--dags", str(dags))
    with started(tmp_path, *words, module="understudy.devstack") as process:
        assert eventually(lambda: len(psutil.Process(process.pid).children(recursive=True)) > 3, 60)
        mark = str(json.loads((state / "stack.json").read_text())["mark"])
        ends_at_once(process)
    assert not processes.marked(settings.MARK, mark)
    assert not (state / "stack.json").exists()
