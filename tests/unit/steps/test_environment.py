"""Environments: built once, never used half-built, rebuilt when broken. No network is needed."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from understudy.errors import EnvironmentBuildError, ProjectError, StepStoppedError
from understudy.steps.environment import EnvironmentStore
from understudy.steps.interpreter import _satisfies, _search_path, find_python
from understudy.steps.process import Supervisor
from understudy.steps.projectfile import ProjectFile
from understudy.steps.settings import Settings

pytestmark = pytest.mark.unit


def project(folder: Path, content: str | None) -> ProjectFile:
    """Return a project with that python_env.yaml, or none."""
    path = folder / "python_env.yaml"
    if content is not None:
        path.write_text(content)
    return ProjectFile(folder, "x", {}, "python_env", None if content is None else path)


@pytest.fixture
def store(tmp_path: Path) -> EnvironmentStore:
    """Return a store with an empty cache."""
    return EnvironmentStore(Settings(tmp_path / "cache", tmp_path / "scratch"), Supervisor())


def build(
    store: EnvironmentStore, wanted: ProjectFile, manager: str = "uv"
) -> tuple[Path, list[str]]:
    """Have an environment; return its folder and what was said."""
    said: list[str] = []
    with store.hold(wanted, manager, said.append) as environment:
        assert environment.bin
        assert (environment.bin / "python").exists()
        return environment.bin.parent, said


def test_built_once_then_reused(store: EnvironmentStore, tmp_path: Path) -> None:
    """The second time nothing is said and nothing changes."""
    folder, said = build(store, project(tmp_path, "dependencies: []"))
    assert any("Built" in line for line in said)
    assert build(store, project(tmp_path, None)) == (folder, [])


@pytest.mark.parametrize("harm", ["no mark", "half a mark", "no python"])
def test_a_half_built_or_broken_one_is_rebuilt(
    store: EnvironmentStore, tmp_path: Path, harm: str
) -> None:
    """Whatever a killed builder or a removed Python left."""
    wanted = project(tmp_path, None)
    folder, _ = build(store, wanted)
    (folder / "stray").write_text("")
    if harm == "half a mark":
        (folder / ".complete").write_text('{"python": ')
    elif harm == "no python":
        (folder / "bin/python").unlink()
        (folder / "bin/python").symlink_to("/gone/python")
    else:
        (folder / ".complete").unlink()
    again, said = build(store, wanted)
    assert again == folder
    assert "not completed" in said[0]
    assert not (folder / "stray").exists()
    assert json.loads((folder / ".complete").read_text())["installed"] == ""


def test_many_at_once_build_one(tmp_path: Path) -> None:
    """Four threads with stores of their own; one of them builds."""
    built: list[str] = []
    wanted = project(tmp_path, None)

    def work() -> None:
        settings = Settings(tmp_path / "cache", tmp_path / "scratch")
        built.extend(build(EnvironmentStore(settings, Supervisor()), wanted)[1])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(line.startswith("Built") for line in built) == 1


def test_a_python_that_is_not_here_is_named_with_those_that_are(
    store: EnvironmentStore, tmp_path: Path
) -> None:
    """At once, without a download."""
    with pytest.raises(EnvironmentBuildError, match=r"Python 3\.4,.*Allowed: .*3\.\d+") as caught:
        build(store, project(tmp_path, 'python: "3.4"'))
    assert not caught.value.can_retry


def test_a_failed_build_says_why_and_leaves_no_mark(
    store: EnvironmentStore, tmp_path: Path
) -> None:
    """What uv said is in the message."""
    with pytest.raises(EnvironmentBuildError, match=r"no-index|not found|unsatisfiable|cached"):
        build(store, project(tmp_path, "dependencies: ['--no-index', 'no-such-package-here']"))
    assert not list(store._root.glob("*/.complete"))


def test_an_unknown_manager_is_refused(store: EnvironmentStore, tmp_path: Path) -> None:
    """With those that there are."""
    with pytest.raises(ProjectError, match=r"'virtualenv' is not supported\. Allowed: 'uv'"):
        build(store, project(tmp_path, None), "virtualenv")


def test_a_stopped_build_is_not_an_error_of_the_project(tmp_path: Path) -> None:
    """Stop is told from failure."""
    supervisor = Supervisor()
    supervisor.stop()
    store = EnvironmentStore(Settings(tmp_path / "c", tmp_path / "s"), supervisor)
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
    assert _satisfies(version, request_) == satisfied


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
