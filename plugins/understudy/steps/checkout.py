"""One bare mirror per repository, one read-only checkout per commit. Writes below the cache only.

``<cache>/git/<digest of the URL>/`` holds ``mirror.git`` and ``commits/<commit>/``. Fetching is
done under an exclusive lock per mirror, a checkout is built under an exclusive and used under a
shared lock per commit, so that nothing is removed while a step runs in it. Full and unique short
commit ids that are here already need no network. A user's own working copy is only ever read.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from understudy.errors import ProjectError, RepositoryUnavailableError, listed, nearest
from understudy.giturl import ProjectAddress
from understudy.steps.git import Git, GitError, remote_error
from understudy.steps.locks import FileLock
from understudy.steps.process import Supervisor
from understudy.steps.settings import Settings

_FULL = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_SHORT = re.compile(r"[0-9a-f]{4,63}")
_OFFLINE_SHORT = 7  # digits from which a short id may be taken without asking the host
_VERSION = re.compile(r"(?!-)[^\x00-\x20\x7f~^:?*\[\\]+")
_HEAD = "refs/understudy/HEAD"
_BRANCHES, _TAGS = "refs/remotes/origin/", "refs/tags/"
_EVERYTHING = (f"+refs/heads/*:{_BRANCHES}*", f"+refs/tags/*:{_TAGS}*")
_SUBMODULE_DEPTH = 8
_SUBMODULE_MODE = "160000"
_READ_ONLY_FOLDER = 0o555
_WRITE_BITS = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH


@dataclass(frozen=True, slots=True)
class Checkout:
    """A folder with the files of one commit, and the descriptor of the lock that keeps it."""

    folder: Path
    lock: int


@dataclass(frozen=True, slots=True)
class FolderState:
    """What Git knows of a plain folder: ``commit`` is '' where Git knows nothing."""

    commit: str
    dirty: bool


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

    def __init__(self, settings: Settings, supervisor: Supervisor) -> None:
        self._root = settings.cache / "git"
        self._supervisor = supervisor
        self._git = Git(supervisor, settings.git_timeout, settings.git_environment)

    def resolve(self, address: ProjectAddress, version: str) -> str:
        """Return the full commit id that a version stands for, fetching what is needed.

        Args:
            address: The repository.
            version: Branch, tag, ``refs/...``, full or short commit id; '' for the default branch.

        Raises:
            ProjectError: if the repository or the version does not exist, or is ambiguous.
            RepositoryUnavailableError: if the host had to be asked and did not answer.
        """
        if version and not _VERSION.fullmatch(version):
            raise _no_such_version(address, version, ())
        mirror = self._mirror(address)
        if commit := self._known(mirror, version):
            return commit
        self._fetch(address, *_EVERYTHING)
        if commit := self._after_fetch(mirror, address, version):
            return commit
        if _FULL.fullmatch(version) and self._fetch_hidden(address, version):
            return version
        raise _no_such_version(address, version, self._names(mirror))

    def tree(self, address: ProjectAddress, commit: str) -> str:
        """Return the id of the tree at the address's subdirectory.

        Raises:
            ProjectError: if the commit has no such folder.
        """
        mirror = self._mirror(address)
        try:
            found = self._git.read(
                mirror, "rev-parse", "--verify", "--quiet", f"{commit}:{address.subdirectory}"
            )
            return self._git.read(mirror, "rev-parse", "--verify", "--quiet", f"{found}^{{tree}}")
        except GitError as error:
            raise _no_such_folder(address, commit, self._folders(mirror, commit)) from error

    @contextlib.contextmanager
    def hold(self, address: ProjectAddress, commit: str) -> Iterator[Checkout]:
        """Yield a checkout of the commit that stays as long as it is held."""
        folder = self._mirror(address).parent / "commits" / commit
        lock = FileLock(folder.with_name(f"{commit}.lock"))
        while True:
            with lock.shared(self._supervisor.check) as descriptor:
                if folder.is_dir():
                    os.utime(folder.with_name(f"{commit}.lock"))  # when it was last used
                    yield Checkout(folder, descriptor)
                    return
            with lock.exclusive(self._supervisor.check) as descriptor:
                if not folder.is_dir():
                    self._build(address, commit, folder, descriptor)

    def state(self, folder: Path) -> FolderState:
        """Return what Git knows of a plain folder, which is not touched."""
        try:
            commit = self._git.read(folder, "rev-parse", "--verify", "--quiet", "HEAD^{commit}")
            dirty = self._git.read(folder, "status", "--porcelain", "--", ".") != ""
        except GitError:
            return FolderState("", dirty=True)
        return FolderState(commit, dirty=dirty)

    def _mirror(self, address: ProjectAddress) -> Path:
        return self._root / address.digest / "mirror.git"

    # Resolving

    def _known(self, mirror: Path, version: str) -> str:
        """Return the commit for a version that needs no network, or ''."""
        if not mirror.is_dir():
            return ""
        if _FULL.fullmatch(version):
            return self._commit(mirror, version)
        if len(version) < _OFFLINE_SHORT or not _SHORT.fullmatch(version):
            return ""
        named = self._commit(mirror, _BRANCHES + version) or self._commit(mirror, _TAGS + version)
        return "" if named else self._commit(mirror, version)

    def _after_fetch(self, mirror: Path, address: ProjectAddress, version: str) -> str:
        if not version:
            return self._default(mirror, address)
        if version.startswith("refs/heads/"):
            return self._commit(mirror, _BRANCHES + version.removeprefix("refs/heads/"))
        if version.startswith("refs/tags/") or _FULL.fullmatch(version):
            return self._commit(mirror, version)
        branch = self._commit(mirror, _BRANCHES + version)
        tag = self._commit(mirror, _TAGS + version)
        if branch and tag and branch != tag:
            raise _ambiguous(address, version)
        return branch or tag or (self._commit(mirror, version) if _SHORT.fullmatch(version) else "")

    def _default(self, mirror: Path, address: ProjectAddress) -> str:
        if commit := self._commit(mirror, _HEAD):
            return commit
        raise ProjectError(
            f"The repository {address.repository} has no default branch with a commit",
            allowed=f"one of its versions: {listed(self._names(mirror))}",
            action="name a version",
        )

    def _commit(self, mirror: Path, name: str) -> str:
        """Return the full id of the one commit with that name, or ''."""
        try:
            found = self._git.read(
                mirror, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}"
            )
        except GitError:
            return ""
        return found if _FULL.fullmatch(found) else ""

    def _names(self, mirror: Path) -> list[str]:
        refs = self._git.read(mirror, "for-each-ref", "--format=%(refname)", _BRANCHES, _TAGS)
        return [ref.removeprefix(_BRANCHES).removeprefix(_TAGS) for ref in refs.splitlines()]

    def _folders(self, mirror: Path, commit: str) -> list[str]:
        listing = self._git.read(mirror, "ls-tree", "-d", "-r", "--name-only", commit)
        return listing.splitlines()

    # Fetching

    def _fetch(self, address: ProjectAddress, *refspecs: str) -> None:
        mirror = self._mirror(address)
        with FileLock(mirror.with_suffix(".lock")).exclusive(self._supervisor.check) as lock:
            self._prepare(mirror)
            try:
                self._fetch_head_and(address, refspecs, lock)
            except GitError as error:
                raise remote_error(error, address.repository) from error

    def _fetch_head_and(
        self, address: ProjectAddress, refspecs: tuple[str, ...], lock: int
    ) -> None:
        try:
            self._fetch_refs(address, (f"+HEAD:{_HEAD}", *refspecs), lock)
        except GitError as error:
            # An empty repository, or one whose HEAD names a branch that does not exist.
            if "couldn't find remote ref HEAD" not in str(error):
                raise
            self._fetch_refs(address, refspecs, lock)

    def _fetch_refs(self, address: ProjectAddress, refspecs: tuple[str, ...], lock: int) -> None:
        self._git.run(
            self._mirror(address),
            *("fetch", "--quiet", "--force", "--prune", "--no-tags", "--no-write-fetch-head"),
            "--end-of-options",
            address.repository,
            *refspecs,
            lock=lock,
            extra={**address.git_environment(), **_protocols(address)},
        )

    def _fetch_hidden(self, address: ProjectAddress, commit: str) -> bool:
        """Fetch a commit that no branch or tag holds, as a pull request's; True if it is here."""
        mirror = self._mirror(address)
        with FileLock(mirror.with_suffix(".lock")).exclusive(self._supervisor.check) as lock:
            try:
                self._fetch_refs(address, (f"+{commit}:refs/understudy/commits/{commit}",), lock)
            except GitError as error:
                if isinstance(wrapped := remote_error(error, address.repository), ProjectError):
                    raise wrapped from error
                return False  # the host answered a moment ago: it does not have it
        return self._commit(mirror, commit) == commit

    def _prepare(self, mirror: Path) -> None:
        """Have a mirror that can be fetched into, whatever a killed fetch left. Needs its lock."""
        mirror.mkdir(parents=True, exist_ok=True)
        for leftover in (*mirror.glob("*.lock"), *mirror.glob("refs/**/*.lock")):
            leftover.unlink()
        for leftover in mirror.glob("objects/pack/tmp_*"):
            leftover.unlink()
        if not (mirror / "HEAD").is_file() or not (mirror / "config").is_file():
            self._git.read(mirror, "init", "--quiet", "--bare", "--template=", ".")

    # Checking out

    def _build(self, address: ProjectAddress, commit: str, folder: Path, lock: int) -> None:
        """Build a checkout beside its place and move it there. Needs the commit's lock."""
        for leftover in folder.parent.glob(f".{commit}-*"):
            remove_tree(leftover)
        site = Path(tempfile.mkdtemp(prefix=f".{commit}-", dir=folder.parent))
        tree = site / "tree"
        try:
            self._fill(address, commit, tree, _Site(site / "index", lock))
            _make_read_only(tree)
            tree.rename(folder)
            folder.chmod(_READ_ONLY_FOLDER)  # not before: what is moved must be writable
        finally:
            remove_tree(site)

    def _fill(self, address: ProjectAddress, commit: str, folder: Path, site: _Site) -> None:
        mirror = self._mirror(address)
        folder.mkdir(parents=True, exist_ok=True)
        places = {"GIT_DIR": mirror, "GIT_WORK_TREE": folder, "GIT_INDEX_FILE": site.index}
        extra = {name: str(path) for name, path in places.items()}
        try:
            self._git.run(folder, "read-tree", commit, lock=site.lock, extra=extra)
            self._git.run(folder, "checkout-index", "--all", "--force", lock=site.lock, extra=extra)
            self._git.read(mirror, "update-ref", f"refs/understudy/commits/{commit}", commit)
        except GitError as error:
            raise _unusable(address, commit, str(error)) from error
        for path, url, pinned in self._submodules(mirror, address, commit):
            if site.depth >= _SUBMODULE_DEPTH:
                raise _unusable(address, commit, f"more than {_SUBMODULE_DEPTH} nested submodules")
            inner = address.submodule(url)
            resolved = self.resolve(inner, pinned)
            self._fill(inner, resolved, _inside(folder, path), site.deeper())

    def _submodules(
        self, mirror: Path, address: ProjectAddress, commit: str
    ) -> Iterator[tuple[str, str, str]]:
        """Yield path, URL and commit of each submodule."""
        listing = self._git.read(mirror, "ls-tree", "-r", "-z", commit)
        entries = [entry.split("\t", 1) for entry in listing.split("\0") if entry]
        pinned = {path: meta.split()[2] for meta, path in entries if meta[:6] == _SUBMODULE_MODE}
        urls = self._submodule_urls(mirror, commit) if pinned else {}
        for path, submodule_commit in pinned.items():
            if path not in urls:
                raise _unusable(address, commit, f".gitmodules has no URL for {path!r}")
            yield path, urls[path], submodule_commit

    def _submodule_urls(self, mirror: Path, commit: str) -> Mapping[str, str]:
        try:
            listing = self._git.read(
                mirror, "config", "--blob", f"{commit}:.gitmodules", "-z", "--list"
            )
        except GitError:
            return {}
        values = dict(entry.split("\n", 1) for entry in listing.split("\0") if "\n" in entry)
        paths = {k.removesuffix(".path"): v for k, v in values.items() if k.endswith(".path")}
        return {
            path: values[f"{name}.url"] for name, path in paths.items() if f"{name}.url" in values
        }


