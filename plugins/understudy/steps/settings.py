"""Settings of the machinery that runs steps. Reads the environment once, when asked to."""

from __future__ import annotations

import os
import shlex
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

CACHE_VARIABLE = "UNDERSTUDY_CACHE"
"""Environment variable that names the cache folder."""
DOCKER_VARIABLE = "UNDERSTUDY_DOCKER_OPTIONS"
"""Environment variable with further options of every ``docker run``, as a shell would take them."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Where things are kept, and how long is waited (seconds).

    Attributes:
        cache: Folder of mirrors, checkouts and environments; shared by all tasks of a machine.
        scratch: Folder of the temporary folders of attempts. Kept short: sockets below it have
            paths of at most 107 bytes.
        grace: Between the request to end and the kill. on_kill has 5 s in Airflow.
        git_timeout: For one fetch.
        build_timeout: For one environment.
        git_environment: Extra variables for Git, such as credentials; never logged.
        docker_options: Further options of every ``docker run``, such as ``--gpus=all``.
    """

    cache: Path
    scratch: Path
    grace: float = 3.0
    git_timeout: float = 900.0
    build_timeout: float = 3600.0
    git_environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    docker_options: tuple[str, ...] = ()

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Return the settings that the environment asks for; see the constants above."""
        env = os.environ if environment is None else environment
        base = Path(env.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        cache = Path(env.get(CACHE_VARIABLE) or base / "understudy").expanduser().absolute()
        return cls(
            cache=cache,
            scratch=Path(tempfile.gettempdir()) / f"understudy-{os.getuid()}",
            docker_options=tuple(shlex.split(env.get(DOCKER_VARIABLE, ""))),
        )
