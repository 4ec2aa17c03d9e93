"""One bare mirror per repository: fetches into it, under a lock, and resolves versions with it.

Full and unique short commit ids that are here already need no network.
"""

from __future__ import annotations

import re
from pathlib import Path

from understudy.errors import ProjectError, RepositoryUnavailableError, nearest
from understudy.giturl import ProjectAddress
from understudy.steps.conversation import conversation
from understudy.steps.filesystem import remove_tree
from understudy.steps.git import Git, GitError, remote_error
from understudy.steps.links import CommitTree
from understudy.steps.locks import FileLock
from understudy.steps.versions import ASKED, BRANCHES, HEAD, TAGS, Versions, is_full_id

_EVERYTHING = (f"+refs/heads/*:{BRANCHES}*", f"+refs/tags/*:{TAGS}*")
_OTHER_REF = re.compile(r"refs/(?!heads/|tags/).+")
_ABSENT = re.compile(
    r"not our ref|couldn't find remote ref|unadvertised object|want \S+ not valid", re.IGNORECASE
)
"""What hosts say of a commit or a ref that they do not have."""
_SUSPICIOUS = re.compile(
    r"is empty|corrupt|bad object|did not send all necessary|not a git packfile|broken ref"
    r"|missing (blob|tree|commit)|unable to read|not a git repository|does not contain a section",
    re.IGNORECASE,
)
"""What git says where its own files are damaged, though a host's may be meant."""
_LOOSE_IN_ONE, _PACKS = 10, 50  # files in one of 256 folders, and packs: Git's own measure


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
        self._git, self._versions = git, Versions(git, folder, address)
        self._lock = FileLock(folder.with_suffix(".lock"))

    def resolve(self, version: str) -> str:
        """Return the full commit id that a version stands for, fetching what is needed.

        Args:
            version: Branch, tag, ``refs/...``, full or short commit id; '' for the default branch.

        Raises:
            ProjectError: if the repository or the version does not exist, or is ambiguous.
            RepositoryUnavailableError: if the host had to be asked and did not answer.
        """
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
        with self._lock.exclusive(self._git.supervisor.check):
            self._git.read(self.folder, "update-ref", _kept(commit), commit)

    def discard_if_damaged(self, error: GitError) -> None:
        """Remove a mirror that a power cut or a full disk left damaged, if that is what failed.

        Raises:
            RepositoryUnavailableError: if it was; a retry fetches everything anew.
        """
        with self._lock.exclusive(self._git.supervisor.check) as lock:
            if not self._is_damaged(error, lock):
                return
            remove_tree(self.folder)
        raise RepositoryUnavailableError(
            f"The mirror of {self.address.repository} on this machine was damaged: {error}",
            allowed="a mirror that `git fsck` accepts",
            action="run it again: the mirror was removed, and will be fetched anew",
        ) from error

    def _fetch(self, *refspecs: str) -> None:
        with self._lock.exclusive(self._git.supervisor.check) as lock:
            self._prepare()
            try:
                self._fetch_head_and(refspecs, lock)
            except GitError as error:
                if not self._is_damaged(error, lock):
                    raise remote_error(error, self.address.repository) from error
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
                "--update-shallow",  # a host may itself hold a shallow clone
                "--end-of-options",
                self.address.repository,
                *refspecs,
                lock=lock,
                talk=talk,
            )

    def _fetch_hidden(self, wanted: str, into: str) -> None:
        """Fetch what no branch or tag holds, as a pull request's commit, if the host has it."""
        with self._lock.exclusive(self._git.supervisor.check) as lock:
            try:
                self._fetch_refs((f"+{wanted}:{into}",), lock)
            except GitError as error:
                if not _ABSENT.search(str(error)):
                    raise remote_error(error, self.address.repository) from error
                self._git.read(self.folder, "update-ref", "-d", into)

    def _prepare(self) -> None:
        """Have a mirror that can be fetched into, whatever a killed fetch left. Needs its lock."""
        mirror = self.folder
        mirror.mkdir(parents=True, exist_ok=True)
        for leftover in (*mirror.glob("*.lock"), *mirror.glob("refs/**/*.lock")):
            leftover.unlink()
        for pattern in ("tmp_*", ".tmp-*"):
            for leftover in mirror.glob(f"objects/pack/{pattern}"):
                leftover.unlink()
        if not (mirror / "HEAD").is_file() or not (mirror / "config").is_file():
            self._git.read(mirror, "init", "--quiet", "--bare", "--template=", ".")
        # Git's own place for a repository's name; who looks at the cache reads it.
        (mirror / "description").write_text(f"{self.address.repository}\n", encoding="utf-8")

    def _is_damaged(self, error: GitError, lock: int) -> bool:
        """Whether the mirror itself, not the host, is what failed."""
        if not _SUSPICIOUS.search(str(error)):
            return False
        try:
            self._git.run(self.folder, "fsck", "--no-dangling", "--no-progress", lock=lock)
        except GitError:
            return True
        return False

    def _pack(self, lock: int) -> None:
        """Pack what hundreds of small fetches left: Git's own way is to do it in our back."""
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
