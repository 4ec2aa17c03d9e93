"""Chooses the loopback ports of a stack and remembers them in a file, so that addresses last."""

from __future__ import annotations

import errno
import json
import random
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path

from understudy.devstack.processes import StackError

LOOPBACK = "127.0.0.1"
PORTS = range(20000, 32000)
"""Where ports are looked for: above the well-known ones, below those of outgoing connections."""


def remembered(path: Path) -> dict[str, int]:
    """The ports by name that an earlier start chose; none when the file is away or not whole."""
    try:
        content = json.loads(path.read_text("utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
    return {name: port for name, port in content.items() if isinstance(port, int)}


def choose(names: Iterable[str], earlier: Mapping[str, int]) -> dict[str, int]:
    """A free port for each name: the earlier one where that is still free.

    Raises:
        StackError: no port of the range is free.
    """
    chosen: dict[str, int] = {}
    for name in names:
        before = earlier.get(name)
        # The git server's address is in every run's tags, so a restart keeps the ports if it can.
        usable = before is not None and before not in chosen.values() and is_free(before)
        chosen[name] = before if usable and before else _any_free(set(chosen.values()))
    return chosen


def remember(path: Path, ports: Mapping[str, int]) -> None:
    """Writes the ports down, in one step."""
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(dict(ports), indent=2) + "\n", "utf-8")
    draft.replace(path)


def is_free(port: int) -> bool:
    """Whether a server could listen there now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: connections in TIME_WAIT of the server before do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            if error.errno in {errno.EADDRINUSE, errno.EACCES}:
                return False
            raise
    return True


def _any_free(taken: set[int]) -> int:
    # At random, so that two stacks that start at the same time rarely choose the same port.
    for port in random.SystemRandom().sample(PORTS, len(PORTS)):
        if port not in taken and is_free(port):
            return port
    raise StackError(
        f"No port between {PORTS.start} and {PORTS.stop - 1} is free on {LOOPBACK}",
        allowed="a handful of free ports in that range",
        action="end what holds them (ss -ltnp lists it)",
    )
