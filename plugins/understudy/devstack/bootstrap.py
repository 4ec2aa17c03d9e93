"""Builds the virtual environments of this checkout from their hashed locks; writes below `.state/`.

Runs on a bare interpreter, before anything is installed, so it uses the standard library only and
imports nothing of the package it sits in. An environment that is complete carries a stamp with the
digest of everything that it was built from; one without a stamp is an unfinished set-up and is
built anew, one with another digest is brought up to date.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import os
import platform
import shutil
import ssl
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

STAMP = ".complete"
GATE_LOCK = "plugins/understudy/decide/environment/requirements.txt"
"""The lock of the gate's own environment is part of the package, which builds it where it runs."""
UNTRUSTED = ("UnknownIssuer", "CERTIFICATE_VERIFY_FAILED")
"""What uv and pip say of a certificate that nobody here vouches for."""
OUTPUT_LINES = 20
"""How many of a failed program's last lines are shown."""


class SetupError(Exception):
    """The set-up cannot go on: what was found, what is allowed, what to do next."""

    def __init__(self, found: str, *, allowed: str, action: str) -> None:
        super().__init__(f"{found}\n  Allowed: {allowed}\n  Next: {action}")


@dataclass(frozen=True)
class Layout:
    """Where the checkout keeps its locks and its environments."""

    root: Path

    @property
    def state(self) -> Path:
        """The git-ignored folder that holds everything made here."""
        return self.root / ".state"

    @property
    def bootstrap(self) -> Path:
        """The environment that holds uv and nothing else."""
        return self.state / "bootstrap"

    def lock(self, name: str) -> Path:
        """The hashed lock that the environment `name` is built from."""
        return self.root / "requirements" / f"{name}.txt"

    def environment(self, name: str) -> Path:
        """The virtual environment `name`."""
        return self.state / "venvs" / name


@dataclass(frozen=True)
class VirtualEnvironment:
    """One virtual environment: what it is built from, and whether this checkout is part of it."""

    name: str
    path: Path
    lock: Path
    checkout: Path | None
    """Installed into it as an editable distribution, for its entry points; None for not at all."""

    # Python's version and place: an environment links to its interpreter, and breaks with it. The
    # environment's own path: its scripts name it, so a checkout that was moved is built anew.
    def digest(self) -> str:
        """The SHA-256 of all that the finished environment depends on, as 64 hex digits."""
        parts = [platform.python_version(), sys.base_prefix, str(self.path)]
        parts.append(self.lock.read_text("utf-8"))
        if self.checkout is not None:
            parts.append((self.checkout / "pyproject.toml").read_text("utf-8"))
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    def stamped(self) -> str | None:
        """The digest that the environment was finished with; None when it never was finished."""
        try:
            return (self.path / STAMP).read_text("ascii").strip()
        except FileNotFoundError:
            return None

    @property
    def python(self) -> Path:
        """The environment's interpreter."""
        return self.path / "bin" / "python"


def environments(layout: Layout) -> dict[str, VirtualEnvironment]:
    """The environments that can be built, by name."""
    checkouts = {"airflow": layout.root, "mlflow": None, "dev": layout.root, "docs": None}
    return {
        name: VirtualEnvironment(name, layout.environment(name), layout.lock(name), checkout)
        for name, checkout in checkouts.items()
    }


def say(message: str) -> None:
    """One line about what is being done; to stderr, so that stdout stays the programs' own."""
    print(f"understudy: {message}", file=sys.stderr, flush=True)


def run(command: Iterable[object], *, doing: str) -> None:
    """Runs a program; its output is shown only when it fails.

    Raises:
        SetupError: it ended with another status than 0.
    """
    argv = [str(part) for part in command]
    # stdin is closed, so that pip, uv or Git fail rather than wait for a password.
    done = subprocess.run(
        argv,
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=child_environment(os.environ),
    )
    if done.returncode != 0:
        mend = "mend what the lines above name"
        if any(words in done.stdout for words in UNTRUSTED):
            mend = (
                "add the certificate of your network's proxy to the system's trust store, or name "
                "its file in SSL_CERT_FILE and PIP_CERT"
            )
        raise SetupError(
            f"{doing} failed with status {done.returncode}:\n{tail(done.stdout)}",
            allowed="a package index that answers, and free disk space (about 2 GB in all)",
            action=f"{mend}, then run the same command again",
        )


