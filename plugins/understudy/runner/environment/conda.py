"""Finds conda, mamba or micromamba, and writes their command lines. Looks at PATH; starts nothing.

The environment is entered without the tool: what ``conda activate`` does to a shell is little, and
a step should not wait a second for it.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from understudy.errors import EnvironmentBuildError
from understudy.runner.process.process import Command

_NAMES = ("micromamba", "mamba", "conda")
_MICROMAMBA = "micromamba"
# Packages such as compilers and GDAL set variables in scripts that conda runs on activation.
_ACTIVATE = (
    'for script in "$CONDA_PREFIX"/etc/conda/activate.d/*.sh; do '
    'if [ -r "$script" ]; then . "$script"; fi; done; exec "$@"'
)


class MissingCondaError(EnvironmentBuildError):
    """There is no conda of any kind on this machine; a retry cannot help."""

    retryable = False


@dataclass(frozen=True, slots=True)
class CondaTool:
    """A conda, mamba or micromamba; their command lines differ a little."""

    executable: Path

    @property
    def _is_micromamba(self) -> bool:
        return self.executable.name == _MICROMAMBA

    def create(self, folder: Path, file: Path) -> tuple[str, ...]:
        """Return the command that builds an environment in ``folder`` from a conda.yaml."""
        words = ("create", "--yes") if self._is_micromamba else ("env", "create", "--quiet")
        return (str(self.executable), *words, "--prefix", str(folder), "--file", str(file))

    def explicit(self, folder: Path) -> tuple[str, ...]:
        """Return the command that lists every package by its address and MD5.

        ``conda create --file`` makes the same environment of such a list, without solving.
        """
        words = (
            ("env", "export", "--explicit", "--md5")
            if self._is_micromamba
            else ("list", "--explicit", "--md5")
        )
        return (str(self.executable), *words, "--prefix", str(folder))


def here(environment: Mapping[str, str] | None = None) -> Path | None:
    """Return the conda of this machine: ``CONDA_EXE``, ``MAMBA_EXE``, then PATH; None for none."""
    return next(_candidates(os.environ if environment is None else environment), None)


def find() -> CondaTool:
    """Return the conda of this machine.

    Raises:
        MissingCondaError: if there is none.
    """
    found = here()
    if found is None:
        raise MissingCondaError(
            "The environment manager 'conda' was asked for, and this machine has none of "
            f"{', '.join(_NAMES)} on PATH, nor a CONDA_EXE",
            allowed="'uv' and 'virtualenv', which are here, for a conda.yaml whose pip part is "
            "enough",
            action="install micromamba on the worker, or choose another manager",
        )
    return CondaTool(found)


def entered(command: Command, folder: Path) -> Command:
    """Return a command that runs in an activated environment."""
    variables = {name: v for name, v in command.environment.items() if name != "VIRTUAL_ENV"}
    active = {"CONDA_PREFIX": str(folder), "CONDA_DEFAULT_ENV": str(folder), "CONDA_SHLVL": "1"}
    return replace(
        command,
        argv=("bash", "-c", _ACTIVATE, "bash", *command.argv),
        environment={**variables, **active},
    )


def subdirectory() -> str:
    """Return conda's name of this platform as far as it tells environments apart."""
    return f"{sys.platform}-{platform.machine()}"


def _candidates(environment: Mapping[str, str]) -> Iterator[Path]:
    for name in ("CONDA_EXE", "MAMBA_EXE"):
        if (given := environment.get(name)) and os.access(given, os.X_OK):
            yield Path(given)
    for name in _NAMES:
        if found := shutil.which(name, path=environment.get("PATH")):
            yield Path(found)
