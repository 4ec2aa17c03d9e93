"""Programs run by a forkserver: as if started anew, and nothing of them stays."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from understudy.runner.environment.interpreter import MissingPythonError, find_python
from understudy.runner.locks import FileLock
from understudy.runner.process.process import Command, Ending, ProcessRunner
from understudy.runner.process.warm import Forkservers, Program, Server, WarmStart, program_of

pytestmark = [
    pytest.mark.unit,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="forkservers need Linux"),
]
IDLE = 2.0


@pytest.fixture
def short() -> Iterator[Path]:
    """Return a folder with a path that is short enough for a socket; no server outlives it."""
    with tempfile.TemporaryDirectory(prefix="warm-", dir="/tmp") as folder:
        yield Path(folder)
        for server in servers(Path(folder)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(server, signal.SIGKILL)


def learned(*modules: str) -> str:
    """Return what a forkserver is to import ahead, as it is kept."""
    return json.dumps({"modules": modules, "digests": {}, "programs": {}})


def servers(folder: Path) -> list[int]:
    """Return the forkservers that learn into a folder."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and str(folder / "learned").encode() in (
                (entry / "cmdline").read_bytes()
            ):
                found.append(int(entry.name))
    return found


class Bench:
    """Runs the same program warm and cold."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.forkservers = Forkservers(folder / "servers", IDLE)
        self.python = Path(sys.executable)
        self.project = folder / "project"
        self.project.mkdir()

    def write(self, source: str, name: str = "program.py") -> None:
        """Write a program of the project."""
        (self.project / name).write_text(textwrap.dedent(source))

    def command(
        self, *arguments: str, kind: str = "script", warm: bool = True, **options: Any
    ) -> Command:
        """Return a command that runs ``program``."""
        name = "program.py" if kind == "script" else "program"
        words = (str(self.python), *(["-m"] if kind == "module" else []), name, *arguments)
        own = options.pop("environment", {})
        shared = {"PATH": os.environ["PATH"], "PYTHONUNBUFFERED": "1", "LANG": "C.UTF-8"}
        shared |= {name: value for name, value in own.items() if name != "TMPDIR"}
        server = Server(self.python, self.folder / "learned", shared)
        return Command(
            words,
            self.project,
            {**shared, **own},
            warm=WarmStart(server, Program(kind, name, arguments)) if warm else None,
            **{"grace": 0.3, **options},
        )

    def run(self, *arguments: str, **options: Any) -> tuple[Ending, list[str]]:
        """Run it to its end; return how it ended and what it said."""
        lines: list[str] = []
        ending = ProcessRunner(self.forkservers).run(
            self.command(*arguments, **options), lines.append
        )
        return ending, lines


@pytest.fixture
def bench(short: Path) -> Bench:
    """Return a place for one program."""
    return Bench(short)


SELF_PORTRAIT = """
    import json, os, sys, signal, tempfile
    print(json.dumps({
        "argv": sys.argv, "cwd": os.getcwd(), "path": sys.path[0], "name": __name__,
        "environment": {n: v for n, v in os.environ.items() if n != "LC_CTYPE"},
        "session": os.getsid(0) != os.getpgid(0), "group": os.getpgid(0) == os.getpid(),
        "signals": [str(signal.getsignal(n)) for n in (2, 13, 15, 17)],
        "files": sorted(os.listdir("/proc/self/fd"))[:-1], "stdin": os.readlink("/proc/self/fd/0"),
        "main": sorted(n for n in vars(sys.modules["__main__"]) if n != "__annotations__"),
        "file": os.path.basename(__file__), "temporary": tempfile.gettempdir(),
        "input": sys.stdin.read(), "buffered": sys.stdout.write_through,
    }, sort_keys=True))
