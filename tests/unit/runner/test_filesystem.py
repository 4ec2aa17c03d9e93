"""Rights and removal of whole folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from understudy.runner.filesystem import remove_tree

pytestmark = pytest.mark.unit


def test_remove_tree_removes_what_is_read_only(tmp_path: Path) -> None:
    """As a user without root's powers."""
    (tmp_path / "x/y").mkdir(parents=True)
    (tmp_path / "x/y/z").write_text("")
    for path in (tmp_path / "x/y", tmp_path / "x"):
        path.chmod(0o555)
    remove_tree(tmp_path / "x")
    assert not (tmp_path / "x").exists()
