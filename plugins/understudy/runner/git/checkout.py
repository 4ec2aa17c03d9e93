"""One read-only checkout per commit, made of bare mirrors. Writes below the cache only.

``<cache>/git/<digest of the URL>/`` holds ``mirror.git`` and ``commits/<commit>/``. Fetching is
done under an exclusive lock per mirror, a checkout is built under an exclusive and used under a
shared lock per commit, and whoever reads a mirror holds a shared lock beside its folder: so nothing
is removed while it is used (see ``reuse.cache``). A user's own working copy is only ever read.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from understudy.errors import ProjectError, SettingsError
from understudy.runner.filesystem import fingerprint, has_room, make_read_only, remove_tree
from understudy.runner.git.git import CEILING, Git, GitConnection, GitError, linked
from understudy.runner.git.mirror import Mirror, inside, place_of, submodules
from understudy.runner.locks import FileLock
from understudy.runner.process.process import ProcessRunner
from understudy.runner.settings import CACHE_VARIABLE, Settings
from understudy.spec.git_address import ProjectAddress

_HEADER: Final = b"version https://git-lfs.github.com/spec/"
# Bytes of a pointer file, by Git LFS's specification.
_LONGEST: Final = 1024
_SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class Pointers:
    """The pointer files of one checkout: how many, and the paths of the first."""

    count: int = 0
    first: tuple[str, ...] = ()

    @classmethod
    def of(cls, paths: Iterable[str]) -> Pointers:
        """Return the record of these paths."""
        found = sorted(paths)
        return cls(len(found), tuple(found[:_SHOWN]))

    @classmethod
    def read(cls, path: Path) -> Pointers:
        """Return what ``write`` wrote; none where nothing was written."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return cls()
        return cls(content["count"], tuple(content["first"]))

    def write(self, path: Path) -> None:
        """Write this to a file, if there are pointers."""
        if self.count:
            path.write_text(json.dumps(asdict(self)), encoding="utf-8")
        else:
            path.unlink(missing_ok=True)

    def __str__(self) -> str:
        names = ", ".join(self.first) + (", ..." if self.count > len(self.first) else "")
        return (
            f"{self.count} file(s) of this commit are Git LFS pointers, not the data itself: "
            f"{names}. git-lfs is not run here: let the step fetch the data, or keep it out of Git."
        )


def pointers_in(git: Git, folder: Path, variables: Mapping[str, str]) -> list[str]:
    """Return the paths of the pointer files below a folder.

    Args:
        git: Git.
        folder: A working tree.
        variables: Those that make it Git's working tree, with its index.
    """
    listing = git.read(folder, "ls-files", "-z", "--", ":(attr:filter=lfs)", variables=variables)
    return [path for path in listing.split("\0") if path and _is_pointer(folder / path)]


def _is_pointer(path: Path) -> bool:
    if path.is_symlink() or not path.is_file() or path.stat().st_size >= _LONGEST:
        return False
    with path.open("rb") as file:
        return file.read(len(_HEADER)) == _HEADER


_SUBMODULE_DEPTH = 8
_CONFIG: Final = "[core]\n\trepositoryformatversion = 0\n\tbare = false\n"
# Of one commit hardly a file is like another. Git would compare each with ten others: a few large
# ones took minutes, and as much memory as all of them.
_AS_THEY_ARE: Final = "--upload-pack=git -c pack.window=0 -c pack.compression=1 upload-pack"
_READ_ONLY_FOLDER = 0o555


@dataclass(frozen=True, slots=True)
class Checkout:
    """A folder with the files of one commit, and Git's own record of it.

    Attributes:
        folder: A repository with the commit and no more, which needs nothing of the mirror. It is
            read-only, and no place for a step to work in: root may write to it.
        pointers: Its files that Git LFS keeps elsewhere.
    """

    folder: Path
    pointers: Pointers


@dataclass(frozen=True, slots=True)
class FolderState:
    """The Git state of a plain folder.

    Attributes:
        commit: Full id; '' outside a repository.
        dirty: Whether it, or what its links lead to, differs from the commit.
        linked: What its links lead to elsewhere in the working copy.
        top: Top of the working copy; None outside a repository.
    """

    commit: str
    dirty: bool
    linked: tuple[Path, ...] = ()
    top: Path | None = None


