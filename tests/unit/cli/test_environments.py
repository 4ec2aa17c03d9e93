"""``understudy environments``: what it prints, what it builds, how it fails."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from understudy.cli.main import main

if TYPE_CHECKING:
    from tests.fixtures.git import Repository
    from tests.fixtures.wheels import Wheel


pytestmark = pytest.mark.unit

MLPROJECT = "python_env: python_env.yaml\nentry_points: {main: {command: 'true'}}\n"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let the cache be empty."""
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def project(tmp_path: Path, wheel: Callable[..., Wheel]) -> Path:
    """Return a folder with a project that wants one package."""
    wheel(tmp_path / "wheels", "one", "1.0")
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "MLproject").write_text(MLPROJECT)
    lines = f"['--no-index', '--find-links {tmp_path}/wheels', one]"
    (folder / "python_env.yaml").write_text(f"dependencies: {lines}")
    return folder


def understudy(*words: str) -> int:
    """Run the console script."""
    return main(["environments", *words])


def test_build_then_list(
    project: Path,
    cache: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Built once; the list shows it, and what is broken."""
    assert understudy("build", str(project)) == 0
    said = capsys.readouterr().out
    assert "Built the environment" in said
    ready = Path(said.splitlines()[-1].removeprefix("Ready: "))
    assert ready.parent == cache / "environments"
    monkeypatch.chdir(project.parent)
    assert understudy("build", project.name) == 0
    assert capsys.readouterr().out == f"Ready: {ready}\n"
    next(ready.glob("lib/*/site-packages/one/__init__.py")).parent.rename(ready / "moved")
    (ready.parent / "half").mkdir()
    assert understudy("list") == 0
    head, *rows = (re.split(r"  +", line) for line in capsys.readouterr().out.splitlines())
    assert head == ["ENVIRONMENT", "MANAGER", "PYTHON", "PACKAGES", "LAST USED", "STATE"]
    assert rows[0][0] == ready.name[:12]
    assert (rows[0][1], rows[0][3]) == ("uv", "1")
    assert rows[0][5].startswith("lacks one in lib/")
    assert rows[1][0] == "half"
    assert understudy("list", "--json") == 0
    whole, _ = map(json.loads, capsys.readouterr().out.splitlines())
    assert (whole["digest"], whole["manager"], whole["packages"]) == (ready.name, "uv", 1)


def test_a_commit_of_a_repository(
    project: Path, repository: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the night will have it: from the mirror, for that version."""
    shutil.copytree(project, repository.folder, dirs_exist_ok=True)
    repository.commit()
    repository.git("tag", "v1")
    repository.commit(python_env_DOT_yaml="dependencies: [no-such-package]")
    assert understudy("build", repository.url, "--version", "v1") == 0
    assert "Ready: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("build", "/no/such/folder"), "There is no folder /no/such/folder"),
        (("build", "PROJECT", "--version", "v1"), "no version for a folder"),
        (("build", "PROJECT", "--env-manager", "docker"), "docker_env"),
    ],
)
def test_failures_are_sentences_and_exit_code_1(
    project: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], message: str
) -> None:
    """On stderr, in three parts."""
    assert understudy(*(word.replace("PROJECT", str(project)) for word in words)) == 1
    found = capsys.readouterr().err
    assert message in found
    assert "Allowed: " in found
    assert "Next: " in found
