"""Runs one container and ends when it ends; ends it when we are ended. Standard library only.

Started as ``python -I -S containment.py ENGINE NAME PATIENCE OPTION...``; OPTION... is what follows
``docker run --name NAME``. The engine's client stands in for the container towards the supervisor,
but killing the client leaves the container running: so on TERM, which the client has got too and
passes on to the container, PATIENCE seconds are waited and then the container itself is killed.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from types import FrameType

_SHELL_SIGNAL_BASE = 128


class Stopped(BaseException):
    """TERM has come."""


def main(argv: list[str]) -> int:
    """Run the container; return its exit code, or 128 + the signal that ended the client."""
    engine, name, patience, *options = argv
    signal.signal(signal.SIGTERM, _stop)
    client = subprocess.Popen([engine, "run", "--name", name, *options])
    # An exception, because wait() goes on after a signal handler that returns (PEP 475).
    try:
        code = client.wait()
    except Stopped:
        code = _ended(client, [engine, "kill", name], float(patience))
    return code if code >= 0 else _SHELL_SIGNAL_BASE - code


def _ended(client: subprocess.Popen[bytes], kill: list[str], patience: float) -> int:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        return client.wait(patience)
    except subprocess.TimeoutExpired:
        subprocess.run(kill, stdout=subprocess.DEVNULL, check=False)
        return client.wait()


def _stop(_number: int, _frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise Stopped


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
