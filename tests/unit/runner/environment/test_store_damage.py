"""What a step has written into an environment is noticed before the next one runs it."""

from __future__ import annotations

import base64
import hashlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from understudy.runner.environment.store import EnvironmentContents, missing, read, write

pytestmark = pytest.mark.unit
CODE = "value = 1\n"
Change = Callable[[Path], object]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a complete environment of one package, as installers write it."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    site = packages(tmp_path)
    (site / "pkg").mkdir(parents=True)
    (site / "pkg" / "__init__.py").write_text(CODE)
    (site / "pkg-1.dist-info").mkdir()
    digest = base64.urlsafe_b64encode(hashlib.sha256(CODE.encode()).digest()).decode().rstrip("=")
    record = f"pkg/__init__.py,sha256={digest},{len(CODE)}\npkg-1.dist-info/RECORD,,\n"
    (site / "pkg-1.dist-info" / "RECORD").write_text(record)
    (site / "_virtualenv.py").write_text("# of no package\n")
    write(tmp_path, EnvironmentContents("uv", "3.11.7", "linux", "pkg==1\n"))
    time.sleep(0.02)  # an inode's times are as exact as the kernel's clock ticks, of 4 to 10 ms
    return tmp_path


def packages(folder: Path) -> Path:
    """Return where an environment's packages are."""
    return folder / "lib" / "python3.11" / "site-packages"


def lacking(folder: Path) -> str:
    """Return what is said of an environment."""
    contents = read(folder)
    assert contents is not None
    return missing(folder, contents)


def _compiled(site: Path) -> None:
    (site / "pkg" / "__pycache__").mkdir()
    (site / "pkg" / "__pycache__" / "__init__.cpython-311.pyc").write_bytes(b"x")


@pytest.mark.parametrize(
    "change",
    [
        lambda site: site,
        _compiled,
        lambda site: (site / "pkg" / "__init__.py").touch(),
        lambda site: (site / "pkg" / "__init__.py").chmod(0o600),
        lambda site: (site / "pkg" / "__init__.py").write_text(CODE),
        lambda site: (site / "_virtualenv.py").touch(),
    ],
    ids=["nothing", "compiled", "touched", "rights", "rewritten", "of no package"],
)
def test_what_is_as_it_was_installed_stays(folder: Path, change: Change) -> None:
    """Whatever its times and rights: a backup changes them, and Python compiles."""
    change(packages(folder))
    assert lacking(folder) == ""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda site: (site / "pkg" / "__init__.py").write_text("value = 2\n"), "pkg/__init__.py"),
        (lambda site: (site / "_virtualenv.py").write_text("import os\n"), "_virtualenv.py"),
        (lambda site: (site / "sitecustomize.py").write_text("import os\n"), "sitecustomize.py"),
        (lambda site: (site / "pkg" / "more.py").write_text("import os\n"), "pkg/more.py"),
        (lambda site: (site / "pkg-1.dist-info" / "RECORD").write_text(""), "RECORD"),
        (lambda site: (site / "pkg" / "__init__.py").unlink(), "1 of its packages' 3 files"),
    ],
    ids=["changed", "of no package", "added", "added to a package", "record", "removed"],
)
def test_what_was_changed_added_or_removed_is_named(
    folder: Path, change: Change, said: str
) -> None:
    """Such an environment is built anew: all steps that ask for its packages share it."""
    change(packages(folder))
    assert said in lacking(folder)


def test_an_environment_of_an_earlier_version_counts(folder: Path) -> None:
    """Its mark knows neither number nor digests of its files."""
    mark = folder / ".complete"
    known = json.loads(mark.read_text())
    mark.write_text(json.dumps({k: v for k, v in known.items() if k not in {"files", "unlisted"}}))
    assert lacking(folder) == ""
