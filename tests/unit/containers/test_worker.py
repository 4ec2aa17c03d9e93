"""What the worker knows is in its memory alone. For root, who may become another user."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from understudy.containers.first_start import FOLDERS, prepare

pytestmark = [
    pytest.mark.unit,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user"),
]

USER = "nobody"
WORKER = """
import json, pathlib, sys
from understudy.containers.worker import passwords
print(json.dumps(passwords(pathlib.Path(sys.argv[1]), sys.argv[2])), flush=True)
sys.stdin.read()
"""
ORDINARY = """
import os, pwd, sys
account = pwd.getpwnam(sys.argv[2])
os.setgroups([account.pw_gid])
os.setgid(account.pw_gid)
os.setuid(account.pw_uid)
os.execv("/bin/sh", ["sh", "-c", "echo '{}'; read end"])
"""
INTRUDER = """
import os, pathlib, pwd, sys
folder, process = pathlib.Path(sys.argv[1]), pathlib.Path("/proc", sys.argv[3])
os.chdir("/")
account = pwd.getpwnam(sys.argv[2])
os.setgroups([account.pw_gid])
os.setgid(account.pw_gid)
os.setuid(account.pw_uid)
for path in (folder / "worker" / "airflow.cfg", process / "environ", process / "mem"):
    try:
        path.open("rb").close()
        print("open:", path.name)
    except PermissionError:
        print("closed:", path.name)
"""


@pytest.fixture
def closed(tmp_path: Path) -> Path:
    """Return root's folder, with the files of the worker's user in it."""
    for name in FOLDERS:
        (tmp_path / "all" / name).mkdir(parents=True)
    prepare(tmp_path / "all")
    folder = tmp_path / "keys"
    folder.mkdir(mode=0o700)
    (tmp_path / "all" / "worker").rename(folder / "worker")
    for path in (folder / "worker", *(folder / "worker").iterdir()):
        shutil.chown(path, USER)
    return folder


def _intruder(closed: Path, program: str) -> tuple[dict[str, str], str]:
    """Return what a program knows, and what another process of its user finds of it."""
    command = [sys.executable, "-c", program, closed, USER]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as started:
        assert started.stdout
        known = json.loads(started.stdout.readline())
        intruder = [sys.executable, "-c", INTRUDER, closed, USER, str(started.pid)]
        found = subprocess.run(intruder, stdout=subprocess.PIPE, text=True, check=True).stdout
        started.communicate("")
    return known, found


def test_another_process_of_its_user_learns_nothing(closed: Path) -> None:
    """Neither from the files, nor from its variables, nor from its memory."""
    known, found = _intruder(closed, WORKER)
    assert known["broker_url"].startswith("redis://:")
    assert known["result_backend"].startswith("db+postgresql+psycopg://celery:")
    assert known["result_backend"].endswith("@postgres:5432/celery")
    assert found.split("\n") == ["closed: airflow.cfg", "closed: environ", "closed: mem", ""]


def test_an_ordinary_process_is_open_to_its_user(closed: Path) -> None:
    """Or the test above would show nothing."""
    _, found = _intruder(closed, ORDINARY)
    assert found.split("\n")[1:3] == ["open: environ", "open: mem"]