@dataclass(frozen=True, slots=True)
class _Site:
    """Where a checkout is built: Git's index file, the lock's descriptor, nested submodules."""

    index: Path
    lock: int
    depth: int = 0

    def deeper(self) -> _Site:
        """Return the same for a submodule."""
        return _Site(self.index, self.lock, self.depth + 1)


class CheckoutStore:
    """The mirrors and checkouts of one machine."""

    def __init__(self, settings: Settings, process_runner: ProcessRunner) -> None:
        self._root, self._scratch = settings.cache / "git", settings.scratch
        self._process_runner = process_runner
        self._git = Git(process_runner, settings.git_timeout)

    def resolve(self, address: ProjectAddress, version: str) -> str:
        """Return the full commit id that a version stands for, see ``Mirror.resolve``."""
        with self.using(address):
            return self._mirror(address).resolve(version)

    def tree(self, address: ProjectAddress, commit: str) -> str:
        """Return what identifies the address's subdirectory, see ``Mirror.tree``."""
        with self.using(address):
            return self._mirror(address).tree(commit)

    @contextlib.contextmanager
    def using(self, address: ProjectAddress) -> Iterator[None]:
        """Keep the mirror of a repository as long as this lasts."""
        path = self._root / f"{address.digest}.lock"
        with FileLock(path).shared(self._process_runner.check):
            # The lock file's time is when the item was last used: the cache is pruned by it.
            os.utime(path)
            yield

    @contextlib.contextmanager
    def lease(self, address: ProjectAddress, commit: str) -> Iterator[Checkout]:
        """Yield a checkout of the commit that stays as long as it is held.

        Raises:
            ProjectError: if the commit, or one of its submodules, cannot be checked out.
            RepositoryUnavailableError: if the host had to be asked and did not answer.
        """
        folder = self._mirror(address).folder.parent / "commits" / commit
        path = folder.with_name(f"{commit}.lock")
        lock = FileLock(path)
        # flock(2) does not turn an exclusive lock into a shared one in one step: a checkout may be
        # pruned between its build and its use, and is then built again.
        while True:
            with self.using(address), lock.shared(self._process_runner.check):
                if _is_intact(folder):
                    os.utime(path)
                    yield Checkout(folder, Pointers.read(_beside(folder, "lfs")))
                    return
            with self.using(address), lock.exclusive(self._process_runner.check) as descriptor:
                if not _is_intact(folder):
                    remove_tree(folder)
                    self._build(address, commit, folder, descriptor)

    def state(self, folder: Path) -> FolderState:
        """Return the Git state of a plain folder, which is not touched."""
        # Here, unlike in a mirror, the repository may begin any number of folders above.
        upwards = {CEILING: ""}
        try:
            top, commit = self._git.read(
                folder, "rev-parse", "--show-toplevel", "HEAD^{commit}", variables=upwards
            ).splitlines()
            found = linked(self._git, folder, Path(top), upwards)
            places = (".", *map(str, found))
            status = self._git.read(
                folder, "status", "--porcelain", "--", *places, variables=upwards
            )
        except GitError:
            return FolderState("", dirty=True)
        return FolderState(commit, dirty=status != "", linked=found, top=Path(top))

    def _mirror(self, address: ProjectAddress) -> Mirror:
        return Mirror(self._git, self._root / address.digest / "mirror.git", address, self._scratch)

    def _build(self, address: ProjectAddress, commit: str, folder: Path, lock: int) -> None:
        """Build a checkout beside its place and move it there. Needs the commit's lock."""
        for leftover in folder.parent.glob(f".{commit}-*"):
            remove_tree(leftover)
        site = Path(tempfile.mkdtemp(prefix=f".{commit}-", dir=folder.parent))
        tree = site / "tree"
        try:
            # The mirror may have been pruned since the version was resolved.
            self.resolve(address, commit)
            pointers = self._fill(address, commit, tree, _Site(site / "index", lock))
            self._make_repository(address, commit, tree, lock)
            Pointers.of(pointers).write(_beside(folder, "lfs"))
            make_read_only(tree)
            _beside(folder, "seal").write_text(fingerprint(tree), encoding="ascii")
            tree.rename(folder)
            # Not before: rename(2) of a folder changes its '..', so that it must be writable.
            folder.chmod(_READ_ONLY_FOLDER)
        finally:
            remove_tree(site)

    def _make_repository(
        self, address: ProjectAddress, commit: str, folder: Path, lock: int
    ) -> None:
        """Make a checkout a repository with its one commit, as MLflow's own clone is.

        Programs ask it for commit, state and origin. What they do in their copy of it reaches
        nobody else: it has no objects in common with the mirror.
        """
        own = folder / ".git"
        (own / "objects").mkdir(parents=True)
        (own / "refs").mkdir()
        (own / "HEAD").write_text(f"{commit}\n", encoding="ascii")
        # Git quotes values as JSON does.
        url = json.dumps(address.repository, ensure_ascii=False)
        (own / "config").write_text(f'{_CONFIG}[remote "origin"]\n\turl = {url}\n', "utf-8")
        mirror = self._mirror(address)
        kept = place_of(commit)
        options = ("--quiet", "--depth=1", "--update-shallow", "--no-tags", "--no-write-fetch-head")
        try:
            self._git.run(
                folder,
                *("fetch", *options, _AS_THEY_ARE),
                *("--end-of-options", str(mirror.folder), kept),
                lock=lock,
            )
            self._git.read(folder, "read-tree", "HEAD")
        except GitError as error:
            if not has_room(folder):
                raise _no_room(folder, str(error)) from error
            mirror.discard_if_damaged(error)
            raise _unusable(address, commit, str(error)) from error

    def _fill(self, address: ProjectAddress, commit: str, folder: Path, site: _Site) -> list[str]:
        """Write the files of a commit and its submodules; return the paths of LFS pointers."""
        mirror = self._mirror(address)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            pointers = self._write_files(mirror, commit, folder, site)
            mirror.keep(commit)
        except GitError as error:
            # git does not say that it could not write because the disk is full.
            if not has_room(folder):
                raise _no_room(folder, str(error)) from error
            mirror.discard_if_damaged(error)
            raise _unusable(address, commit, str(error)) from error
        for submodule in submodules(self._git, mirror.folder, commit):
            if not submodule.url:
                raise _unusable(address, commit, f".gitmodules has no URL for {submodule.path!r}")
            if site.depth >= _SUBMODULE_DEPTH:
                raise _unusable(address, commit, f"more than {_SUBMODULE_DEPTH} nested submodules")
            inner = address.submodule(submodule.url)
            place = inside(folder, submodule.path)
            with self.using(inner):
                resolved = self.resolve(inner, submodule.commit)
                below = self._fill(inner, resolved, place, site.deeper())
            pointers += [f"{submodule.path}/{path}" for path in below]
        return pointers

    def _write_files(self, mirror: Mirror, commit: str, folder: Path, site: _Site) -> list[str]:
        places = {"GIT_DIR": mirror.folder, "GIT_WORK_TREE": folder, "GIT_INDEX_FILE": site.index}
        variables = {name: str(path) for name, path in places.items()}
        talk = GitConnection(variables)
        # Plumbing, with an index outside the mirror: no .git in the checkout, no hooks, and several
        # checkouts can be written at one time.
        self._git.run(folder, "read-tree", commit, lock=site.lock, talk=talk)
        self._git.run(folder, "checkout-index", "--all", "--force", lock=site.lock, talk=talk)
        return pointers_in(self._git, folder, variables)