def tail(output: str) -> str:
    """The last lines of a program's output, indented."""
    lines = output.rstrip().splitlines()[-OUTPUT_LINES:]
    return "\n".join(f"    {line}" for line in lines)


def child_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The caller's variables without those that would point pip or uv at another environment."""
    # The interpreter that runs this is used, or none. uv would fetch another one from GitHub, and
    # without a network fail after 10 s only.
    misleading = {"PYTHONHOME", "PYTHONPATH", "UV_PYTHON", "UV_SYSTEM_PYTHON", "VIRTUAL_ENV"}
    kept = {name: value for name, value in environ.items() if name not in misleading}
    return trusting() | kept | {"UV_PYTHON_DOWNLOADS": "never"}


def trusting() -> dict[str, str]:
    """Variables by which uv and pip take the system's trust store for theirs.

    Their own lists lack the certificate of a company's proxy. The caller's variables come first.
    """
    paths = ssl.get_default_verify_paths()
    store = paths.cafile or (paths.capath if any(Path(paths.capath or "").glob("*.0")) else "")
    # uv had the second name before 0.11. pip needs none since 24.2, which older Pythons lack.
    uv = {"UV_SYSTEM_CERTS": "true", "UV_NATIVE_TLS": "true"}
    return uv | ({"PIP_CERT": store} if store else {})


@contextlib.contextmanager
def exclusively(path: Path) -> Iterator[None]:
    """Holds a lock file, so that two set-ups at the same time become one after the other."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        # First without waiting, to say why there is a wait. The system releases the lock of a
        # process that dies, so that no stale one is left; the file itself stays.
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another set-up of this checkout is at work; waiting for it")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def uv_of(layout: Layout) -> Path:
    """The path of uv, installed from its hashed lock when that has not been done."""
    tool = VirtualEnvironment("bootstrap", layout.bootstrap, layout.lock("bootstrap"), None)
    if tool.stamped() != tool.digest():
        say("installing uv into .state/bootstrap")
        # Always from nothing: pip would leave what an earlier lock installed besides.
        shutil.rmtree(tool.path, ignore_errors=True)
        create_with_pip(tool)
        write_stamp(tool)
    return tool.path / "bin" / "uv"


def create_with_pip(tool: VirtualEnvironment) -> None:
    """Creates an environment with the interpreter's own venv and pip.

    Raises:
        SetupError: the interpreter came without them, as Debian's does, or the index is away.
    """
    try:
        run([sys.executable, "-m", "venv", tool.path], doing="python -m venv")
    except SetupError as error:
        raise SetupError(
            f"{sys.executable} cannot make a virtual environment. {error}",
            allowed="a Python with its standard modules venv and ensurepip",
            action="install them (Debian, Ubuntu: apt-get install python3-venv), then run again",
        ) from error
    quiet = ["--quiet", "--no-input", "--disable-pip-version-check"]
    pip = [tool.python, "-m", "pip", "install", *quiet, "--require-hashes", "-r", tool.lock]
    run(pip, doing="pip install uv")


def ensure(target: VirtualEnvironment, layout: Layout) -> bool:
    """Brings one environment up to date; True when there was something to do."""
    if target.stamped() == target.digest():
        return False
    started = time.monotonic()
    where = target.path.relative_to(layout.root)
    say(f"{reason(target)} {where} with Python {platform.python_version()}")
    build(target, uv_of(layout))
    say(f"{where} is ready after {time.monotonic() - started:.1f} s")
    return True


def reason(target: VirtualEnvironment) -> str:
    """What is about to be done to an environment that is not up to date."""
    if target.stamped() is not None:
        return "bringing up to date"
    return "building anew the unfinished" if target.path.exists() else "building"


def build(target: VirtualEnvironment, uv: Path) -> None:
    """Makes the environment what its lock says, and stamps it as the very last thing."""
    if target.stamped() is None or not same_interpreter(target):
        arguments = ["--quiet", "--clear", "--python", sys.executable]
        run([uv, "venv", *arguments, target.path], doing=f"uv venv for {target.name}")
        # uv and `mlflow run` in a shell of this environment trust whom the set-up trusts.
        with (target.path / "bin" / "activate").open("a", encoding="utf-8") as script:
            script.write('export UV_SYSTEM_CERTS="${UV_SYSTEM_CERTS:-true}"\n')
    # From here to the new stamp the environment is unfinished, whatever interrupts the set-up.
    (target.path / STAMP).unlink(missing_ok=True)
    into = ["--quiet", "--python", target.python]
    run(
        [uv, "pip", "sync", *into, "--require-hashes", target.lock],
        doing=f"installing {target.lock.name}",
    )
    if target.checkout is not None:
        # Neither its dependencies nor a build environment are resolved: all that it needs is in the
        # hashed lock, and what is not in it must not come in this way.
        alone = ["--no-deps", "--no-build-isolation", "--editable", target.checkout]
        run([uv, "pip", "install", *into, *alone], doing="installing this checkout")
    write_stamp(target)


def same_interpreter(target: VirtualEnvironment) -> bool:
    """Whether the environment's interpreter is there and is the one that runs this."""
    question = "import platform, sys; print(platform.python_version(), sys.base_prefix)"
    try:
        answer = subprocess.run(
            [target.python, "-c", question], check=True, capture_output=True, text=True
        )
    except (OSError, subprocess.CalledProcessError):
        return False
    return answer.stdout.strip() == f"{platform.python_version()} {sys.base_prefix}"


