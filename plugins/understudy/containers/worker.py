"""Starts the container stack's Celery worker with passwords that no step of its can read.

A step is a process of the worker's user, so that a file or a variable of that user's hides nothing.
The passwords lie below a folder that root alone may enter. This program begins as root with
no right but to become somebody else; it opens the folder, becomes that user, reads, and goes on as
Airflow's worker in the same process: what was read is in its memory alone, and Linux lets nobody
but root look into that (``prctl(2)``, ``PR_SET_DUMPABLE``), nor into that of what it forks.

Run it with ``python -I``: what a step has left in the working folder or at home is not imported.
"""

from __future__ import annotations

import configparser
import ctypes
import os
import pwd
import sys
from pathlib import Path
from typing import Final
from urllib.parse import quote

CLOSED: Final = Path("/opt/understudy/keys")
"""A folder of root's, of mode 0700; in it the folder ``worker`` with its files."""
USER: Final = "understudy"
_SET_DUMPABLE: Final = 4


def passwords(closed: Path = CLOSED, user: str = USER) -> dict[str, str]:
    """Become a user for good, and return the worker's settings that hold passwords, by name.

    Args:
        closed: The folder that only this process's present user may enter.
        user: Whom to become, with no groups but its own.

    Raises:
        OSError: when the folder may not be opened, or the user may not be changed.
    """
    # Opened by root, and read by the files' owner: root without capabilities may not read them.
    folder = os.open(closed / "worker", os.O_PATH | os.O_DIRECTORY)
    try:
        _become(user)
        settings = configparser.ConfigParser(interpolation=None)
        settings.read_string(_read("airflow.cfg", folder))
        line = _read("pgpass", folder).splitlines()[0]
    finally:
        os.close(folder)
    server, port, database, role, password = line.split(":")
    address = f"{role}:{quote(password, safe='')}@{server}:{port}/{database}"
    return {
        "broker_url": settings["celery"]["broker_url"],
        "result_backend": f"db+postgresql+psycopg://{address}",
    }


def _become(user: str) -> None:
    account = pwd.getpwnam(user)
    os.setgroups([account.pw_gid])
    os.setgid(account.pw_gid)
    os.setuid(account.pw_uid)
    # Linux has done so with the change of user; its default can be set otherwise.
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_SET_DUMPABLE, 0, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "this process cannot be closed to others")


def _read(name: str, folder: int) -> str:
    with open(name, opener=lambda path, flags: os.open(path, flags, dir_fd=folder)) as file:
        return file.read()


def main() -> None:
    """Run ``airflow celery worker`` with the arguments of this program."""
    known = passwords()
    # Not by variables: what a program starts would inherit them, and anybody could read them there.
    from airflow.configuration import conf as servers
    from airflow.sdk.configuration import conf as tasks

    for name, value in known.items():
        servers.set("celery", name, value)
        tasks.set("celery", name, value)
    from airflow.__main__ import main as airflow

    sys.argv = ["airflow", "celery", "worker", *sys.argv[1:]]
    airflow()  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main()
