"""Forks Python programs from a process that has imported what they import.

Has nothing but the standard library, of Python 3.8 and later: that is the project's.

Started by ``warm.py`` in a project's environment, with the arguments LISTENER ALIVE LEARNED IDLE
MEMORY, and leaves for a session of its own. It imports the modules that earlier programs of the
same project had imported in the end (never the project's own), then forks, for each request on the
LISTENER socket, a supervisor that forks the program: a process as clean as a new one, but for the
modules that are there already. It ends after IDLE seconds without a request or a running program.

A program that would behave differently is not served: the server refuses, with the reason, where
an import starts threads that survive a fork, opens files, takes more than MEMORY bytes, or where
the program itself set environment variables before it imported.
"""

from __future__ import annotations

import array
import atexit
import builtins
import gc
import hashlib
import importlib
import json
import os
import runpy
import select
import signal
import socket
import struct
import sys
import sysconfig
import tempfile
import threading
import time
from collections import deque
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, NoReturn

READY, GO = b"r", b"g"
UNFIT = ".unfit"
"""What the name of the file of learned modules gets, where a project cannot be served."""
MOST_DESCRIPTORS = 32
IMPORTING = Path("importing")
"""File in the server's folder: what it imports at this moment, or imported when it died."""
_HEADER = struct.Struct("!Q")
_IMPORT_LIMIT_S = 120
_PAUSE_S = 1.0
_REQUEST_LIMIT_S = 5.0
_FORK_SAFE_THREADS = frozenset({"jemalloc_bg_thd"})
"""Native threads whose library prepares for forks itself (pthread_atfork)."""
_OWN_VARIABLES = ("MLFLOW_",)
"""Variables that programs set on purpose while they run; no library reads them when imported."""
_SELF = Path(__file__).resolve()


class UnfitError(Exception):
    """Programs would not behave as in a new process."""