"""


@pytest.mark.parametrize("kind", ["script", "module"])
def test_a_program_sees_what_it_would_see_in_a_process_of_its_own(
    bench: Bench, kind: str, tmp_path: Path
) -> None:
    """Arguments, folder, path, variables, signals, open files, the module __main__."""
    bench.write(SELF_PORTRAIT)
    given = {"environment": {"TMPDIR": str(tmp_path), "WORD": "x y"}, "kind": kind}
    portraits = []
    for warm in (False, True, True):  # the second warm one has modules imported ahead
        ending, lines = bench.run("--x=a b", "", "ü", warm=warm, **given)
        assert ending.ok, lines
        portraits.append(json.loads(lines[-1]))
    cold, first, second = portraits
    assert first == cold
    assert second == cold


LATE = """
import threading, time
threading.Thread(target=lambda: (time.sleep(0.2), print('late'))).start()
"""


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("import sys; sys.exit(65)", 65),
        ("import sys; sys.exit('bad input')", 1),
        ("def f():\n    raise ValueError('no')\nf()", 1),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", -signal.SIGSEGV),
        ("import os; os._exit(7)", 7),
        ("import atexit, sys; atexit.register(print, 'last word'); print('first')", 0),
        (LATE, 0),
        ("x = (", 1),
    ],
)  # fmt: skip
def test_it_ends_as_it_would(bench: Bench, source: str, code: int) -> None:
    """The same exit code and the very same words, tracebacks included."""
    bench.write(source)
    cold, warm = bench.run(warm=False), bench.run()
    assert cold == warm
    assert warm[0].exit_code == code


def test_what_it_imports_is_there_the_next_time(
    eventually: Callable[..., bool], bench: Bench
) -> None:
    """Libraries only: the project's own modules are read anew by every program."""
    bench.write("WORD = 'old'", "own.py")
    bench.write(
        "import sys; before = set(sys.modules); import own, wave, xml.dom.minidom\n"
        "print('wave' in before, 'xml.dom.minidom' in before, 'own' in before, own.WORD)"
    )
    assert bench.run()[1] == ["False False False old"]
    bench.write("WORD = 'newer'", "own.py")
    assert eventually(lambda: bench.run()[1] == ["True True False newer"])
    kept = json.loads((bench.folder / "learned").read_text())
    assert "own" not in kept["modules"]
    assert kept["programs"] == {"program.py": len(kept["modules"])}


@pytest.mark.parametrize("version", ["3.8", "3.9", "3.10"])
def test_the_python_of_a_project_may_be_older_than_ours(
    eventually: Callable[..., bool], bench: Bench, version: str
) -> None:
    """A server that fails would be told of in a line more."""
    try:
        bench.python = find_python(version, os.environ).executable
    except MissingPythonError:
        pytest.skip(f"Python {version} is not here")
    bench.write("import sys; before = 'wave' in sys.modules; import wave; print(before)")
    assert bench.run() == (Ending(0), ["False"])
    assert eventually(lambda: bench.run()[1] == ["True"])


def test_programs_share_no_random_state(bench: Bench) -> None:
    """Neither Python's nor NumPy's generators repeat themselves from program to program."""
    bench.write("import numpy, random; print(random.random(), numpy.random.rand())")
    said = [bench.run()[1][0].split() for _ in range(4)]
    assert len({number for line in said for number in line}) == 8


