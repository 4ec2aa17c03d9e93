"""Runs Python programs through forkservers that have imported ahead. Starts and contacts them.

One server serves all steps of one project in one environment with the same variables, on one
machine; it ends by itself when idle. Its folder, below the warm folder of this user, has the
socket, a lock that lives as long as the server does, and its log. Linux only: elsewhere, and
wherever a server refuses, programs are started in the ordinary way.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from understudy.runner.filesystem import private_folder
from understudy.runner.locks import FileLock
from understudy.runner.process import forkserver
from understudy.runner.process.quoting import placeholders

_INERT = re.compile(r"[\w@%+=:,./ -]*")
"""Characters that mean nothing to a shell, wherever they stand between two words' first letters."""
_MODULE = re.compile(r"[A-Za-z_][\w.]*")
_INTERPRETERS = frozenset({"python", "python3"})


# Such a program can be run by a process that is there already (``forkserver.py``), without a shell:
# every other command needs bash.
@dataclass(frozen=True, slots=True)
class Program:
    """A Python program: ``kind`` is "module" or "script", ``name`` what follows ``python [-m]``."""

    kind: str
    name: str
    arguments: tuple[str, ...]


def program_of(template: str, line: str) -> Program | None:
    """Return the program that an entry point's command runs, or None where it is more than that.

    Args:
        template: The command as the MLproject has it, with placeholders.
        line: The same with shell-quoted values in their places.
    """
    literals = [literal for literal, _ in placeholders(template.strip())]
    if not all(_INERT.fullmatch(literal) for literal in literals):
        return None
    interpreter, *words = shlex.split(line) or [""]
    if interpreter not in _INTERPRETERS:
        return None
    # Unbuffered output is the rule here: child.py sets PYTHONUNBUFFERED.
    if words[:1] == ["-u"]:
        del words[0]
    if len(words) > 1 and words[0] == "-m" and _MODULE.fullmatch(words[1]):
        return Program("module", words[1], tuple(words[2:]))
    if words and words[0].endswith(".py") and not words[0].startswith("-"):
        return Program("script", words[0], tuple(words[1:]))
    return None


IDLE_S = 60.0
MEMORY = 2 << 30
"""Bytes that the imports of one server may take."""
MOST_SERVERS = 8
# A server imports before it answers, and TensorFlow takes 20 s.
_ANSWER_S = 60.0
# After a day an unfit project may have changed: it is tried again.
_UNFIT_S = 86_400.0
_LOG_KEPT_S = 86_400.0
# An idle server may end in the moment of the request.
_TRIES = 2
_BACKLOG = 64
# The environment has no Understudy, so that its Python gets two files by path. `-c` puts '' into
# sys.path, the current folder of the moment, which a program run as a script would not have.
_BOOTSTRAP = """
import importlib.util, sys
sys.path[:] = filter(None, sys.path)
_, supervisor, forkserver, *arguments = sys.argv
for name, path in (("_understudy_supervisor", supervisor), ("_understudy_forkserver", forkserver)):
    spec = importlib.util.spec_from_file_location(name, path)
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
module.main(arguments)
"""
_SOURCES = tuple(
    str(Path(__file__).with_name(f"{name}.py")) for name in ("supervisor", "forkserver")
)


@dataclass(frozen=True, slots=True)
class Server:
    """Which forkserver.

    Attributes:
        python: The environment's interpreter.
        learned: File of the modules that the project's programs import; it is made and kept here.
        variables: What all its programs have in common.
        held_descriptors: Locks that keep the environment as long as the server lives.
    """

    python: Path
    learned: Path
    variables: Mapping[str, str] = field(repr=False)
    held_descriptors: tuple[int, ...] = ()

    @property
    def identity(self) -> str:
        """16 hex digits; another version of our own code is another server."""
        # An update of this package must not talk to a server of the version before it.
        sources = [Path(source).read_text(encoding="utf-8") for source in _SOURCES]
        parts = [str(self.python), str(self.learned), sorted(self.variables.items()), sources]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class WarmStart:
    """A program, and the server that can run it."""

    server: Server
    program: Program


@dataclass(frozen=True, slots=True)
class Channel:
    """Descriptors that are passed to the supervisor and the program."""

    output: int
    control: int
    report: int
    held: tuple[int, ...] = ()

    def all(self) -> list[int]:
        """Return them in the order in which a forkserver expects them."""
        return [self.output, self.control, self.report, *self.held]


@dataclass(frozen=True, slots=True)
class Conditions:
    """A program's folder and variables, and its supervisor's settings."""

    folder: Path
    environment: Mapping[str, str] = field(repr=False)
    grace: float
    scratch: Path | None


