"""What all tests share: settings of hypothesis, and real Git repositories below tmp_path."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import util
from pathlib import Path

import pytest
from hypothesis import settings

pytest_plugins = ["tests.fixtures.shared", "tests.fixtures.servers", "tests.fixtures.airflow"]

# A deadline per example would measure how busy the machine is.
settings.register_profile("any machine", deadline=None)
settings.register_profile("quick", deadline=None, max_examples=20)  # make test-quick asks for it
settings.load_profile("any machine")


def pytest_configure(config: pytest.Config) -> None:
    """Let what tests download and what they kill leave nothing in the machine's temporary folder.

    ``tmp_path`` stays where it is: pytest keeps the last three of those for who looks into them.
    """
    util.get_temp_dir()  # its own, which it removes when ours is gone already
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())
    folder = tempfile.TemporaryDirectory(prefix="understudy-tests-", ignore_cleanup_errors=True)
    os.environ["TMPDIR"], tempfile.tempdir = folder.name, None
    config.add_cleanup(folder.cleanup)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Return two processes for each processor: most of a test is waiting for a server."""
    del config
    return 2 * len(os.sched_getaffinity(0))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Check that each test of the long lane says why it is there."""
    for item in items:
        for mark in item.iter_markers("long"):
            if len(mark.args) != 1:
                raise pytest.UsageError(f"{item.nodeid}: long() takes one reason in words")


@dataclass(frozen=True)
class Repository:
    """A Git repository with a working tree, as a user has it."""

    folder: Path

    @property
    def url(self) -> str:
        """Its file:// URL."""
        return f"file://{self.folder}"

    def git(self, *arguments: str) -> str:
        """Run git in it and return what it prints, stripped."""
        settings = ("user.name=Ada", "user.email=ada@example.com", "protocol.file.allow=always")
        options = [part for setting in settings for part in ("-c", setting)]
        clean = {name: v for name, v in os.environ.items() if not name.startswith("GIT_")}
        done = subprocess.run(
            ("git", *options, *arguments),
            cwd=self.folder,
            env=clean,
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()

    def commit(self, **files: str) -> str:
        """Write files and commit; ``__`` in a name stands for '/', ``_DOT_`` for '.'."""
        for name, content in files.items():
            path = self.folder / name.replace("__", "/").replace("_DOT_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", "work")
        return self.git("rev-parse", "HEAD")


def _repository(folder: Path) -> Repository:
    folder.mkdir(parents=True)
    made = Repository(folder)
    made.git("init", "--quiet", "--initial-branch", "main")
    return made


@pytest.fixture(scope="session")
def new_repository() -> Callable[[Path], Repository]:
    """Return what makes an empty repository of a folder that is not there yet."""
    return _repository


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """Return an empty repository."""
    return _repository(tmp_path / "repository")


@pytest.fixture
def other_repository(tmp_path: Path) -> Repository:
    """Return a second empty repository."""
    return _repository(tmp_path / "other")
