"""Builds environments before a step needs them, and lists those that are there.

For a worker's image, or ahead of a scheduled run: no tracking server is contacted, and no MLflow
run is created.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from understudy.runner.environment import store
from understudy.runner.environment.store import FOLDER, LOCK_SUFFIX, EnvironmentStore
from understudy.runner.git.checkout import CheckoutStore
from understudy.runner.process.process import OnLine, ProcessRunner
from understudy.runner.settings import Settings
from understudy.runner.sources import Sources


@dataclass(frozen=True, slots=True)
class Built:
    """An environment of this machine.

    Attributes:
        digest: Identity of its content; '' for the local Python.
        manager: What built it.
        folder: Where it is; None for an image and the local Python.
        installed: What it holds, as the text of a requirements file.
    """

    digest: str
    manager: str
    folder: Path | None
    installed: str


@dataclass(frozen=True, slots=True)
class Listed:
    """An environment in the cache.

    Attributes:
        digest: Identity of its content.
        manager: What built it; '' where it was not completed.
        python: Version of its Python; '' where it was not completed.
        packages: How many packages it holds.
        used: When a step last had it (UTC); None where none did.
        missing: What it lacks, so that the next step builds it anew; '' for nothing.
    """

    digest: str
    manager: str
    python: str
    packages: int
    used: datetime | None
    missing: str


def prebuild(
    project_uri: str,
    version: str = "",
    env_manager: str = "uv",
    *,
    on_line: OnLine = print,
    settings: Settings | None = None,
) -> Built:
    """Build the environment of a project, unless it is there.

    Args:
        project_uri: ``https://host/repo.git#sub/dir``, or a folder.
        version: Branch, tag or commit; '' for the default branch.
        env_manager: One of ``understudy.contract.ENV_MANAGERS``.
        on_line: Called with each line for the log.
        settings: Where the cache is; None for what the environment says.

    Raises:
        ProjectError: if repository, version, MLproject or manager is wrong.
        RepositoryUnavailableError: if the host does not answer.
        EnvironmentBuildError: if the environment could not be built.
    """
    place, process_runner = settings or Settings.from_environment(), ProcessRunner()
    store = EnvironmentStore(place, process_runner)
    sources = Sources(CheckoutStore(place, process_runner), place.git_access)
    with (
        sources.lease(project_uri, version) as source,
        store.lease(source.project, env_manager, on_line, os.environ) as environment,
    ):
        folder = environment.bin.parent if environment.bin and environment.digest else None
        return Built(environment.digest, environment.manager, folder, environment.installed)


def is_built(project_uri: str, version: str, env_manager: str) -> tuple[str, bool]:
    """Return the commit that a version means now, and whether its environment is built here.

    Raises:
        ProjectError: if repository, version, MLproject or manager is wrong.
        RepositoryUnavailableError: if the host does not answer.
    """
    place, process_runner = Settings.from_environment(), ProcessRunner()
    sources = Sources(CheckoutStore(place, process_runner), place.git_access)
    with (
        sources.lease(project_uri, version) as source,
        EnvironmentStore(place, process_runner).lease_built(source.project, env_manager) as built,
    ):
        return source.pinned.commit, built is not None


def environments(settings: Settings | None = None) -> list[Listed]:
    """Return the environments in the cache, the last used first."""
    root = (settings or Settings.from_environment()).cache / FOLDER
    folders = [path for path in root.glob("*") if path.is_dir()]
    oldest = datetime.min.replace(tzinfo=UTC)
    return sorted(map(_listed, folders), key=lambda one: one.used or oldest, reverse=True)


def _listed(folder: Path) -> Listed:
    contents = store.read(folder)
    if contents is None:
        return Listed(folder.name, "", "", 0, None, "its completion")
    used: datetime | None = None
    # A step sets the lock file's time when it takes the environment.
    with suppress(FileNotFoundError):
        lock = folder.with_name(f"{folder.name}{LOCK_SUFFIX}")
        used = datetime.fromtimestamp(lock.stat().st_mtime, UTC)
    return Listed(
        digest=folder.name,
        manager=contents.manager,
        python=contents.python,
        packages=len(contents.installed.splitlines()),
        used=used,
        missing=store.missing(folder, contents),
    )