def write_stamp(target: VirtualEnvironment) -> None:
    """Marks the environment as finished, in one step."""
    # A rename is atomic: the stamp is never half written.
    draft = target.path / f"{STAMP}.draft"
    draft.write_text(target.digest() + "\n", "ascii")
    draft.replace(target.path / STAMP)


def compile_locks(layout: Layout) -> None:
    """Resolves requirements/*.in anew; but for a team's, they stay inside what dev resolved to."""
    uv = uv_of(layout)
    # No index address: a lock that names a host is of no use where packages come from a mirror.
    options = ["--universal", "--python-version", "3.11", "--generate-hashes", "--upgrade"]
    options += ["--no-emit-index-url", "--no-header", "--quiet"]
    compile_one = [uv, "--directory", layout.root, "pip", "compile", *options]
    names = ("dev", "airflow", "mlflow", "bootstrap", "gate", "docs", "team-airflow", "team-mlflow")
    for name in names:
        say(f"resolving requirements/{name}.in")
        # What a team's containers hold besides does not go with the newest of everything.
        is_bound = name != "dev" and not name.startswith("team-")
        bounds = ["--constraint", "requirements/dev.txt"] if is_bound else []
        source = f"requirements/{name}.in"
        lock = GATE_LOCK if name == "gate" else f"requirements/{name}.txt"
        run([*compile_one, *bounds, source, "-o", lock], doing=f"resolving {source}")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line: names of environments to bring up to date, or --lock."""
    layout = Layout(Path(__file__).resolve().parents[3])
    known = environments(layout)
    parser = argparse.ArgumentParser(description="Build this checkout's virtual environments.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(known)}")
    parser.add_argument("--lock", action="store_true", help="resolve the requirements anew")
    options = parser.parse_args(arguments)
    if unknown := sorted(set(options.names) - set(known)):
        parser.error(f"no such environment: {', '.join(unknown)}; there are {', '.join(known)}")
    try:
        with exclusively(layout.state / "setup.lock"):
            if options.lock:
                compile_locks(layout)
            for name in options.names:
                ensure(known[name], layout)
    except SetupError as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        say("interrupted; the same command goes on where this one ended")
        # A shell's own status for a program that Ctrl-C ended: 128 and the number of SIGINT.
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
