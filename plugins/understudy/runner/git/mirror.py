"""One bare mirror per repository: fetches into it, under a lock, and resolves versions with it.

Full and unique short commit ids that are here already need no network.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from understudy.errors import ProjectError, RepositoryUnavailableError, listed, nearest
from understudy.runner.filesystem import remove_tree
from understudy.runner.git.git import Git, GitError, conversation, remote_error
from understudy.runner.git.links import CommitTree
from understudy.runner.locks import FileLock
from understudy.spec.git_address import ProjectAddress

HEAD = "refs/understudy/HEAD"
BRANCHES, TAGS = "refs/remotes/origin/", "refs/tags/"
ASKED = "refs/understudy/asked/"
"""Before the names of refs that are neither branches nor tags, such as refs/pull/1/head."""

_FULL = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_SHORT = re.compile(r"[0-9a-f]{4,63}")
# Digits from which a short id is taken without a fetch: as many as Git itself abbreviates to.
_OFFLINE_SHORT = 7
_VERSION = re.compile(r"(?!-)[^\x00-\x20\x7f~^:?*\[\\]+")
# Names in a message.
_SHOWN = 20


def is_full_id(version: str) -> bool:
    """Whether a version is a full commit id."""
    return _FULL.fullmatch(version) is not None


@dataclass(frozen=True, slots=True)
class MirrorVersions:
    """Resolves versions in the mirror of a repository."""

    git: Git
    mirror: Path
    address: ProjectAddress

    def known(self, version: str) -> str:
        """Return the commit for a version that needs no network, or ''."""
        if not self.mirror.is_dir():
            return ""
        if is_full_id(version):
            return self.commit(version)
        if len(version) < _OFFLINE_SHORT or not _SHORT.fullmatch(version):
            return ""
        # A branch may be named like a short id, and branches move: then the host has to be asked.
        named = self.commit(BRANCHES + version) or self.commit(TAGS + version)
        return "" if named else self.commit(version)

    def fetched(self, version: str) -> str:
        """Return the commit that a version means in a mirror that was just fetched, or ''.

        Raises:
            ProjectError: if it is ambiguous, or there is no default branch.
        """
        if version in {"", "HEAD"}:
            return self._default()
        if version.startswith("refs/heads/"):
            return self.commit(BRANCHES + version.removeprefix("refs/heads/"))
        if version.startswith("refs/tags/") or is_full_id(version):
            return self.commit(version)
        if version.startswith("refs/"):
            return self.commit(ASKED + version)
        branch, tag = self.commit(BRANCHES + version), self.commit(TAGS + version)
        if branch and tag and branch != tag:
            raise ProjectError(
                f"{version!r} names both a branch and a tag of {self.address.repository}, at "
                "different commits",
                allowed=f"'refs/heads/{version}', 'refs/tags/{version}' or a commit id",
                action="write which of them is meant",
            )
        return branch or tag or (self.commit(version) if _SHORT.fullmatch(version) else "")

    def commit(self, name: str) -> str:
        """Return the full id of the one commit with that name, or ''."""
        try:
            found = self.git.read(
                self.mirror,
                *("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}"),
            )
        except GitError:
            return ""
        return found if is_full_id(found) else ""

    def check(self, version: str) -> None:
        """Raise ProjectError for what can be no version in any repository."""
        if version and not _VERSION.fullmatch(version):
            raise self._missing(version, [])

    def missing(self, version: str) -> ProjectError:
        """Return the error for a version that the repository does not have."""
        return self._missing(version, self._names())

    def _names(self) -> list[str]:
        refs = self.git.read(self.mirror, "for-each-ref", "--format=%(refname)", BRANCHES, TAGS)
        return [ref.removeprefix(BRANCHES).removeprefix(TAGS) for ref in refs.splitlines()]

    def _default(self) -> str:
        if commit := self.commit(HEAD):
            return commit
        raise ProjectError(
            f"The repository {self.address.repository} has no default branch with a commit",
            allowed=f"one of its versions: {listed(self._names())}",
            action="name a version",
        )

    def _missing(self, version: str, known: list[str]) -> ProjectError:
        repository = self.address.repository
        shown = f"; {repository} has {listed(known[:_SHOWN])}" if known else ""
        return ProjectError(
            f"The version {version!r} does not exist in {repository}{nearest(version, known)}",
            allowed="a branch, a tag, refs/..., or a full or unambiguous short commit id" + shown,
            action="correct the version, or push it",
        )


# A submodule's mode in a Git tree ("gitlink").
_MODE = "160000"


@dataclass(frozen=True, slots=True)
class Submodule:
    """A submodule: its folder, its URL as written ('' if nowhere), and the commit it stays at."""

    path: str
    url: str
    commit: str


def submodules(git: Git, mirror: Path, commit: str) -> Iterator[Submodule]:
    """Yield the submodules of a commit that is in a mirror."""
    listing = git.read(mirror, "ls-tree", "-r", "-z", commit)
    entries = [entry.split("\t", 1) for entry in listing.split("\0") if entry]
    pinned = {path: meta.split()[2] for meta, path in entries if meta[:6] == _MODE}
    urls = _urls(git, mirror, commit) if pinned else {}
    for path, its_commit in pinned.items():
        yield Submodule(path, urls.get(path, ""), its_commit)


def inside(folder: Path, path: str) -> Path:
    """Return the folder of a submodule, which no symbolic link may lead out of the checkout."""
    # A commit can hold a link where a submodule's parent folder should be.
    target = folder / path
    if not target.resolve().is_relative_to(folder.resolve()):
        raise ProjectError(
            f"The submodule {path!r} would lie outside the checkout",
            allowed="a submodule below the top of its repository",
            action="do not run this repository",
        )
    return target


def _urls(git: Git, mirror: Path, commit: str) -> Mapping[str, str]:
    try:
        listing = git.read(mirror, "config", "--blob", f"{commit}:.gitmodules", "-z", "--list")
    except GitError:
        return {}
    values = dict(entry.split("\n", 1) for entry in listing.split("\0") if "\n" in entry)
    paths = {k.removesuffix(".path"): v for k, v in values.items() if k.endswith(".path")}
    return {path: values[f"{name}.url"] for name, path in paths.items() if f"{name}.url" in values}


_EVERYTHING = (f"+refs/heads/*:{BRANCHES}*", f"+refs/tags/*:{TAGS}*")
_OTHER_REF = re.compile(r"refs/(?!heads/|tags/).+")
_ABSENT = re.compile(
    r"not our ref|couldn't find remote ref|unadvertised object|want \S+ not valid", re.IGNORECASE
)
"""Messages of hosts about a commit or a ref that they do not have."""
_SUSPICIOUS = re.compile(
    r"is empty|corrupt|bad object|did not send all necessary|not a git packfile|broken ref"
    r"|missing (blob|tree|commit)|unable to read|not a git repository|does not contain a section",
    re.IGNORECASE,
)
"""Messages of git about damaged files, which may be the mirror's or the host's."""
# Git's own measure for `gc --auto` looks at objects/17, one of 256 folders, and counts packs.
_LOOSE_IN_ONE, _PACKS = 10, 50


class Mirror:
    """The mirror of one repository, whether it is here yet or not.

    Args:
        git: Git with the machine's settings.
        folder: Where the mirror is, or will be.
        address: The repository that it mirrors.
        scratch: Where keys lie while a host is talked to.
    """

    def __init__(self, git: Git, folder: Path, address: ProjectAddress, scratch: Path) -> None:
        self.folder, self.address, self._scratch = folder, address, scratch
        self._git, self._versions = git, MirrorVersions(git, folder, address)
        self._lock = FileLock(folder.with_suffix(".lock"))

    def resolve(self, version: str) -> str:
        """Return the full commit id that a version stands for, fetching what is needed.

        Args:
            version: Branch, tag, ``refs/...``, full or short commit id; '' for the default branch.

        Raises:
            ProjectError: if the repository or the version does not exist, or is ambiguous.
            RepositoryUnavailableError: if the host had to be asked and did not answer.
        """
        # Before anything else: such a version could be read as an option or as several refs.
        self._versions.check(version)
        if commit := self._versions.known(version):
            return commit
        self._fetch(*_EVERYTHING)
        if _OTHER_REF.fullmatch(version):
            self._fetch_hidden(version, ASKED + version)
        elif is_full_id(version) and not self._versions.known(version):
            self._fetch_hidden(version, _kept(version))
        if commit := self._versions.fetched(version):
            return commit
        raise self._versions.missing(version)

    def tree(self, commit: str) -> str:
        """Return what identifies the files at the address's subdirectory, links followed.

        Raises:
            ProjectError: if the commit has no such folder, or a link in it leaves the repository.
        """
        place = f"{commit}:{self.address.subdirectory}"
        try:
            given = self._git.read(self.folder, "rev-parse", "--verify", "--quiet", place)
            tree = self._git.read(
                self.folder, "rev-parse", "--verify", "--quiet", f"{given}^{{tree}}"
            )
        except GitError as error:
            raise self._no_such_folder(commit) from error
        found = CommitTree(self.folder, commit, self.address.subdirectory, tree)
        return found.with_links(self._git)

    def keep(self, commit: str) -> None:
        """Keep a commit that a checkout was made of, even if its branch is rewritten."""
        # Not beside a fetch, whose first act is to remove the lock files of one that was killed.
        with self._lock.exclusive(self._git.process_runner.check):
            self._git.read(self.folder, "update-ref", _kept(commit), commit)

    def discard_if_damaged(self, error: GitError) -> None:
        """Remove a mirror that a power cut or a full disk left damaged, if that is what failed.

        Raises:
            RepositoryUnavailableError: if it was; a retry fetches everything anew.
        """
        with self._lock.exclusive(self._git.process_runner.check) as lock:
            if not self._is_damaged(error, lock):
                return
            remove_tree(self.folder)
        raise RepositoryUnavailableError(
            f"The mirror of {self.address.repository} on this machine was damaged: {error}",
            allowed="a mirror that `git fsck` accepts",
            action="run it again: the mirror was removed, and will be fetched anew",
        ) from error

    def _fetch(self, *refspecs: str) -> None:
        with self._lock.exclusive(self._git.process_runner.check) as lock:
            self._prepare()
            try:
                self._fetch_head_and(refspecs, lock)
            except GitError as error:
                if not self._is_damaged(error, lock):
                    raise remote_error(error, self.address.repository) from error
                # Once: a mirror that is fetched anew and fails again is not what is wrong.
                remove_tree(self.folder)
                self._fetch_into_new(refspecs, lock)
            self._pack(lock)

    def _fetch_into_new(self, refspecs: tuple[str, ...], lock: int) -> None:
        self._prepare()
        try:
            self._fetch_head_and(refspecs, lock)
        except GitError as error:
            raise remote_error(error, self.address.repository) from error

    def _fetch_head_and(self, refspecs: tuple[str, ...], lock: int) -> None:
        try:
            self._fetch_refs((f"+HEAD:{HEAD}", *refspecs), lock)
        except GitError as error:
            # An empty repository, or one whose HEAD names a branch that does not exist.
            if "couldn't find remote ref HEAD" not in str(error):
                raise
            self._fetch_refs(refspecs, lock)

    def _fetch_refs(self, refspecs: tuple[str, ...], lock: int) -> None:
        with conversation(self.address, self._scratch) as talk:
            self._git.run(
                self.folder,
                *("fetch", "--quiet", "--force", "--prune", "--no-tags", "--no-write-fetch-head"),
                # A host may itself hold a shallow clone, whose branches are not taken without this.
                "--update-shallow",
                "--end-of-options",
                self.address.repository,
                *refspecs,
                lock=lock,
                talk=talk,
            )

    def _fetch_hidden(self, ref: str, into: str) -> None:
        """Fetch what no branch or tag holds, as a pull request's commit, if the host has it."""
        with self._lock.exclusive(self._git.process_runner.check) as lock:
            try:
                self._fetch_refs((f"+{ref}:{into}",), lock)
            except GitError as error:
                # No such commit is an answer, and resolve() says so with the versions there are.
                if not _ABSENT.search(str(error)):
                    raise remote_error(error, self.address.repository) from error
                self._git.read(self.folder, "update-ref", "-d", into)

    def _prepare(self) -> None:
        """Make the mirror fit for a fetch, whatever a killed one left behind. Needs its lock."""
        mirror = self.folder
        mirror.mkdir(parents=True, exist_ok=True)
        # We hold the mirror's lock, so no git works here: lock files are of one that was killed.
        for leftover in (*mirror.glob("*.lock"), *mirror.glob("refs/**/*.lock")):
            leftover.unlink()
        for pattern in ("tmp_*", ".tmp-*"):
            for leftover in mirror.glob(f"objects/pack/{pattern}"):
                leftover.unlink()
        if not (mirror / "HEAD").is_file() or not (mirror / "config").is_file():
            self._git.read(mirror, "init", "--quiet", "--bare", "--template=", ".")
        # Git's own file for a repository's name; `reuse.cache` shows it.
        (mirror / "description").write_text(f"{self.address.repository}\n", encoding="utf-8")

    def _is_damaged(self, error: GitError, lock: int) -> bool:
        """Whether the mirror itself, not the host, is what failed."""
        # fsck reads every object, which may take minutes: only after an error that fits.
        if not _SUSPICIOUS.search(str(error)):
            return False
        try:
            self._git.run(self.folder, "fsck", "--no-dangling", "--no-progress", lock=lock)
        except GitError:
            return True
        return False

    def _pack(self, lock: int) -> None:
        """Pack what hundreds of small fetches left."""
        # Git's own `gc --auto`, which is off here, goes on in the background, without our lock.
        objects = self.folder / "objects"
        loose, packs = len(list(objects.glob("17/*"))), len(list(objects.glob("pack/*.pack")))
        if loose <= _LOOSE_IN_ONE and packs <= _PACKS:
            return
        try:
            self._git.run(self.folder, "gc", "--quiet", lock=lock)
        except GitError as error:
            raise RepositoryUnavailableError(
                f"The mirror {self.folder} could not be packed: {error}",
                allowed="a cache on a disk with room for it",
                action="make room, for instance with `understudy cache prune`, and run it again",
            ) from error

    def _no_such_folder(self, commit: str) -> ProjectError:
        listing = self._git.read(self.folder, "ls-tree", "-d", "-r", "--name-only", commit)
        hint = nearest(self.address.subdirectory, listing.splitlines())
        return ProjectError(
            f"The subdirectory {self.address.subdirectory!r} does not exist in "
            f"{self.address.repository} at {commit[:12]}{hint}",
            allowed="a folder of that commit with an MLproject in it",
            action="correct what follows '#', or the version",
        )


def _kept(commit: str) -> str:
    """Return the ref that keeps a commit whatever becomes of its branch."""
    return f"refs/understudy/commits/{commit}"
