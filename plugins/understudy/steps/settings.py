"""Settings of the machinery that runs steps. Reads the environment once, when asked to."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from understudy.gitaccess import GitAccess

FORKSERVER_VARIABLE = "UNDERSTUDY_FORKSERVER"
"""Environment variable that, set to "off", has every step start its own interpreter."""
CACHE_VARIABLE = "UNDERSTUDY_CACHE"
"""Environment variable that names the cache folder."""


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
    """

    cache: Path
    scratch: Path
    forkservers: Path | None = None
    grace: float = 3.0
    git_timeout: float = 900.0
    build_timeout: float = 3600.0
    git_access: GitAccess | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Return the settings that the environment asks for: UNDERSTUDY_CACHE, XDG_CACHE_HOME."""
        env = os.environ if environment is None else environment
        base = Path(env.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        cache = Path(env.get(CACHE_VARIABLE) or base / "understudy").expanduser().absolute()
        temporary = Path(tempfile.gettempdir())
        servers = temporary / f"understudy-forkservers-{os.getuid()}"
        return cls(
            cache=cache,
            scratch=temporary / f"understudy-{os.getuid()}",
            forkservers=None if env.get(FORKSERVER_VARIABLE) == "off" else servers,
        )
