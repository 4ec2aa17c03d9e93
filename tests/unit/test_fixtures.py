"""Of the tests themselves: they run alike on machines without ``python`` and without a Git user."""

from __future__ import annotations

import shutil
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.fixtures.git import Repository

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("name", ["python", "python3"])
def test_commands_find_the_interpreter_of_the_tests(name: str) -> None:
    """Under both names, whatever the machine has on its PATH."""
    assert Path(shutil.which(name) or "").parent == Path(sys.executable).parent


def test_nothing_that_is_configured_reaches_a_commit(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a user who signs, nor one whom nobody named, nor a hook's variables."""
    (tmp_path / ".gitconfig").write_text(
        "[commit]\n\tgpgSign = true\n[gpg]\n\tprogram = false\n[user]\n\tuseConfigOnly = true\n"
    )
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other"))
    commit = repository.commit(a="1")
    assert repository.git("log", "--format=%H %an <%ae>") == f"{commit} Ada <ada@example.com>"


@pytest.mark.parametrize("category", [DeprecationWarning, FutureWarning])
def test_what_a_library_deprecates_fails_a_test_only_where_our_code_calls_it(
    category: type[Warning],
) -> None:
    """MLflow's mappers warn once in a process: whichever test came first failed, and all after."""

    def called_by(module: str) -> None:
        warnings.warn_explicit("an old name", category, "file.py", 1, module=module)

    with warnings.catch_warnings(record=True) as seen:
        called_by("somelibrary.models")
    assert [warning.category for warning in seen] == [category]
    for ours in ("understudy.store.runs", "tests.unit.x", "tabular.train", "shared.study"):
        with pytest.raises(category, match="an old name"):
            called_by(ours)