def test_two_run_at_once(bench: Bench) -> None:
    """A server that has forked one program is free for the next."""
    bench.write("import sys, time; time.sleep(float(sys.argv[1])); print('done')")
    bench.run("0")
    began = time.monotonic()
    threads = [threading.Thread(target=bench.run, args=("1",)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert time.monotonic() - began < 2.5
    assert len(servers(bench.folder)) == 1


@pytest.mark.parametrize("how", ["stop", "timeout"])
def test_a_stop_ends_it_and_all_it_started(
    running: Callable[[str], list[int]], eventually: Callable[..., bool], bench: Bench, how: str
) -> None:
    """Daemons included; the server goes on."""
    nap = f"{os.getpid()}.75"
    bench.write(
        f"import subprocess, time\n"
        f"subprocess.Popen(['setsid', 'sleep', '{nap}'], start_new_session=True)\n"
        f"subprocess.Popen(['bash', '-c', '(trap \"\" TERM; sleep {nap}) & disown'])\n"
        f"print('up', flush=True); time.sleep(60)"
    )
    process_runner = ProcessRunner(bench.forkservers)
    command = bench.command(timeout=1.0 if how == "timeout" else None)

    def stop(line: str) -> None:
        if line == "up" and how == "stop":
            threading.Timer(0.3, process_runner.stop).start()

    ending = process_runner.run(command, stop)
    assert (ending.stopped, ending.timed_out) == (how == "stop", how == "timeout")
    assert eventually(lambda: not running(f"sleep {nap}"))
    assert len(servers(bench.folder)) == 1


WORKER = """
import sys
from pathlib import Path
from understudy.runner.process.process import Command, ProcessRunner
from understudy.runner.process.warm import Program
from understudy.runner.process.warm import Forkservers, Server, WarmStart
folder = Path(sys.argv[1])
variables = {"PATH": "/usr/bin:/bin"}
server = Server(Path(sys.executable), folder / "learned", variables)
start = WarmStart(server, Program("script", "program.py", ()))
command = Command(("false",), folder / "project", variables, grace=0.3, warm=start,
                  scratch=folder / "scratch")
runner = ProcessRunner(Forkservers(folder / "servers", 60))
runner.run(command, lambda line: print(line, flush=True))
"""


def test_a_killed_worker_takes_its_program_with_it(
    eventually: Callable[..., bool], bench: Bench
) -> None:
    """And its scratch folder; the server lives, since others use it."""
    (bench.folder / "scratch").mkdir()
    bench.write("import os, time; print(os.getpid(), flush=True); time.sleep(60)")
    with subprocess.Popen(
        [sys.executable, "-c", WORKER, str(bench.folder)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as worker:
        assert worker.stdout is not None
        program = int(worker.stdout.readline())
        worker.kill()
    assert eventually(lambda: not Path(f"/proc/{program}").exists())
    assert eventually(lambda: not (bench.folder / "scratch").exists())
    assert len(servers(bench.folder)) == 1


def test_a_killed_server_does_not_take_programs_with_it(bench: Bench) -> None:
    """They run to their end, and the next one has a new server."""
    bench.write("import time; print('up', flush=True); time.sleep(1); print('done')")

    def kill(line: str) -> None:
        if line == "up":
            # Of those that bear the name the eldest is the server, the others its forks.
            os.kill(min(servers(bench.folder)), signal.SIGKILL)

    lines: list[str] = []
    ending = ProcessRunner(bench.forkservers).run(
        bench.command(), lambda line: (lines.append(line), kill(line))[0]
    )
    assert ending.ok
    assert lines == ["up", "done"]
    assert bench.run()[1] == ["up", "done"]


def test_an_idle_server_ends_by_itself(eventually: Callable[..., bool], bench: Bench) -> None:
    """Nothing is left running after the last night."""
    bench.write("print('x')")
    bench.run()
    assert len(servers(bench.folder)) == 1
    assert eventually(lambda: not servers(bench.folder), 3 * IDLE)


def test_folders_of_dead_servers_go_after_a_day(bench: Bench) -> None:
    """Each new environment has a server of its own: what the old ones left must not pile up."""
    root, now = bench.folder / "servers", time.time()
    for name, age in {"young": 3_600.0, "old": 2 * 86_400.0, "in use": 2 * 86_400.0}.items():
        (root / name).mkdir(parents=True)
        for file in ("alive", "start", "log"):
            (root / name / file).touch()
        os.utime(root / name, (now - age, now - age))
    bench.write("print('x')")
    with FileLock(root / "in use" / "alive").exclusive():
        bench.run()
    ours = bench.command().warm
    assert ours is not None
    assert {one.name for one in root.iterdir()} == {"young", "in use", ours.server.identity}


UNFIT = {
    "threads": "from threading import *\nThread(target=Event().wait, daemon=True).start()",
    "files": "FILE = open('/etc/hostname')",
    "dies": "import os, sys\nif sys.argv[0] != 'program.py': os._exit(3)",
}


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("threads", "starts the threads"),
        ("files", "keeps files open"),
        ("dies", "ended while it imported"),
    ],
)
def test_imports_that_would_not_stand_a_fork_are_not_done_ahead(
    eventually: Callable[..., bool], bench: Bench, how: str, reason: str
) -> None:
    """Such a project's programs are started cold, and the log says why."""
    bench.write("print('fine')")
    library = bench.folder / "library"
    library.mkdir()
    (library / "odd.py").write_text(UNFIT[how])
    (bench.folder / "learned").write_text(learned("odd"))
    environment = {"PYTHONPATH": str(library)}
    said = []

    def refused() -> bool:
        ending, lines = bench.run(environment=environment)
        said.append(lines)
        return ending.ok and reason in lines[0]

    assert eventually(refused)  # who asks before the import is served without it
    assert {lines[-1] for lines in said} == {"fine"}


def test_variables_set_before_an_import_are_respected(
    eventually: Callable[..., bool], bench: Bench
) -> None:
    """What the program sets itself could change what its imports do: it is started cold."""
    bench.write("import os; os.environ['OMP_NUM_THREADS'] = '1'; import wave; print('ran')")
    assert bench.run()[1] == ["ran"]
    assert eventually(
        lambda: bench.run()[1][0].startswith("Not started from a forkserver: a program sets OMP")
    )


def test_a_foreign_request_is_harmless(bench: Bench) -> None:
    """Connections that say nothing, or go away, do not end the server."""
    import socket

    bench.write("print('x')")
    bench.run()
    before = servers(bench.folder)
    (address,) = (bench.folder / "servers").glob("*/socket")
    for content in (b"", b"\0" * 8, b"\0" * 7 + b"\x02{}"):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(address))
            connection.sendall(content)
    assert bench.run()[1] == ["x"]
    assert servers(bench.folder) == before


def test_a_prepared_server_is_the_one_that_programs_find(bench: Bench) -> None:
    """It has imported by then what was learned."""
    (bench.folder / "learned").write_text(learned("wave"))
    bench.write("import sys; print('wave' in sys.modules)")
    start = bench.command().warm
    assert start is not None
    bench.forkservers.prepare(start.server)
    before = servers(bench.folder)
    assert len(before) == 1
    time.sleep(0.5)
    assert bench.run()[1] == ["True"]
    assert servers(bench.folder) == before


@pytest.mark.parametrize(
    ("template", "values", "program"),
    [
        ("python -m tabular.train --data {data}", {"data": "'a b'"},
         Program("module", "tabular.train", ("--data", "a b"))),
        ("python -u train.py --x={x}\n", {"x": "'$(rm x)'"},
         Program("script", "train.py", ("--x=$(rm x)",))),
        ("python3 sub/train.py", {}, Program("script", "sub/train.py", ())),
        ("python train.py && echo done", {}, None),
        ("python train.py > log", {}, None),
        ("python train.py $HOME", {}, None),
        ("python train.py *.csv", {}, None),
        ("python train.py ~/x", {}, None),
        ("python -W ignore train.py", {}, None),
        ("python -c pass", {}, None),
        ("X=1 python train.py", {}, None),
        ("bash train.sh {x}", {"x": "1"}, None),
        ("python {x}", {"x": "-c"}, None),
        ("", {}, None),
    ],
)  # fmt: skip
def test_which_commands_are_one_program(
    template: str, values: Mapping[str, str], program: Program | None
) -> None:
    """Everything else means what only a shell knows."""
    assert program_of(template, template.format(**values)) == program


def test_a_variable_s_value_stays_in_the_program(bench: Bench) -> None:
    """It may be a token that was fetched: the disk gets its digest, in a file of this user's."""
    bench.write("import os, wave\nos.environ['FETCHED'] = 's3cret-s3cret'\nprint('done')")
    file = bench.folder / "learned"
    file.write_text(json.dumps({"modules": [], "variables": {"OLD": "s3cret"}, "programs": {}}))
    assert bench.run()[1][-1:] == ["done"]
    kept = json.loads(file.read_text())
    assert "s3cret" not in file.read_text()
    assert kept["digests"].keys() == {"FETCHED"}
    assert "wave" in kept["modules"]
    assert file.stat().st_mode & 0o777 == 0o600
