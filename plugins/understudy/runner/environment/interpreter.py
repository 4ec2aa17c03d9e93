"""Finds uv, and the Python on which an environment is built. Starts uv; writes nothing."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from understudy.errors import EnvironmentBuildError

_TIMEOUT_S = 60.0
# Characters of a broken Python's output in a message.
_SHOWN = 300
# Else uv would fetch a missing Python from GitHub, and without internet fail after some 10 s.
_DOWNLOADS_OFF = {"UV_PYTHON_DOWNLOADS": "never"}
_ABI = sysconfig.get_config_var("SOABI") or ""


class MissingPythonError(EnvironmentBuildError):
    """The Python that a project asks for is not on this machine; a retry cannot help."""

    retryable = False


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python to build on.

    Attributes:
        executable: Where it is.
        version: Such as "3.11.7".
        platform: What its packages are for, such as "linux-x86_64, glibc 2.36".
        identity: Changes when an environment must be built anew.
    """

    executable: Path
    version: str
    platform: str
    identity: str


def find_uv() -> Path:
    """Return the uv of the Python package ``uv``, else the one on PATH.

    Raises:
        EnvironmentBuildError: if there is none.
    """
    try:
        import uv

        return Path(uv.find_uv_bin())
    except (ImportError, FileNotFoundError):
        pass
    if found := shutil.which("uv"):
        return Path(found)
    raise EnvironmentBuildError(
        "There is no uv to build environments with",
        allowed="the Python package uv beside this one, or uv on PATH",
        action="install it with `pip install uv`, or choose the environment manager 'local'",
    )


def find_python(request: str, environment: Mapping[str, str], *, instead: str = "") -> Interpreter:
    """Return the Python that satisfies a request: ours if it does, else one that uv finds here.

    Args:
        request: A version, or a specifier; '' for any.
        environment: Variables for uv.
        instead: A request that will do where no Python satisfies the first; '' for none.

    Raises:
        MissingPythonError: naming those that are here.
    """
    if satisfies(platform.python_version(), request):
        # The base of our own virtual environment: what is built on it outlives ours.
        base = Path(getattr(sys, "_base_executable", sys.executable))
        # What _FACTS prints of another Python.
        libc = " ".join(platform.libc_ver())
        facts = [platform.python_version(), _ABI, sysconfig.get_platform(), libc]
        return _interpreter(base, facts)
    done = _uv(("python", "find", "--no-project", "--system", request), environment)
    if done.returncode == 0:
        return inspect(Path(done.stdout.strip()))
    missing = _missing(request, environment)
    if not instead:
        raise missing
    try:
        return find_python(instead, environment)
    except MissingPythonError:
        raise missing from None


def inspect(executable: Path) -> Interpreter:
    """Return version and platform of a Python, by running it.

    Raises:
        EnvironmentBuildError: if it does not run.
    """
    done = subprocess.run(
        (executable, "-I", "-S", "-c", _FACTS),
        capture_output=True,
        text=True,
        check=False,
        timeout=_TIMEOUT_S,
    )
    if done.returncode:
        raise EnvironmentBuildError(
            f"The Python {executable} does not run: {done.stderr.strip()[-_SHOWN:]}",
            allowed="a Python that starts",
            action="repair or remove it",
        )
    return _interpreter(executable, json.loads(done.stdout))


_FACTS = (
    "import json, platform, sysconfig;"
    "print(json.dumps([platform.python_version(), sysconfig.get_config_var('SOABI') or '',"
    "sysconfig.get_platform(), ' '.join(platform.libc_ver())]))"
)


def _interpreter(executable: Path, facts: list[str]) -> Interpreter:
    version, abi, system, libc = facts
    identity = f"{version} {abi} {system} {executable.resolve()}"
    return Interpreter(executable, version, ", ".join(filter(None, (system, libc))), identity)


def satisfies(version: str, request: str) -> bool:
    """Return whether a version satisfies a request: a prefix by parts, or a specifier."""
    if not request:
        return True
    if re.fullmatch(r"\d+(\.\d+){0,2}", request):
        # With the dots: 3.1 is no prefix of 3.11.
        return f"{version}.".startswith(f"{request}.")
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        return version in SpecifierSet(request)
    except InvalidSpecifier:
        return False


def _missing(request: str, environment: Mapping[str, str]) -> MissingPythonError:
    listing = _uv(("python", "list", "--only-installed", "--output-format", "json"), environment)
    found = json.loads(listing.stdout or "[]") if listing.returncode == 0 else []
    versions = list(dict.fromkeys(str(python["version"]) for python in found))
    return MissingPythonError(
        f"The project asks for Python {request}, which is not on this machine",
        allowed=f"one of those that are: {', '.join(versions) or platform.python_version()}",
        action="install that Python, or have the project ask for another one",
    )


def _uv(
    arguments: tuple[str, ...], environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (find_uv(), *arguments),
        env={**environment, **_DOWNLOADS_OFF, "PATH": _search_path(environment.get("PATH", ""))},
        # Not in a folder whose pyproject.toml or .python-version uv would obey.
        cwd=os.sep,
        capture_output=True,
        text=True,
        check=False,
        timeout=_TIMEOUT_S,
    )


def _search_path(path: str) -> str:
    """Return PATH with pyenv's Pythons in place of its shims.

    A shim of a version that is not selected exists and fails, and uv gives up at the first such.
    """
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    folders = [folder for folder in path.split(os.pathsep) if Path(folder) != root / "shims"]
    pythons = sorted(root.glob("versions/*/bin"), reverse=True)
    return os.pathsep.join([*folders, *map(str, pythons)])