class Forkservers:
    """The forkservers of this user on this machine, in one folder."""

    def __init__(self, root: Path, idle: float = IDLE_S) -> None:
        self._root, self._idle = root, idle

    def launch(self, start: WarmStart, around: Conditions, channel: Channel) -> str:
        """Start a program in a forkserver; return '' if it runs, else why it must start cold."""
        server = start.server
        if reason := _refusal(server.learned):
            return reason
        for _ in range(_TRIES):
            try:
                with self._connected(server) as connection:
                    if _accepted(connection, _request(start.program, around), channel):
                        return ""
            except OSError as error:
                return f"no forkserver can be reached: {error}"
            if reason := _refusal(server.learned):
                return reason
        return "a forkserver was started and has ended"

    def prepare(self, server: Server) -> None:
        """Let a server import in the background what a program will need soon."""
        if not _refusal(server.learned):
            # What fails here fails again at the launch, which reports it.
            with contextlib.suppress(OSError):
                self._connected(server).close()

    def _connected(self, server: Server) -> socket.socket:
        """Return a connection to a server, which is started if need be."""
        private_folder(self._root)
        folder = self._root / server.identity
        folder.mkdir(mode=0o700, exist_ok=True)
        address = str(folder / "socket")
        connection = socket.socket(socket.AF_UNIX)
        try:
            # Under the lock: steps that begin at the same time start one server, not several.
            with FileLock(folder / "start").exclusive():
                try:
                    connection.connect(address)
                except (FileNotFoundError, ConnectionRefusedError):
                    self._start(server, folder)
                    connection.connect(address)
        except BaseException:
            connection.close()
            raise
        return connection

    def _start(self, server: Server, folder: Path) -> None:
        """Start a server that listens already. Needs the folder's lock."""
        self._make_room(folder)
        if (note := folder / forkserver.IMPORTING).exists():
            # A module that kills its process, or hangs, would do so at every start.
            reason = f"a forkserver ended while it imported {note.read_text(encoding='utf-8')}"
            note.unlink()
            Path(f"{server.learned}{forkserver.UNFIT}").write_text(f"{reason}\n", encoding="utf-8")
            raise OSError(reason)
        (folder / "socket").unlink(missing_ok=True)
        with (
            FileLock(folder / "alive").exclusive() as alive,
            socket.socket(socket.AF_UNIX) as listener,
            (folder / "log").open("wb") as log,
        ):
            # Listening before the server runs: who connects now waits, and is not refused.
            listener.bind(str(folder / "socket"))
            listener.listen(_BACKLOG)
            options = (listener.fileno(), alive, server.learned, self._idle, MEMORY)
            started = subprocess.run(
                [str(server.python), "-c", _BOOTSTRAP, *_SOURCES, *map(str, options)],
                cwd=folder,
                env=dict(server.variables),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=(listener.fileno(), alive, *server.held_descriptors),
                check=False,
            )
        if started.returncode:
            raise OSError(f"its log is {folder / 'log'}")

    def _make_room(self, own: Path) -> None:
        """Refuse where too many servers live; remove what dead ones left.

        Raises:
            OSError: if there are too many.
        """
        living = 0
        for folder in self._root.iterdir():
            with FileLock(folder / "alive").exclusive_if_free() as free:
                living += free is None
                if free is not None and folder != own:
                    _clear(folder)
        if living >= MOST_SERVERS:
            raise OSError(f"there are {living} of them already")


def _clear(folder: Path) -> None:
    """Remove a dead server's socket, and everything of it once nobody will read its log."""
    (folder / "socket").unlink(missing_ok=True)
    with FileLock(folder / "start").exclusive_if_free() as free:
        if free is not None and time.time() - folder.stat().st_mtime > _LOG_KEPT_S:
            shutil.rmtree(folder)


def _accepted(connection: socket.socket, request: dict[str, Any], channel: Channel) -> bool:
    """Send a request and confirm it; False if the server ended instead.

    Raises:
        OSError: if it cannot be reached or does not answer in time.
    """
    connection.settimeout(_ANSWER_S)
    content = forkserver.request_bytes(request)
    try:
        # Descriptors go with the first bytes (unix(7)), and the socket may not take all at once.
        sent = socket.send_fds(connection, [content], channel.all())
        connection.sendall(content[sent:])
        if connection.recv(1) != forkserver.READY:
            return False
        connection.sendall(forkserver.GO)
    except (BrokenPipeError, ConnectionResetError):
        return False
    return True


def _request(program: Program, around: Conditions) -> dict[str, Any]:
    return {
        "program": [program.kind, program.name],
        "arguments": list(program.arguments),
        "folder": str(around.folder),
        "environment": dict(around.environment),
        "grace": around.grace,
        "scratch": str(around.scratch or ""),
        "worker": os.getpid(),
    }


def _refusal(learned: Path) -> str:
    """Return why programs of this project are not started warm, or ''."""
    note = Path(f"{learned}{forkserver.UNFIT}")
    try:
        young = time.time() - note.stat().st_mtime < _UNFIT_S
        return note.read_text(encoding="utf-8").strip() if young else ""
    except FileNotFoundError:
        return ""
