"""Where a step's code comes from: a commit of a repository, or a folder as it is.

Reads and fills the cache of checkouts.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from understudy.errors import ProjectError
from understudy.runner import projectfile
from understudy.runner.filesystem import copy_tree
from understudy.runner.projectfile import ProjectFile
from understudy.runner.step import Pinned, Source
from understudy.spec import git_address
from understudy.spec.git_access import GitAccess

if TYPE_CHECKING:
    from understudy.runner.git.checkout import CheckoutStore

LOCAL_VERSION: Final = "local"
"""The version of a plain folder; 'local (dirty)' where it differs from its commit."""


class Sources:
    """The projects of one machine, with what opens private ones."""

    def __init__(self, checkouts: CheckoutStore, access: GitAccess | None) -> None:
        self._checkouts, self._access = checkouts, access

    @contextlib.contextmanager
    def lease(self, project: str, version: str) -> Iterator[Source]:
        """Yield a project that stays on this machine while it is held.

        Raises:
            ProjectError: if repository, version, subdirectory or MLproject is wrong.
            RepositoryUnavailableError: if the host had to be asked and did not answer.
        """
        address = git_address.parse(project)
        if address.is_folder:
            yield self._folder(address, version)
            return
        if self._access is not None:
            address = address.opened_by(self._access)
        # From before the fetch to the lease: a prune in between would remove the mirror.
        with self._checkouts.using(address):
            yield from self._at_commit(address, version)

    def private_copy(self, source: Source, folder: Path, proceed: Callable[[], None]) -> Source:
        """Return a source whose whole repository is copied to a folder, where it may be written to.

        Nothing is needed of the checkout afterwards. A folder that is run as it is stays where it
        is.

        Args:
            source: At a commit, or a folder.
            folder: Not there yet.
            proceed: Called again and again; ends the copy by raising.
        """
        if not source.pinned.tree:
            return source
        copy_tree(source.code, folder, proceed)
        project = replace(source.project, folder=folder / source.pinned.subdirectory)
        return replace(source, code=folder, project=project)

    def _at_commit(self, address: git_address.ProjectAddress, version: str) -> Iterator[Source]:
        commit = self._checkouts.resolve(address, version)
        tree = self._checkouts.tree(address, commit)
        with self._checkouts.lease(address, commit) as checkout:
            where = f"{address} at {commit[:12]}"
            folder = checkout.folder / address.subdirectory
            loaded = projectfile.load(folder, where, checkout.folder)
            yield Source(
                _pinned(address, loaded, (commit, tree, version)),
                loaded,
                code=checkout.folder,
                warnings=(str(checkout.pointers),) if checkout.pointers.count else (),
            )

    def _folder(self, address: git_address.ProjectAddress, version: str) -> Source:
        folder = Path(address.repository, address.subdirectory)
        if version:
            raise ProjectError(
                f"The version {version!r} is asked of the folder {folder}, which is run as it is",
                allowed="no version for a folder",
                action=f"write file://{address.repository} to run a commit of a repository",
            )
        if not folder.is_dir():
            raise ProjectError(
                f"There is no folder {folder}",
                allowed="a folder with an MLproject in it",
                action="correct the project's address",
            )
        state = self._checkouts.state(folder)
        kind = f"{LOCAL_VERSION} (dirty)" if state.dirty else LOCAL_VERSION
        loaded = projectfile.load(folder, str(folder), state.top or Path(address.repository))
        pinned = _pinned(address, loaded, (state.commit, "", kind))
        return Source(pinned, loaded, code=Path(address.repository), linked=state.linked)


def _pinned(
    address: git_address.ProjectAddress, project: ProjectFile, identity: tuple[str, str, str]
) -> Pinned:
    commit, tree, version = identity
    return Pinned(
        commit=commit,
        tree=tree,
        version=version,
        repository=address.repository,
        subdirectory=address.subdirectory,
        entry_points={name: e.parameters for name, e in project.entry_points.items()},
    )
