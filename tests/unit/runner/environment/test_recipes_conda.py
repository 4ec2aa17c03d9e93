"""conda, mamba and micromamba: found, built with and entered. A stand-in takes their commands."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from understudy.errors import EnvironmentBuildError
from understudy.runner.environment import recipes
from understudy.runner.environment.container import Surroundings
from understudy.runner.environment.store import EnvironmentStore, managers_here
from understudy.runner.process.process import Command, ProcessRunner
from understudy.runner.projectfile import ProjectFile
from understudy.runner.settings import Settings

pytestmark = pytest.mark.unit

CONTENT = "name: x\ndependencies: [python=3.11, gdal=3.9, {pip: ['-r more.txt']}]\n"


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let PATH be a folder with a shell only; return it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "bash").symlink_to("/bin/bash")
    monkeypatch.setenv("PATH", str(folder))
    for name in ("CONDA_EXE", "MAMBA_EXE"):
        monkeypatch.delenv(name, raising=False)
    return folder


@pytest.fixture
def wanted(tmp_path: Path) -> ProjectFile:
    """Return a project with a conda.yaml that needs conda."""
    (tmp_path / "conda.yaml").write_text(CONTENT)
    (tmp_path / "more.txt").write_text("six==1.16.0\n")
    return ProjectFile(tmp_path, "x", {}, "conda_env", tmp_path / "conda.yaml")


@pytest.fixture
def store(tmp_path: Path) -> EnvironmentStore:
    """Return a store with an empty cache."""
    return EnvironmentStore(Settings(tmp_path / "cache", tmp_path / "s"), ProcessRunner())


@pytest.mark.parametrize("name", ["conda", "mamba", "micromamba"])
def test_built_entered_and_recorded(
    install_conda: Callable[[Path, str], Path],
    store: EnvironmentStore,
    wanted: ProjectFile,
    bare: Path,
    name: str,
) -> None:
    """Each by its own command line; the command sees what activation sets."""
    install_conda(bare, name)
    said: list[str] = []
    with store.lease(wanted, "conda", said.append) as environment:
        assert environment.bin
        path = f"{environment.bin}{os.pathsep}{os.environ['PATH']}"
        script = wanted.folder / "command.sh"
        script.write_text('echo "$GDAL_DATA"; command -v python; echo "[$VIRTUAL_ENV]"\n')
        command = Command(("bash", str(script)), wanted.folder, {"PATH": path, "VIRTUAL_ENV": "no"})
        around = Surroundings(wanted.folder, wanted.folder)
        lines: list[str] = []
        with environment.enter(command, around) as inside:
            assert ProcessRunner().run(inside, lines.append).ok
        prefix = environment.bin.parent
        assert lines == [f"{prefix}/share/gdal", f"{prefix}/bin/python", "[]"]
    assert "#0123456789abcdef" in environment.record["conda-explicit.txt"]
    assert set(environment.record) == {"inputs/conda.yaml", "inputs/more.txt", "conda-explicit.txt"}
    assert environment.installed.startswith("# Python 3.")
    assert "# Made by conda" in environment.installed
    assert said[-1].startswith("Built")


def test_the_content_of_every_file_counts(
    install_conda: Callable[[Path, str], Path],
    store: EnvironmentStore,
    wanted: ProjectFile,
    bare: Path,
) -> None:
    """Of the conda.yaml and of the requirements that it names."""
    install_conda(bare, "conda")
    digests = []
    for file, text in (("more.txt", "six==1.17.0\n"), ("conda.yaml", f"{CONTENT}# other\n")):
        with store.lease(wanted, "conda", print) as environment:
            digests.append(environment.digest)
        (wanted.folder / file).write_text(text)
    with store.lease(wanted, "conda", print) as environment:
        digests.append(environment.digest)
    assert len(set(digests)) == 3


def test_a_python_that_no_channel_has(
    install_conda: Callable[[Path, str], Path],
    store: EnvironmentStore,
    wanted: ProjectFile,
    bare: Path,
) -> None:
    """What conda says is in the message; nothing counts as built."""
    install_conda(bare, "conda")
    (wanted.folder / "conda.yaml").write_text("dependencies: [python=3.4]\n")
    with (
        pytest.raises(EnvironmentBuildError, match=r"conda: exit code 1.*nothing provides python"),
        store.lease(wanted, "conda", print),
    ):
        pass


def test_none_here(store: EnvironmentStore, wanted: ProjectFile, bare: Path) -> None:
    """The message names what is; a retry cannot help."""
    del bare
    with (
        pytest.raises(EnvironmentBuildError, match=r"none of micromamba.*Allowed: 'uv'") as caught,
        store.lease(wanted, "conda", print),
    ):
        pass
    assert not caught.value.can_retry
    assert managers_here() == ["uv", "virtualenv", "local"]


def test_an_activated_shell_names_its_conda(
    install_conda: Callable[[Path, str], Path],
    bare: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """CONDA_EXE comes before PATH, and one that is gone does not count."""
    (tmp_path / "other").mkdir()
    there = install_conda(tmp_path / "other", "conda")
    on_path = install_conda(bare, "mamba")
    monkeypatch.setenv("CONDA_EXE", str(there))
    assert recipes.here() == there
    monkeypatch.setenv("CONDA_EXE", "/gone/conda")
    assert recipes.here() == on_path
    assert managers_here() == ["uv", "virtualenv", "conda", "local"]
