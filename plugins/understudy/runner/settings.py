"""Settings for running steps. Reads the environment once, when asked to."""

from __future__ import annotations

import os
import shlex
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from understudy.errors import SettingsError
from understudy.spec import quantities
from understudy.spec.git_access import GitAccess

FORKSERVER_VARIABLE = "UNDERSTUDY_FORKSERVER"
"""Environment variable that, set to "off", has every step start its own interpreter."""
CACHE_VARIABLE = "UNDERSTUDY_CACHE"
"""Environment variable that names the cache folder."""
DOCKER_VARIABLE = "UNDERSTUDY_DOCKER_OPTIONS"
"""Environment variable with further options of every ``docker run``, as a shell would take them."""
CACHE_AGE_VARIABLE, CACHE_SIZE_VARIABLE = "UNDERSTUDY_CACHE_MAX_AGE", "UNDERSTUDY_CACHE_MAX_SIZE"
TERMINAL_GRACE: Final = 1.0
"""Seconds of ``grace`` at a terminal, where Ctrl-C ends everything within two."""
_T = TypeVar("_T")
_NO_LIMIT = "never"
_AGE, _SIZE = "30d", "50GB"


@dataclass(frozen=True, slots=True)
class CacheLimits:
    """What may stay in the cache.

    Attributes:
        age: Seconds since an item was last used; None for any.
        size: Bytes of all items together; the longest unused go first. None for any.
    """

    age: float | None = None
    size: int | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """Where things are kept, and how long is waited (seconds).

    Attributes:
        cache: Folder of mirrors, checkouts and environments; shared by all tasks of a machine.
        scratch: Folder of the temporary folders of attempts. Kept short: sockets below it have
            paths of at most 107 bytes.
        forkservers: Folder of the forkservers' sockets and logs; None for no forkservers.
        grace: Between the request to end and the kill. on_kill has 5 s in Airflow.
        git_timeout: For one fetch.
        build_timeout: For one environment.
        git_access: What opens the project's repository; None for what the URL and this machine's
            user bring along.
        cache_limits: What a day's first step prunes the cache to.
        docker_options: Further options of every ``docker run``, such as ``--gpus=all``.
    """

    cache: Path
    scratch: Path
    forkservers: Path | None = None
    grace: float = 3.0
    git_timeout: float = 900.0
    build_timeout: float = 3600.0
    git_access: GitAccess | None = None
    cache_limits: CacheLimits = CacheLimits()
    docker_options: tuple[str, ...] = ()

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Return the settings of the environment variables.

        Raises:
            SettingsError: naming the variable that cannot be understood.
        """
        env = os.environ if environment is None else environment
        base = Path(env.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        temporary = Path(tempfile.gettempdir())
        # With the user's id: on a machine with several users /tmp is everybody's.
        servers = temporary / f"understudy-forkservers-{os.getuid()}"
        return cls(
            cache=Path(env.get(CACHE_VARIABLE) or base / "understudy").expanduser().absolute(),
            scratch=temporary / f"understudy-{os.getuid()}",
            forkservers=None if env.get(FORKSERVER_VARIABLE) == "off" else servers,
            docker_options=tuple(shlex.split(env.get(DOCKER_VARIABLE, ""))),
            cache_limits=CacheLimits(
                age=_limit(env, CACHE_AGE_VARIABLE, _AGE, quantities.duration),
                size=_limit(env, CACHE_SIZE_VARIABLE, _SIZE, quantities.size),
            ),
        )


def _limit(
    env: Mapping[str, str], variable: str, default: str, parse: Callable[[str], _T]
) -> _T | None:
    text = env.get(variable) or default
    if text == _NO_LIMIT:
        return None
    try:
        return parse(text)
    except ValueError as error:
        raise SettingsError(
            f"The environment variable {variable}: {error}",
            allowed=f"such a quantity (by default {default}), or {_NO_LIMIT!r} for no limit",
            action="correct it where the worker is started",
        ) from error
