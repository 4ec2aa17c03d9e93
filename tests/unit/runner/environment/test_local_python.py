"""Which Python ``local`` means, and that a command's ``python`` is that one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from understudy.errors import EnvironmentBuildError
from understudy.runner.environment.store import Environment, EnvironmentStore
from understudy.runner.process.process import ProcessRunner
from understudy.runner.projectfile import ProjectFile
from understudy.runner.settings import Settings

pytestmark = pytest.mark.unit

BASE = Path(sys.executable).resolve()


@pytest.fixture
def venv(tmp_path: Path) -> Path:
    """Return a virtual environment in which one module can be imported, without pip."""
    folder = tmp_path / "venv"
    subprocess.run([BASE, "-m", "venv", "--without-pip", folder], check=True)
    (next(folder.glob("lib/*/site-packages")) / "only_here.py").write_text("")
    return folder


def local(tmp_path: Path, manager: str) -> Environment:
    """Return the local environment of a project that asks for nothing."""
    settings = Settings(tmp_path / "cache", tmp_path / "scratch")
    project = ProjectFile(tmp_path, "x", {}, "", None)
    with EnvironmentStore(settings, ProcessRunner()).lease(project, manager, print) as environment:
        return environment


def seen(environment: Environment, line: str) -> str:
    """Return what a command line prints with the PATH of an environment."""
    variables = environment.variables(os.environ["PATH"])
    done = subprocess.run(
        ["/bin/sh", "-c", line], env=variables, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def on_path(folder: Path, monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Let PATH have nothing but our Python under these names, and what a shell needs."""
    folder.mkdir()
    for name in names:
        (folder / name).symlink_to(BASE)
    monkeypatch.setenv("PATH", str(folder))


def test_the_default_is_python_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PATH stays as it is."""
    on_path(tmp_path / "bin", monkeypatch, "python", "python3")
    environment = local(tmp_path, "local")
    assert environment.bin is None
    assert environment.variables(os.environ["PATH"]) == {"PATH": os.environ["PATH"]}
    assert environment.installed.startswith(f"# Python {sys.version.split()[0]}")


def test_python3_is_found_as_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no python, as on Debian."""
    on_path(tmp_path / "bin", monkeypatch, "python3")
    environment = local(tmp_path, "local")
    assert environment.installed.startswith(f"# Python {sys.version.split()[0]}")
    assert (
        seen(environment, "python -c 'import sys; print(sys.version.split()[0])'")
        == (sys.version.split()[0])
    )


@pytest.mark.parametrize("name", ["python", "python3", "python-of-ours"])
def test_another_one(tmp_path: Path, venv: Path, name: str) -> None:
    """By its path; its packages are there, and no other variables lead elsewhere."""
    python = venv / "bin" / name
    if not python.exists():
        python.write_text(f'#!/bin/sh\nexec "{venv}/bin/python" "$@"\n')
        python.chmod(0o755)
    manager = f"local:{python}"
    environment = local(tmp_path, manager)
    assert environment.manager == manager
    assert not environment.digest
    assert not environment.is_on_path
    for command in ("python", "python3"):
        asked = f"{command} -c 'import only_here, sys; print(sys.prefix)'"
        assert seen(environment, asked) == str(venv)


def test_one_by_its_name_on_path(
    tmp_path: Path, venv: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as python3.12, the same on every worker."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "python3.77").write_text(f'#!/bin/sh\nexec "{venv}/bin/python" "$@"\n')
    (folder / "python3.77").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    environment = local(tmp_path, "local:python3.77")
    assert seen(environment, "python -c 'import sys; print(sys.prefix)'") == str(venv)


def test_one_that_is_not_there(tmp_path: Path) -> None:
    """No retry finds it."""
    with pytest.raises(EnvironmentBuildError, match=r"'/no/python'.*Allowed: .*Next: ") as caught:
        local(tmp_path, "local:/no/python")
    assert not caught.value.can_retry
