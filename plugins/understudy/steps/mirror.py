"""One bare mirror per repository: fetches into it, under a lock, and resolves versions with it.

Full and unique short commit ids that are here already need no network.
"""

from __future__ import annotations

from pathlib import Path

from understudy.errors import ProjectError, nearest
from understudy.giturl import ProjectAddress
from understudy.steps.git import Git, GitError, remote_error
from understudy.steps.locks import FileLock
from understudy.steps.versions import BRANCHES, HEAD, TAGS, Versions, is_full_id

_EVERYTHING = (f"+refs/heads/*:{BRANCHES}*", f"+refs/tags/*:{TAGS}*")


class Mirror:
    """The mirror of one repository, whether it is here yet or not.

    Args:
        git: Git with the machine's settings.
        folder: Where the mirror is, or will be.
        address: The repository that it mirrors.
    """

    def __init__(self, git: Git, folder: Path, address: ProjectAddress) -> None:
        self.folder, self.address = folder, address
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
        if commit := self._versions.fetched(version):
            return commit
        if is_full_id(version) and self._fetch_hidden(version):
            return version
        raise self._versions.missing(version)

    def tree(self, commit: str) -> str:
        """Return the id of the tree at the address's subdirectory.

        Raises:
            ProjectError: if the commit has no such folder.
        """
        place = f"{commit}:{self.address.subdirectory}"
        try:
            found = self._git.read(self.folder, "rev-parse", "--verify", "--quiet", place)
            return self._git.read(
                self.folder, "rev-parse", "--verify", "--quiet", f"{found}^{{tree}}"
            )
        except GitError as error:
            raise self._no_such_folder(commit) from error

    def keep(self, commit: str) -> None:
        """Keep a commit that a checkout was made of, even if its branch is rewritten."""
        self._git.read(self.folder, "update-ref", f"refs/understudy/commits/{commit}", commit)

    def _fetch(self, *refspecs: str) -> None:
        with self._lock.exclusive(self._git.supervisor.check) as lock:
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
        self._git.run(
            self.folder,
            *("fetch", "--quiet", "--force", "--prune", "--no-tags", "--no-write-fetch-head"),
            "--end-of-options",
            self.address.repository,
            *refspecs,
            lock=lock,
            extra={**self.address.git_environment(), **protocols(self.address)},
        )

    def _fetch_hidden(self, commit: str) -> bool:
        """Fetch a commit that no branch or tag holds, as a pull request's; True if it is here."""
        with self._lock.exclusive(self._git.supervisor.check) as lock:
            try:
                self._fetch_refs((f"+{commit}:refs/understudy/commits/{commit}",), lock)
            except GitError as error:
                wrapped = remote_error(error, self.address.repository)
                if isinstance(wrapped, ProjectError):
                    raise wrapped from error
                return False  # the host answered a moment ago: it does not have it
        return self._versions.commit(commit) == commit

    def _prepare(self) -> None:
        """Have a mirror that can be fetched into, whatever a killed fetch left. Needs its lock."""
        mirror = self.folder
        mirror.mkdir(parents=True, exist_ok=True)
        for leftover in (*mirror.glob("*.lock"), *mirror.glob("refs/**/*.lock")):
            leftover.unlink()
        for leftover in mirror.glob("objects/pack/tmp_*"):
            leftover.unlink()
        if not (mirror / "HEAD").is_file() or not (mirror / "config").is_file():
            self._git.read(mirror, "init", "--quiet", "--bare", "--template=", ".")

    def _no_such_folder(self, commit: str) -> ProjectError:
        listing = self._git.read(self.folder, "ls-tree", "-d", "-r", "--name-only", commit)
        hint = nearest(self.address.subdirectory, listing.splitlines())
        return ProjectError(
            f"The subdirectory {self.address.subdirectory!r} does not exist in "
            f"{self.address.repository} at {commit[:12]}{hint}",
            allowed="a folder of that commit with an MLproject in it",
            action="correct what follows '#', or the version",
        )


def protocols(address: ProjectAddress) -> dict[str, str]:
    """Return the protocols that Git may use: a remote repository must not lead to local files."""
    return {"GIT_ALLOW_PROTOCOL": "file" if address.is_local else "https:http:ssh:git"}
