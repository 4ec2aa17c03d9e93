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
_DOWNLOADS_OFF = {"UV_PYTHON_DOWNLOADS": "never"}
_ABI = sysconfig.get_config_var("SOABI") or ""


class MissingPythonError(EnvironmentBuildError):
    """The Python that a project asks for is not on this machine; a retry cannot help."""

    retryable = False


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python to build on. ``identity`` changes when an environment must be built anew."""

    executable: Path
    version: str
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


def find_python(request: str, environment: Mapping[str, str]) -> Interpreter:
    """Return the Python that satisfies a request: ours if it does, else one that uv knows here.

    Raises:
        MissingPythonError: naming those that are here.
    """
    ours = platform.python_version()
    if _satisfies(ours, request):
        # The base of a virtual environment: it outlives ours.
        return _interpreter(Path(getattr(sys, "_base_executable", sys.executable)), ours, _ABI)
    done = _uv(("python", "find", "--no-project", "--system", request), environment)
    if done.returncode:
        raise _missing(request, environment)
    executable = Path(done.stdout.strip())
    facts = subprocess.run(
        (executable, "-I", "-S", "-c", _FACTS),
        capture_output=True,
        text=True,
        check=True,
        timeout=_TIMEOUT_S,
    )
    version, abi = json.loads(facts.stdout)
    return _interpreter(executable, version, abi)


_FACTS = (
    "import json, platform, sysconfig;"
    "print(json.dumps([platform.python_version(), sysconfig.get_config_var('SOABI') or '']))"
)


def _interpreter(executable: Path, version: str, abi: str) -> Interpreter:
    place = executable.resolve()
    return Interpreter(executable, version, f"{version} {abi} {sysconfig.get_platform()} {place}")


def _satisfies(version: str, request: str) -> bool:
    if not request:
        return True
    if re.fullmatch(r"\d+(\.\d+){0,2}", request):
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
        action="install that Python, or ask for another one in python_env.yaml",
    )


def _uv(
    arguments: tuple[str, ...], environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (find_uv(), *arguments),
        env={**environment, **_DOWNLOADS_OFF, "PATH": _search_path(environment.get("PATH", ""))},
        cwd=os.sep,  # not in a folder whose pyproject.toml or .python-version would speak too
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
