"""Environments: built once, never used half-built, rebuilt when broken. No network is needed."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from understudy.decide.gate_process import USER
from understudy.errors import EnvironmentBuildError, ProjectError, StepStoppedError
from understudy.runner.environment.interpreter import _search_path, find_python, satisfies
from understudy.runner.environment.store import EnvironmentStore
from understudy.runner.process.process import ProcessRunner
from understudy.runner.projectfile import ProjectFile
from understudy.runner.settings import Settings

if TYPE_CHECKING:
    from tests.fixtures.wheels import Wheel


pytestmark = pytest.mark.integration


def project(folder: Path, content: str | None) -> ProjectFile:
    """Return a project with that python_env.yaml, or none."""
    path = folder / "python_env.yaml"
    if content is not None:
        path.write_text(content)
    return ProjectFile(folder, "x", {}, "python_env", None if content is None else path)


@pytest.fixture
def store(tmp_path: Path) -> EnvironmentStore:
    """Return a store with an empty cache."""
    return EnvironmentStore(Settings(tmp_path / "cache", tmp_path / "scratch"), ProcessRunner())


@pytest.fixture
def with_a_wheel(tmp_path: Path, wheel: Callable[..., Wheel]) -> ProjectFile:
    """Return a project that wants a package, which lies in a folder with its hash."""
    one = wheel(tmp_path / "wheels", "one", "1.0")
    (tmp_path / "lock.txt").write_text(f"one==1.0 --hash={one.sha256}\n")
    lines = f"dependencies: ['--no-index', '--find-links {one.path.parent}', '-r lock.txt']"
    return project(tmp_path, lines)


def build(
    store: EnvironmentStore, wanted: ProjectFile, manager: str = "uv"
) -> tuple[Path, list[str]]:
    """Have an environment; return its folder and what was said."""
    said: list[str] = []
    with store.lease(wanted, manager, said.append) as environment:
        assert environment.bin
        assert (environment.bin / "python").exists()
        return environment.bin.parent, said


def test_built_once_then_reused(store: EnvironmentStore, tmp_path: Path) -> None:
    """The second time nothing is said and nothing changes."""
    folder, said = build(store, project(tmp_path, "dependencies: []"))
    assert any("Built" in line for line in said)
    assert build(store, project(tmp_path, None)) == (folder, [])


HARMS = {
    "no mark": lambda env: (env / ".complete").unlink(),
    "half a mark": lambda env: (env / ".complete").write_text('{"python": '),
    "a mark of another form": lambda env: (env / ".complete").write_text('{"python": "3"}'),
    "a removed Python": lambda env: relinked(env / "bin/python", "/gone/python"),
    "no package": lambda env: shutil.rmtree(next(env.glob("lib/*/site-packages/one"))),
    "no registration": lambda env: shutil.rmtree(next(env.glob("lib/*/site-packages/one-*"))),
    "no activation": lambda env: (env / "bin/activate").unlink(),
}


def relinked(link: Path, target: str) -> None:
    """Point a link elsewhere."""
    link.unlink()
    link.symlink_to(target)


@pytest.mark.parametrize("harm", HARMS)
def test_a_half_built_or_broken_one_is_rebuilt(
    store: EnvironmentStore, with_a_wheel: ProjectFile, harm: str
) -> None:
    """Whatever a killed builder, a removed Python or a cleaner of old files left."""
    folder, _ = build(store, with_a_wheel)
    (folder / "stray").write_text("")
    HARMS[harm](folder)
    again, said = build(store, with_a_wheel)
    assert again == folder
    assert re.search(r"that (was not completed|lacks (its Python|one|activate))", said[0])
    assert not (folder / "stray").exists()
    assert json.loads((folder / ".complete").read_text())["installed"] == "one==1.0"


def test_what_is_written_into_an_environment_reaches_no_other(
    store: EnvironmentStore, with_a_wheel: ProjectFile
) -> None:
    """Not even by way of uv's cache, which the next one, such as the gate's, is made from."""
    folder, _ = build(store, with_a_wheel)
    (file,) = folder.glob("lib/*/site-packages/one/__init__.py")
    with file.open("a") as module:
        module.write("raise SystemExit")
    (folder / ".complete").unlink()
    build(store, with_a_wheel)
    assert "raise SystemExit" not in file.read_text()


def test_the_gate_shares_its_environment_with_no_project(
    store: EnvironmentStore, with_a_wheel: ProjectFile
) -> None:
    """A project that asks for the same packages changes its own, while the gate's is in use."""
    with (
        store.lease(with_a_wheel, "uv", print, user=USER) as judge,
        store.lease(with_a_wheel, "uv", print) as step,
    ):
        assert judge.bin is not None
        assert step.bin is not None
        (theirs,) = step.bin.parent.glob("lib/*/site-packages/one/__init__.py")
        (ours,) = judge.bin.parent.glob("lib/*/site-packages/one/__init__.py")
        assert not ours.samefile(theirs)
        theirs.write_text("raise SystemExit('written by a step')")
        subprocess.run([judge.bin / "python", "-c", "import one"], check=True)
    with store.lease_built(with_a_wheel, "uv", user=USER) as again:
        assert again is not None
        assert again.bin == judge.bin