def remove_tree(folder: Path) -> None:
    """Remove a folder, read-only ones included."""
    for base, _, _ in os.walk(folder):
        Path(base).chmod(stat.S_IRWXU)
    shutil.rmtree(folder)


def _make_read_only(folder: Path) -> None:
    """Take the write permission from all that is in a folder."""
    for base, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(base, name)
            if not path.is_symlink():
                path.chmod(path.stat().st_mode & ~_WRITE_BITS)


def _inside(folder: Path, path: str) -> Path:
    """Return the folder of a submodule, which no symbolic link may lead out of the checkout."""
    target = folder / path
    if not target.resolve().is_relative_to(folder.resolve()):
        raise ProjectError(
            f"The submodule {path!r} would lie outside the checkout",
            allowed="a submodule below the top of its repository",
            action="do not run this repository",
        )
    return target


def _protocols(address: ProjectAddress) -> dict[str, str]:
    """Return the protocols that Git may use: a remote repository must not lead to local files."""
    return {"GIT_ALLOW_PROTOCOL": "file" if address.is_local else "https:http:ssh:git"}


def _no_such_version(
    address: ProjectAddress, version: str, known: tuple[str, ...] | list[str]
) -> ProjectError:
    shown = f"; {address.repository} has {listed(known[:20])}" if known else ""
    return ProjectError(
        f"The version {version!r} does not exist in {address.repository}{nearest(version, known)}",
        allowed=f"a branch, a tag, or a full or unambiguous short commit id{shown}",
        action="correct the version, or push it",
    )


def _no_such_folder(address: ProjectAddress, commit: str, known: list[str]) -> ProjectError:
    hint = nearest(address.subdirectory, known)
    return ProjectError(
        f"The subdirectory {address.subdirectory!r} does not exist in {address.repository} at "
        f"{commit[:12]}{hint}",
        allowed="a folder of that commit with an MLproject in it",
        action="correct what follows '#', or the version",
    )


def _ambiguous(address: ProjectAddress, version: str) -> ProjectError:
    return ProjectError(
        f"{version!r} names both a branch and a tag of {address.repository}, at different commits",
        allowed=f"'refs/heads/{version}', 'refs/tags/{version}' or a commit id",
        action="write which of them is meant",
    )


def _unusable(address: ProjectAddress, commit: str, why: str) -> ProjectError:
    return ProjectError(
        f"Commit {commit[:12]} of {address.repository} cannot be checked out: {why}",
        allowed="a commit that `git checkout` accepts, with submodules that can be fetched",
        action="try the same with `git clone --recurse-submodules`",
    )


__all__ = [
    "Checkout",
    "CheckoutStore",
    "FolderState",
    "RepositoryUnavailableError",
    "remove_tree",
]
