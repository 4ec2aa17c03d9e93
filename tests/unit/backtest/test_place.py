"""What a backtest keeps: complete or absent, and one backtest at a time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from understudy.backtest import place as places
from understudy.backtest.place import BacktestFolder, made, write
from understudy.errors import SettingsError

pytestmark = pytest.mark.unit


def test_a_folder_appears_when_it_is_filled(tmp_path: Path) -> None:
    """Not before."""
    target = tmp_path / "nights" / "one"
    with made(target) as folder:
        (folder / "file").write_text("content")
        assert not target.exists()
    assert (target / "file").read_text() == "content"


def test_what_fails_leaves_nothing(tmp_path: Path) -> None:
    """Neither the folder nor what was to become it."""
    with pytest.raises(IsADirectoryError), made(tmp_path / "nights" / "one") as folder:
        folder.write_text("half")
    assert list((tmp_path / "nights").iterdir()) == []


def test_what_was_killed_while_being_made_is_swept(tmp_path: Path) -> None:
    """By the next backtest, which has the folder alone."""
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "from understudy.backtest.place import made\n"
        "with made(Path(sys.argv[1]) / 'nights' / 'one') as folder:\n"
        "    (folder / 'file').write_text('half'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    plugins = Path(places.__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(plugins)},
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    assert len(list((tmp_path / "nights").iterdir())) == 1
    with BacktestFolder(tmp_path).alone():
        assert list((tmp_path / "nights").iterdir()) == []


def test_a_second_backtest_in_the_folder_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says whose turn it is."""
    monkeypatch.setattr(places, "_PATIENCE_S", 0.0)
    with (
        BacktestFolder(tmp_path).alone(),
        pytest.raises(SettingsError, match="Another backtest works in"),
        BacktestFolder(tmp_path).alone(),
    ):
        pytest.fail("both have it")


def test_json_is_written_as_a_whole(tmp_path: Path) -> None:
    """And is JSON that everybody reads."""
    write(tmp_path / "judged" / "one.json", {"served": 1.5})
    assert json.loads((tmp_path / "judged" / "one.json").read_text()) == {"served": 1.5}
    with pytest.raises(ValueError, match="Out of range"):
        write(tmp_path / "judged" / "two.json", {"served": float("nan")})