def test_byte_code_that_comes_and_goes_is_no_harm(
    store: EnvironmentStore, with_a_wheel: ProjectFile
) -> None:
    """Python writes it beside what was installed, and whoever tidies up takes it away."""
    folder, _ = build(store, with_a_wheel)
    byte_code = next(folder.glob("lib/*/site-packages/one")) / "__pycache__"
    byte_code.mkdir(exist_ok=True)
    (byte_code / "later.cpython-311.pyc").write_bytes(b"")
    assert build(store, with_a_wheel) == (folder, [])
    shutil.rmtree(byte_code)
    assert build(store, with_a_wheel) == (folder, [])


BUILDER = """
import sys
from pathlib import Path
from understudy.runner import projectfile
from understudy.runner.environment.store import EnvironmentStore
from understudy.runner.process.process import ProcessRunner
from understudy.runner.settings import Settings

cache, project, manager = sys.argv[1:]
store = EnvironmentStore(Settings(Path(cache), Path(cache, "s")), ProcessRunner())
source = projectfile.ProjectFile(
    Path(project), "x", {}, "python_env", Path(project, "python_env.yaml")
)
with store.lease(source, manager, print) as environment:
    print("has", environment.digest, flush=True)
"""


def builder(store: EnvironmentStore, wanted: ProjectFile, manager: str) -> subprocess.Popen[str]:
    """Start a process of its own that has an environment."""
    return subprocess.Popen(
        [sys.executable, "-c", BUILDER, str(store._root.parent), str(wanted.folder), manager],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("manager", ["uv", "virtualenv"])
def test_kill_9_at_many_moments_of_a_build(
    store: EnvironmentStore, with_a_wheel: ProjectFile, manager: str
) -> None:
    """The next builder starts at once, and what it makes is whole."""
    kills = 0
    for delay in (0.0, 0.02, 0.06, 0.15, 0.4, 1.0):
        process = builder(store, with_a_wheel, manager)
        assert process.stdout
        process.stdout.readline()  # "Building", or "has" once a build went through
        time.sleep(delay)
        kills += process.poll() is None
        process.kill()
        process.communicate()
    assert kills
    folder, _ = build(store, with_a_wheel, manager)
    done = subprocess.run(
        [folder / "bin/python", "-c", "import one; print(one.__version__)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "1.0\n"


@pytest.mark.parametrize("manager", ["uv", "virtualenv"])
def test_two_processes_at_once_build_one(
    store: EnvironmentStore, with_a_wheel: ProjectFile, manager: str
) -> None:
    """The second waits for the first."""
    processes = [builder(store, with_a_wheel, manager) for _ in range(2)]
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert sum("Built" in output for output in outputs) == 1
    assert all("has " in output for output in outputs)


def test_many_at_once_build_one(tmp_path: Path) -> None:
    """Four threads with stores of their own; one of them builds."""
    built: list[str] = []
    wanted = project(tmp_path, None)

    def work() -> None:
        settings = Settings(tmp_path / "cache", tmp_path / "scratch")
        built.extend(build(EnvironmentStore(settings, ProcessRunner()), wanted)[1])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(line.startswith("Built") for line in built) == 1


@pytest.mark.parametrize("manager", ["uv", "virtualenv"])
def test_a_python_that_is_not_here_is_named_with_those_that_are(
    store: EnvironmentStore, tmp_path: Path, manager: str
) -> None:
    """At once, without a download."""
    with pytest.raises(EnvironmentBuildError, match=r"Python 3\.4,.*Allowed: .*3\.\d+") as caught:
        build(store, project(tmp_path, 'python: "3.4"'), manager)
    assert not caught.value.can_retry


def test_a_project_that_names_no_environment_is_told_so_where_its_step_fails(
    store: EnvironmentStore, tmp_path: Path
) -> None:
    """An empty file is an environment, of no packages."""
    with store.lease(project(tmp_path, None), "uv", print) as environment:
        assert "names no python_env.yaml or conda.yaml" in environment.lacking
    with store.lease(project(tmp_path, "dependencies: []"), "uv", print) as environment:
        assert not environment.lacking


def test_another_python_than_asked_for_is_told_of_where_it_is_the_local_one(
    store: EnvironmentStore, tmp_path: Path
) -> None:
    """The local one is used all the same: that is what was asked for."""
    said: list[str] = []
    with store.lease(project(tmp_path, 'python: "3.4"'), "local", said.append) as environment:
        assert environment.bin is None
        assert re.match(r"# Python 3\.\d+\.\d+\n# Platform \w+", environment.installed)
    assert re.match(r"The project asks for Python 3\.4; the local one is 3\.\d+", said[0])


def test_the_record_names_versions_hashes_python_and_platform(
    store: EnvironmentStore, with_a_wheel: ProjectFile
) -> None:
    """And the files that asked for them, without passwords, are beside it."""
    file = with_a_wheel.folder / "python_env.yaml"
    file.write_text(f"{file.read_text()}\n# https://me:s3cret@host/simple\n")
    with store.lease(with_a_wheel, "uv", print) as environment:
        python, platform, maker, line = environment.installed.splitlines()
    assert re.fullmatch(r"# Python 3\.\d+\.\d+", python)
    assert platform.startswith("# Platform ")
    locked = (with_a_wheel.folder / "lock.txt").read_text().strip()
    assert (maker, line) == ("# Made by uv", locked)
    assert set(environment.record) == {"inputs/python_env.yaml", "inputs/lock.txt"}
    assert "https://host/simple" in environment.record["inputs/python_env.yaml"]


def test_the_tools_that_build_come_first_and_need_no_hash(
    store: EnvironmentStore, with_a_wheel: ProjectFile, wheel: Callable[..., Wheel]
) -> None:
    """As with MLflow's manager; in one call pip would refuse the line without a hash."""
    wheel(with_a_wheel.folder / "wheels", "tool", "2.0")
    file = with_a_wheel.folder / "python_env.yaml"
    index = f"['--no-index', '--find-links {with_a_wheel.folder}/wheels', tool]"
    file.write_text(f"build_dependencies: {index}\n{file.read_text()}")
    with store.lease(with_a_wheel, "virtualenv", print) as environment:
        names = re.findall(r"^[\w-]+(?===)", environment.installed, re.MULTILINE)
    assert {"one", "tool", "pip"} <= set(names)


def test_a_failed_build_says_why_and_leaves_no_mark(
    store: EnvironmentStore, tmp_path: Path
) -> None:
    """What uv said is in the message."""
    with pytest.raises(EnvironmentBuildError, match=r"no-index|not found|unsatisfiable|cached"):
        build(store, project(tmp_path, "dependencies: ['--no-index', 'no-such-package-here']"))
    assert not list(store._root.glob("*/.complete"))


@pytest.mark.parametrize(
    ("manager", "message"),
    [
        ("pipenv", r"no environment manager 'pipenv'.*Allowed: 'conda', 'docker', 'local', 'uv'"),
        (
            "conda",
            r"'conda' was asked for, and the project has python_env\.yaml\. Allowed: .*conda",
        ),
        ("docker", r"'docker' was asked for, and the project has python_env\.yaml.*docker_env"),
    ],
)
def test_managers_that_cannot_build_a_project_are_refused(
    store: EnvironmentStore, tmp_path: Path, manager: str, message: str
) -> None:
    """With those that can."""
    with pytest.raises(ProjectError, match=message):
        build(store, project(tmp_path, "dependencies: []"), manager)


def test_a_stopped_build_is_not_an_error_of_the_project(tmp_path: Path) -> None:
    """Stop is told from failure."""
    process_runner = ProcessRunner()
    process_runner.stop()
    store = EnvironmentStore(Settings(tmp_path / "c", tmp_path / "s"), process_runner)
    with pytest.raises(StepStoppedError):
        build(store, project(tmp_path, None))


@pytest.mark.parametrize(
    ("version", "request_", "satisfied"),
    [
        ("3.11.7", "", True),
        ("3.11.7", "3.11", True),
        ("3.11.7", "3", True),
        ("3.11.7", "3.11.7", True),
        ("3.11.7", "3.1", False),
        ("3.11.7", "3.11.70", False),
        ("3.11.7", ">=3.10,<3.12", True),
        ("3.11.7", "pypy", False),
    ],
)
def test_requests(version: str, request_: str, satisfied: bool) -> None:  # noqa: FBT001
    """A prefix by parts, or a specifier."""
    assert satisfies(version, request_) == satisfied


def test_our_own_python_is_preferred() -> None:
    """No uv is started for it."""
    assert find_python("3", {}).identity == find_python("", {}).identity


def test_pyenv_is_searched_behind_its_shims(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shim of a version that is not selected would make uv give up."""
    (tmp_path / "versions/3.12.1/bin").mkdir(parents=True)
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    found = _search_path(f"/usr/bin:{tmp_path}/shims:/bin")
    assert found == f"/usr/bin:/bin:{tmp_path}/versions/3.12.1/bin"
