"""Which code a backtest replays: one commit, or a folder as it is. Fetches, builds, reads."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from understudy import giturl
from understudy.contract import key_of
from understudy.steps import projectfile
from understudy.steps.checkout import CheckoutStore
from understudy.steps.links import entries
from understudy.steps.prebuild import prebuild
from understudy.steps.process import OnLine, Supervisor
from understudy.steps.settings import Settings

_NOT_CODE = frozenset({".git", "__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache"})


@dataclass(frozen=True, slots=True)
class Source:
    """A project at one state.

    Attributes:
        commit: Full commit id; '' for a folder.
        code: What tells this code, in this environment, from others.
        entry_points: Names of the parameters by entry point.
    """

    commit: str
    code: str
    entry_points: Mapping[str, tuple[str, ...]]


def find(project: str, version: str, env_manager: str, on_line: OnLine) -> Source:
    """Return what is to be replayed; its code is here and its environment built afterwards.

    Raises:
        ProjectError: if repository, version or MLproject is wrong.
        RepositoryUnavailableError: if the host does not answer.
        EnvironmentBuildError: if the environment cannot be built.
    """
    commit, digest, entry_points = _state(project, version)
    built = prebuild(project, commit, env_manager, on_line=on_line)
    return Source(commit, key_of(digest, built.digest or built.installed), entry_points)


def _state(project: str, version: str) -> tuple[str, str, Mapping[str, tuple[str, ...]]]:
    """Return a project's commit, the identity of its files, and its entry points."""
    address = giturl.parse(project)
    if address.is_folder:
        folder = Path(address.repository, address.subdirectory)
        return "", _digest(folder), _declared(folder, str(folder))
    checkouts = CheckoutStore(Settings.from_environment(), Supervisor())
    commit = checkouts.resolve(address, version)
    with checkouts.hold(address, commit) as checkout:
        declared = _declared(checkout.folder / address.subdirectory, str(address))
    return commit, checkouts.tree(address, commit), declared


def _declared(folder: Path, where: str) -> Mapping[str, tuple[str, ...]]:
    entry_points = projectfile.load(folder, where).entry_points
    return {name: tuple(one.parameters) for name, one in entry_points.items()}


def _digest(folder: Path) -> str:
    """Return the SHA-256 of all names and contents that may be code, wherever links lead."""
    digest = hashlib.sha256()
    for name, path in entries(folder, Path("/"), _NOT_CODE):
        if path.is_symlink():  # what it leads to has an entry of its own
            digest.update(f"{name}\0{path.readlink()}\0".encode())
        elif path.is_file():
            digest.update(f"{name}\0{path.stat().st_size}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()
