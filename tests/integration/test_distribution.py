"""What ``make dist`` builds: pip makes it a provider and a plug-in, and takes it away whole."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import venv
from pathlib import Path

import pytest
from tests.fixtures.machine import CHECKOUT

pytestmark = [
    pytest.mark.integration,
    pytest.mark.long("builds distributions and an environment with pip"),
]

ASKED = """
from importlib.metadata import entry_points, version
groups = ("airflow.plugins", "apache_airflow_provider", "console_scripts", "mlflow.project_backend")
print(version("understudy"), *(group for group in groups for one in entry_points(group=group)
      if one.dist.name == "understudy"))
import understudy, understudy.cli.main
"""


def run(*argv: str | Path) -> str:
    """Run a program that must succeed; return what it said."""
    return subprocess.run(
        [str(one) for one in argv], check=True, capture_output=True, text=True
    ).stdout


def test_it_is_installed_whole_and_uninstalled_without_a_rest(tmp_path: Path) -> None:
    """No file of pip's environment but those that it had; the sdist has what the wheel needs."""
    build = (sys.executable, "-m", "uv", "build", "--quiet", "--no-build-isolation")
    run(*build, "--python", sys.executable, "--out-dir", tmp_path / "dist", CHECKOUT)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    (source,) = (tmp_path / "dist").glob("*.tar.gz")
    with tarfile.open(source) as packed:
        names = {name.partition("/")[2] for name in packed.getnames()}
    assert {"pyproject.toml", "LICENSE", "plugins/understudy_plugin.py"} <= names

    venv.create(tmp_path / "theirs", with_pip=True)
    python = tmp_path / "theirs" / "bin" / "python"
    before = files(tmp_path / "theirs")
    offline = ("--quiet", "--no-deps", "--no-index", "--disable-pip-version-check")
    run(python, "-m", "pip", "install", *offline, wheel)
    _, *groups = run(python, "-I", "-B", "-c", ASKED).split()
    assert len(groups) == 4
    run(python, "-m", "pip", "uninstall", "--quiet", "--yes", "understudy")
    assert files(tmp_path / "theirs") == before


def files(folder: Path) -> set[Path]:
    """Return the files of an environment, but for byte code of others."""
    found = {one.relative_to(folder) for one in folder.rglob("*") if one.is_file()}
    return {one for one in found if one.suffix != ".pyc" or "understudy" in str(one)}