def _beside(folder: Path, kind: str) -> Path:
    """Return a file beside a checkout: ``lfs`` names its pointers, ``seal`` is its fingerprint."""
    return folder.with_name(f"{folder.name}.{kind}")


def _is_intact(folder: Path) -> bool:
    """Whether a checkout is as it was made; root's programs may write to what is read-only."""
    try:
        # One that an earlier version made is no repository.
        known = (folder / ".git").is_dir()
        return known and fingerprint(folder) == _beside(folder, "seal").read_text("ascii")
    except FileNotFoundError:
        return False


def _unusable(address: ProjectAddress, commit: str, why: str) -> ProjectError:
    return ProjectError(
        f"Commit {commit[:12]} of {address.repository} cannot be checked out: {why}",
        allowed="a commit that `git checkout` accepts, with submodules that can be fetched",
        action="try the same with `git clone --recurse-submodules`",
    )


def _no_room(folder: Path, message: str) -> SettingsError:
    first, *_ = message.splitlines()
    return SettingsError(
        f"No space left on the disk of {folder}: {first}",
        allowed=f"room for a checkout, in {CACHE_VARIABLE} or where the user's cache is",
        action="run `understudy cache prune`, or make room otherwise",
    )


__all__ = ["Checkout", "CheckoutStore", "FolderState"]