class KnownImports:
    """What earlier programs had imported, in that order, and which variables they had set.

    Of a variable the name and the digest of its value are kept: it may be a token.

    ``programs`` has, for each that added modules, how many there were afterwards: with so many
    imported ahead it finds all that it needs.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = (0, 0)
        self.modules: list[str] = []
        self.variables: dict[str, str] = {}
        self.programs: dict[str, int] = {}

    def changed(self) -> bool:
        """Read the file anew where it has changed; True if it had."""
        try:
            state = self._path.stat()
            now = (state.st_mtime_ns, state.st_ino)
            if now == self._seen:
                return False
            content = json.loads(self._path.read_text(encoding="utf-8"))
            if "variables" in content:
                # The file of a version before this one, with the values themselves.
                self._path.unlink()
                return False
            self.modules, self.variables = content["modules"], content["digests"]
            self.programs = content["programs"]
        except FileNotFoundError:
            return False
        except (ValueError, KeyError, TypeError) as error:
            raise UnfitError(f"{self._path} cannot be read ({error}): remove it") from error
        self._seen = now
        return True

    def add(self, program: str, modules: list[str], variables: dict[str, str]) -> None:
        """Add what one program imported and set; whole or not at all."""
        self.changed()
        known, digests = set(self.modules), {n: _digest(v) for n, v in variables.items()}
        more = [name for name in modules if name not in known]
        if not more and digests.items() <= self.variables.items():
            return
        together = self.modules + more
        content = {
            "modules": together,
            "digests": {**self.variables, **digests},
            "programs": {**self.programs, program: len(together)},
        }
        # Programs end at the same time and readers take no lock: a rename is whole or not at all.
        draft = Path(f"{self._path}.{os.getpid()}")
        # For no other user, whatever the umask.
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(content, file)
        draft.replace(self._path)


def _digest(value: str) -> str:
    return hashlib.sha256(value.encode(errors="surrogateescape")).hexdigest()


class Forkserver:
    """Imports ahead, and forks on request."""

    def __init__(
        self, listener: socket.socket, alive: int, learned: KnownImports, idle: float, memory: int
    ) -> None:
        self._listener, self._alive, self._learned = listener, alive, learned
        self._idle, self._memory = idle, memory
        self._running: set[int] = set()
        self._files = _open_files()
        self._wanted: deque[str] = deque()
        self._checked = False

    def serve(self) -> ForkedProgram | None:
        """Serve until idle; returns a program only in the process that is to run it.

        A request that comes before all is imported waits only for the imports of its own program.

        Raises:
            UnfitError: where nothing may be forked from this process.
        """
        last = time.monotonic()
        while True:
            imported = self._import_one()
            # Only when all is imported is it known whether an import sets them, or the program.
            if self._wanted and self._learned.variables:
                continue
            if select.select([self._listener], [], [], 0 if imported else _PAUSE_S)[0]:
                program = self._answer()
                if program is not None:
                    return program
            for pid in list(self._running):
                if os.waitpid(pid, os.WNOHANG)[0]:
                    self._running.discard(pid)
            if imported or self._running:
                last = time.monotonic()
            elif time.monotonic() - last > self._idle:
                return None

    def _import_one(self) -> bool:
        """Import the next of the modules that were learned; False if there is none."""
        if not self._wanted and self._learned.changed():
            self._wanted.extend(self._learned.modules)
            self._checked = False
        while self._wanted:
            name = self._wanted.popleft()
            if name not in sys.modules:
                # Left behind if the import kills this process; the next start reads who it was.
                IMPORTING.write_text(name, encoding="utf-8")
                # SIGALRM has no handler here: an import that hangs ends this process.
                signal.alarm(_IMPORT_LIMIT_S)
                _import(name)
                signal.alarm(0)
                self._checked = False
                return True
        IMPORTING.unlink(missing_ok=True)
        return False

    def _import_for(self, program: str) -> None:
        """Import as much as a program needed when it was last learned from."""
        enough = self._learned.programs.get(program, 0)
        while len(self._learned.modules) - len(self._wanted) < enough and self._import_one():
            continue

    def _check(self, *descriptors: int) -> None:
        """Refuse to fork where the program would not be as in a new process.

        Args:
            descriptors: Those that are open because of the request.
        """
        if self._checked:
            return
        if threading.active_count() > 1:
            raise UnfitError(f"an import starts the threads {threading.enumerate()[1:]}")
        known = self._files | {_target(Path(f"/proc/self/fd/{number}")) for number in descriptors}
        if opened := _open_files() - known:
            raise UnfitError(f"an import keeps files open: {sorted(opened)}")
        if (size := _resident()) > self._memory:
            raise UnfitError(f"the imports take {size >> 20} MiB, more than {self._memory >> 20}")
        if threads := _threads_after_fork():
            raise UnfitError(f"an import starts native threads that outlive a fork: {threads}")
        for name, value in self._learned.variables.items():
            if name not in os.environ or _digest(os.environ[name]) != value:
                raise UnfitError(f"a program sets {name}, maybe before it imports")
        # Collections in the children do not touch what is frozen, so that its memory pages stay
        # shared with them (see gc.freeze in Python's documentation).
        gc.collect()
        gc.freeze()
        self._checked = True

    def _answer(self) -> ForkedProgram | None:
        connection, _ = self._listener.accept()
        with connection:
            try:
                request, descriptors = _receive(connection)
            except (EOFError, OSError):
                # A connection without a request: Forkservers.prepare, or a client that has died.
                return None
            self._import_for(request["program"][1])
            self._check(connection.fileno(), *descriptors)
            child = os.fork()
            if child:
                for descriptor in descriptors:
                    os.close(descriptor)
                self._running.add(child)
                return None
            self._listener.close()
            os.close(self._alive)
            return _guarded(connection, request, descriptors, self._learned)


class ForkedProgram:
    """One program, in the process that is to run it."""

    def __init__(self, request: dict[str, Any], learned: KnownImports) -> None:
        self._request, self._learned = request, learned
        self._known = frozenset(sys.modules)

    def prepare(self, output: int) -> None:
        """Give this process what a new one would have: streams, folder, variables, random state."""
        gc.enable()
        nothing = os.open(os.devnull, os.O_RDONLY)
        for descriptor, number in ((nothing, 0), (output, 1), (output, 2)):
            os.dup2(descriptor, number)
        os.close(nothing)
        os.close(output)
        os.chdir(self._request["folder"])
        # What an import has set, it would set in a new process as well.
        imported = {n: v for n, v in os.environ.items() if _STARTED_WITH.get(n) != v}
        os.environ.clear()
        os.environ.update({**self._request["environment"], **imported})
        time.tzset()
        # tempfile keeps the folder that it found first; this program has a TMPDIR of its own.
        tempfile.tempdir = None
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for number in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_IGN)
        # Python's own random reseeds itself after a fork, NumPy's does not.
        if "numpy" in sys.modules:
            sys.modules["numpy"].random.seed()
        self._environment = dict(os.environ)

    def run(self) -> None:
        """Run it as ``python -m MODULE`` or ``python SCRIPT`` would."""
        # Registered first, so called last: after the program's own exit handlers have imported.
        atexit.register(self._learn)
        kind, name = self._request["program"]
        main = sys.modules["__main__"] = ModuleType("__main__")
        main.__dict__["__builtins__"] = builtins
        sys.argv = [name, *self._request["arguments"]]
        sys.orig_argv = [sys.executable, *(["-m"] if kind == "module" else []), *sys.argv]
        if not getattr(sys.flags, "safe_path", False):
            folder = Path.cwd() if kind == "module" else Path(name).resolve().parent
            sys.path.insert(0, str(folder))
        if kind == "module":
            runpy._run_module_as_main(name)  # type: ignore[attr-defined]  # noqa: SLF001 - it is -m
        else:
            _run_script(name, main)

    def _learn(self) -> None:
        """Note, at the very end, what was imported and which variables were set."""
        names = [name for name in list(sys.modules) if name not in self._known]
        changed = {
            name: value
            for name, value in os.environ.items()
            if self._environment.get(name) != value and not name.startswith(_OWN_VARIABLES)
        }
        try:
            libraries = [name for name in names if _is_library(name)]
            self._learned.add(self._request["program"][1], libraries, changed)
        except (OSError, UnfitError):
            # A full disk, or a damaged file: the step has succeeded all the same.
            return


_STARTED_WITH = dict(os.environ)
_LIBRARIES = frozenset(map(sysconfig.get_path, ("stdlib", "platstdlib", "purelib", "platlib")))


def _guarded(
    connection: socket.socket,
    request: dict[str, Any],
    descriptors: list[int],
    learned: KnownImports,
) -> ForkedProgram:
    """Act as a program's supervisor until it ends; returns in the program's own process only."""
    from _understudy_supervisor import Supervisor  # type: ignore[import-not-found]

    os.setsid()
    # Two steps, because the worker starts the program cold after a time-out: without its GO the
    # program could run twice.
    connection.sendall(READY)
    if connection.recv(1) != GO:
        os._exit(0)
    connection.close()
    output, control, report, *held = descriptors
    for descriptor in held:
        os.set_inheritable(descriptor, True)  # noqa: FBT003 - it takes no keyword
    supervisor = Supervisor(control, report, request["worker"])
    if supervisor.fork():
        supervisor.forget()
        program = ForkedProgram(request, learned)
        program.prepare(output)
        return program
    os.close(output)
    supervisor.guard(request["grace"], request["scratch"])
    os._exit(0)


def _receive(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """Return a request and the descriptors that came with it.

    Raises:
        EOFError: if there is none, or it is another user's.
        OSError: if it does not come in time.
    """
    connection.settimeout(_REQUEST_LIMIT_S)
    if not _is_ours(connection):
        raise EOFError
    descriptors = array.array("i")
    size = MOST_DESCRIPTORS * descriptors.itemsize
    header, extra, _, _ = connection.recvmsg(_HEADER.size, socket.CMSG_SPACE(size))
    for level, kind, data in extra:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
    if len(header) < _HEADER.size or not descriptors:
        raise EOFError
    content = b"".join(_pieces(connection, *_HEADER.unpack(header)))
    connection.settimeout(None)
    request: dict[str, Any] = json.loads(content)
    return request, list(descriptors)


def _pieces(connection: socket.socket, length: int) -> Iterator[bytes]:
    while length > 0:
        piece = connection.recv(min(length, 1 << 16))
        if not piece:
            raise EOFError
        length -= len(piece)
        yield piece


def request_bytes(request: dict[str, Any]) -> bytes:
    """Return a request as it goes over the wire, after the descriptors."""
    content = json.dumps(request).encode()
    return _HEADER.pack(len(content)) + content


def _is_ours(connection: socket.socket) -> bool:
    """Whether the client is of the same user (unix(7), SO_PEERCRED)."""
    # struct ucred: process, user and group id, an int each.
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    _, user, _ = struct.unpack("3i", credentials)
    return bool(user == os.getuid())


def _run_script(name: str, main: ModuleType) -> None:
    path = Path(name).absolute()
    loader = SourceFileLoader("__main__", str(path))
    main.__dict__.update(__file__=str(path), __loader__=loader, __cached__=None)
    exec(compile(path.read_bytes(), str(path), "exec"), main.__dict__)  # noqa: S102 - as Python does


def _import(name: str) -> None:
    """Import a module; an error is left to the program that needs it, and fails on it."""
    try:
        importlib.import_module(name)
    except Exception as error:  # noqa: BLE001 - any module may raise anything
        sys.stderr.write(f"not imported ahead: {name}: {error}\n")


def _is_library(name: str) -> bool:
    """Whether a module is of Python or of the environment, not of the project."""
    spec = getattr(sys.modules.get(name), "__dict__", {}).get("__spec__")
    origin = Path(getattr(spec, "origin", None) or "/")
    return not _LIBRARIES.isdisjoint(map(str, origin.parents))


def _target(link: Path) -> str:
    return os.readlink(link)  # noqa: PTH115 - Path.readlink is new in Python 3.9


def _open_files() -> set[str]:
    """Return what is open, but for pipes and sockets of our own that come and go."""
    found = set()
    for link in Path("/proc/self/fd").iterdir():
        try:
            found.add(_target(link))
        except FileNotFoundError:
            # The descriptor of the listing itself, which is closed by now.
            continue
    return found


def _resident() -> int:
    """Return the bytes of memory that are in use (proc(5), /proc/pid/statm)."""
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def _threads_after_fork() -> list[str]:
    """Return the native threads that a fork does not end in this process, as OpenBLAS's does."""
    # OpenBLAS stops its threads before a fork (pthread_atfork), so that only a real fork shows
    # which threads are harmless.
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    others = [task for task in Path("/proc/self/task").iterdir() if task.name != str(os.getpid())]
    names = [(task / "comm").read_text(encoding="utf-8").strip() for task in others]
    return [name for name in names if name not in _FORK_SAFE_THREADS]


def _exit(error: BaseException) -> NoReturn:
    """End as Python does after an exception that nobody caught, our own frames left out."""
    trace = error.__traceback__
    while trace is not None and Path(trace.tb_frame.f_code.co_filename) == _SELF:
        trace = trace.tb_next
    sys.excepthook(type(error), error.with_traceback(trace), trace)
    raise SystemExit(1)


def main(arguments: list[str]) -> None:
    """Serve; see the module's docstring for the arguments."""
    listener, alive, learned, idle, memory = arguments
    # The starter waits for this process and takes its exit code; the server is its child.
    if os.fork():
        os._exit(0)
    os.setsid()
    # Imports leave hardly any garbage, and looking for it is a tenth of the time that they take.
    gc.disable()
    own = socket.socket(fileno=int(listener)), int(alive)
    server = Forkserver(*own, KnownImports(Path(learned)), float(idle), int(memory))
    try:
        program = server.serve()
    except UnfitError as reason:
        Path(f"{learned}{UNFIT}").write_text(f"{reason}\n", encoding="utf-8")
        return
    if program is not None:
        try:
            program.run()
        except Exception as error:  # noqa: BLE001 - it is reported as Python reports it
            _exit(error)
