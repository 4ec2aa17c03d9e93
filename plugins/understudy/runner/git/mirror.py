"""One bare mirror per repository: fetches into it, under a lock, and resolves versions with it.

Of a version one commit is fetched, without its history. Full and unique short commit ids that are
here already need no network.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from understudy.contract import key_of
from understudy.errors import ProjectError, RepositoryUnavailableError, listed, nearest
from understudy.runner.filesystem import remove_tree
from understudy.runner.git.git import CommitTree, Git, GitError, conversation, remote_error
from understudy.runner.locks import FileLock
from understudy.spec.git_address import ProjectAddress

BRANCHES, TAGS = "refs/remotes/origin/", "refs/tags/"
"""Where a mirror that holds all history has the host's branches and tags."""
_HEADS = "refs/heads/"

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

    def ref(self, version: str, names: Mapping[str, str]) -> str:
        """Return the branch or tag that a version names, or ''.

        Args:
            version: Its short name.
            names: The host's branches and tags, and the commits that they stand for.

        Raises:
            ProjectError: if it is ambiguous.
        """
        found = [ref for ref in (f"{_HEADS}{version}", f"{TAGS}{version}") if ref in names]
        if len({names[ref] for ref in found}) > 1:
            raise ProjectError(
                f"{version!r} names both a branch and a tag of {self.address.repository}, at "
                "different commits",
                allowed=f"'refs/heads/{version}', 'refs/tags/{version}' or a commit id",
                action="write which of them is meant",
            )
        return found[0] if found else ""

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

    def missing(self, version: str, names: Iterable[str]) -> ProjectError:
        """Return the error for a version that a repository with these refs does not have."""
        known = [ref.removeprefix(_HEADS).removeprefix(TAGS) for ref in names]
        if version not in {"", "HEAD"}:
            return self._missing(version, known)
        return ProjectError(
            f"The repository {self.address.repository} has no default branch with a commit",
            allowed=f"one of its versions: {listed(known)}",
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


_EVERYTHING = (f"+{_HEADS}*:{BRANCHES}*", f"+{TAGS}*:{TAGS}*")
_LISTED = re.compile(r"([0-9a-f]{40,64})\t(refs/\S+)")
_PEELED = "^{}"
_NO_DEPTH = re.compile(r"does not support (shallow|--depth)|shallow capabilities", re.IGNORECASE)
"""Messages about hosts that give a commit with its whole history only."""
_ABSENT = re.compile(
    r"not our ref|couldn't find remote ref|unadvertised object|want \S+ not valid"
    r"|unable to find [0-9a-f]{40}",
    re.IGNORECASE,
)
"""Messages of hosts about a commit or a ref that they do not have."""
_SUSPICIOUS = re.compile(
    r"is empty|corrupt|bad object|did not send all necessary|not a git packfile"
    r"|broken ref|reference broken|bad shallow"
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
        names: Mapping[str, str] = {}
        ref = version if is_full_id(version) or version.startswith("refs/") else "HEAD"
        if version not in {ref, ""}:
            names = self._listed()
            ref = self._versions.ref(version, names)
            # What is kept is whole: a branch that has not moved needs no fetch.
            if ref and (commit := self._versions.commit(place_of(names[ref]))):
                return commit
        if ref and (commit := self._newest(ref)):
            return commit
        # A short id can be told from others only where all are; and some hosts give a commit by its
        # id only where a branch or a tag is at it.
        if _SHORT.fullmatch(version) or is_full_id(version):
            self._complete()
            if commit := self._versions.commit(version):
                return commit
        raise self._versions.missing(version, names or self._listed())

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
            self._git.read(self.folder, "update-ref", place_of(commit), commit)

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

    def _listed(self) -> dict[str, str]:
        """Return the host's branches and tags, and the commits that they stand for."""
        with self._lock.exclusive(self._git.process_runner.check) as lock:
            self._prepare()
            try:
                with conversation(self.address, self._scratch) as talk:
                    where = ("--end-of-options", self.address.repository)
                    command = ("ls-remote", "--quiet", "--heads", "--tags", *where)
                    lines = self._git.run(self.folder, *command, lock=lock, talk=talk)
            except GitError as error:
                raise remote_error(error, self.address.repository) from error
        found = [one.groups() for one in map(_LISTED.fullmatch, lines) if one]
        names = {ref: commit for commit, ref in found}
        # Of an annotated tag the commit is listed after the tag's own object.
        peeled = {ref: names.get(f"{ref}{_PEELED}", commit) for ref, commit in names.items()}
        return {ref: commit for ref, commit in peeled.items() if not ref.endswith(_PEELED)}

    def _newest(self, ref: str) -> str:
        """Fetch the commit of a ref, without its history, and keep it; '' if there is none."""
        # One name for each, by a digest: a branch may have the name of another one's folder.
        into = f"refs/understudy/asked/{key_of(ref)}"
        try:
            self._fetch(f"+{ref}:{into}", depth=("--depth=1",))
        except GitError:
            # That it has none is an answer, and resolve() says so with the versions there are.
            return ""
        if commit := self._versions.commit(into):
            self.keep(commit)
        return commit

    def _complete(self) -> None:
        """Fetch all branches and tags with all their history."""
        try:
            self._fetch(*_EVERYTHING, depth=())
        except GitError as error:
            raise remote_error(error, self.address.repository) from error

    def _fetch(self, *refspecs: str, depth: tuple[str, ...]) -> None:
        """Fetch refs into the mirror.

        Args:
            refspecs: As ``git fetch`` takes them.
            depth: Its option for how much history; none for all.

        Raises:
            GitError: if the host does not have them.
            ProjectError: if it refuses.
            RepositoryUnavailableError: if it does not answer.
        """
        with self._lock.exclusive(self._git.process_runner.check) as lock:
            self._prepare()
            try:
                self._fetch_refs(refspecs, depth, lock)
            except GitError as error:
                if _NO_DEPTH.search(str(error)):
                    depth = ()
                elif self._is_damaged(error, lock):
                    # Once: a mirror that is fetched anew and fails again is not what is wrong.
                    remove_tree(self.folder)
                    self._prepare()
                else:
                    raise self._failure(error) from error
                try:
                    self._fetch_refs(refspecs, depth, lock)
                except GitError as second:
                    raise self._failure(second) from second
            self._pack(lock)

    def _failure(self, error: GitError) -> Exception:
        absent = _ABSENT.search(str(error))
        return error if absent else remote_error(error, self.address.repository)

    def _fetch_refs(self, refspecs: tuple[str, ...], depth: tuple[str, ...], lock: int) -> None:
        # Git refuses to complete what is complete.
        everything = ("--prune", *(["--unshallow"] if (self.folder / "shallow").exists() else []))
        with conversation(self.address, self._scratch) as talk:
            self._git.run(
                self.folder,
                *("fetch", "--quiet", "--force", "--no-tags", "--no-write-fetch-head"),
                # A host may itself hold a shallow clone, whose branches are not taken without this.
                "--update-shallow",
                *(depth or everything),
                "--end-of-options",
                self.address.repository,
                *refspecs,
                lock=lock,
                talk=talk,
            )

    def _prepare(self) -> None:
        """Make the mirror fit for a fetch, whatever a killed one left behind. Needs its lock."""
        mirror = self.folder
        mirror.mkdir(parents=True, exist_ok=True)
        # We hold the mirror's lock, so no git works here: lock files are of one that was killed.
        for leftover in (*mirror.glob("*.lock"), *mirror.glob("refs/**/*.lock")):
            leftover.unlink()
        for pattern in ("tmp_*", ".tmp-*", "*.keep"):
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


def place_of(commit: str) -> str:
    """Return the ref that keeps a commit whatever becomes of its branch."""
    return f"refs/understudy/commits/{commit}"
