"""Benches: apart from the tests, each told how to run it, and what is missing is said at once."""

from __future__ import annotations

import ast
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

TESTS = Path(__file__).parents[1]
BENCHES = TESTS / "bench"
PARTS = ("bench: ", "\n  Allowed: ", "\n  Next: ")


def check(*arguments: str, python: tuple[str, ...] = (), **variables: str) -> tuple[int, str]:
    """Ask what a bench lacks; return the exit status and what was said."""
    done = subprocess.run(
        [sys.executable, *python, "-m", "bench", *arguments],
        env={**os.environ, "PYTHONPATH": str(TESTS), **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert not done.stdout
    return done.returncode, done.stderr


def test_nothing_is_said_where_nothing_is_missing() -> None:
    """The bench of the nights needs no data of anyone's, and no package on the Python that asks."""
    assert check("--check", "night", "--rounds", "1", python=("-S",)) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["night", "--data", "nowhere"], "lacks wine-quality/winequality-red.csv"),
        (["night", "--json", "nowhere/bench.json"], "nowhere/bench.json cannot be written"),
        (["night", "--json", "."], "cannot be written"),
        (["mnist"], "No folder of data was given, so it lacks mnist/train-images"),
    ],
)
def test_an_option_that_cannot_be(arguments: list[str], found: str) -> None:
    """What was found, what is allowed, what to do next."""
    status, said = check("--check", *arguments)
    assert status == 2
    assert found in said
    assert all(said.count(part) == 1 for part in PARTS)


def test_every_program_that_is_missing_is_told_at_once(tmp_path: Path) -> None:
    """Not one after the other."""
    status, said = check("--check", "night", PATH=str(tmp_path))
    assert status == 2
    assert "bench: git is not on PATH" in said
    assert "bench: bash is not on PATH" in said
    assert all(said.count(part) == 2 for part in PARTS)


def test_a_git_without_its_server(tmp_path: Path) -> None:
    """Some systems install it apart."""
    status, said = check("--check", "night", GIT_EXEC_PATH=str(tmp_path))
    assert (status, f"bench: {tmp_path} has no git-daemon." in said) == (2, True)


def test_containers_need_docker(tmp_path: Path) -> None:
    """It is the bench of the team's stack that starts them."""
    (tmp_path / "git").symlink_to(shutil.which("git") or "")
    status, said = check("--check", "team", PATH=str(tmp_path))
    assert (status, "bench: docker is not on PATH" in said) == (2, True)


def test_a_python_without_the_packages() -> None:
    """Where the bench is to run, rather than to be checked before the set-up, they have to be."""
    status, said = check("night", python=("-S",))
    assert status == 2
    assert f"bench: {sys.executable} lacks httpx, mlflow, psutil" in said


def test_no_such_bench() -> None:
    """The names are told."""
    status, said = check("nights")
    assert (status, "invalid choice: 'nights'" in said) == (2, True)


def test_each_bench_says_how_to_run_it() -> None:
    """Its docstring has the line, and there is a module for each name."""
    _, said = check("--check", "")
    names = re.findall(r"\w+", said.rpartition("choose from")[2])
    assert {"night", "faults", "team"} <= {*names}
    for name in names:
        text = ast.get_docstring(ast.parse((BENCHES / f"{name}.py").read_text("utf-8"))) or ""
        assert f"make bench{'' if name == 'night' else f' BENCH={name}'}" in text


ENDED_TWICE = """
import os, signal, time
from bench.ending import end_on_terminate
end_on_terminate()
try:
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(60)
finally:
    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGINT)
    print("taken down")
"""


def test_what_a_bench_started_is_taken_down_however_often_it_is_told_to_end() -> None:
    """Ctrl-C reaches it twice, by itself and through make."""
    done = subprocess.run(
        [sys.executable, "-c", ENDED_TWICE],
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (128 + signal.SIGTERM, "taken down\n")
    assert done.stderr.count("SIGTERM: what was started is being ended") == 1


def test_no_test_imports_a_bench() -> None:
    """Benches may use what tests use, never the other way."""
    for path in TESTS.rglob("*.py"):
        if BENCHES in path.parents:
            continue
        assert not {name for name in imported(path) if "bench" in name.split(".")[:2]}, path


def imported(path: Path) -> set[str]:
    """Return the names that a Python file imports, with those of the modules that they are from."""
    nodes = [*ast.walk(ast.parse(path.read_text("utf-8")))]
    names = {one.name for node in nodes if isinstance(node, ast.Import) for one in node.names}
    froms = [node for node in nodes if isinstance(node, ast.ImportFrom)]
    return names | {f"{node.module}.{one.name}" for node in froms for one in node.names}
