"""Which commit a version names, as far as a mirror knows. Reads the mirror, never the network."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from understudy.errors import ProjectError, listed, nearest
from understudy.runner.git.git import Git, GitError
from understudy.spec.git_address import ProjectAddress

HEAD = "refs/understudy/HEAD"
BRANCHES, TAGS = "refs/remotes/origin/", "refs/tags/"
ASKED = "refs/understudy/asked/"
"""Before the names of refs that are neither branches nor tags, such as refs/pull/1/head."""

_FULL = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_SHORT = re.compile(r"[0-9a-f]{4,63}")
_OFFLINE_SHORT = 7  # digits from which a short id may be taken without asking the host
_VERSION = re.compile(r"(?!-)[^\x00-\x20\x7f~^:?*\[\\]+")
_SHOWN = 20  # names in a message


def is_full_id(version: str) -> bool:
    """Whether a version is a full commit id."""
    return _FULL.fullmatch(version) is not None


@dataclass(frozen=True, slots=True)
class Versions:
    """The versions that the mirror of a repository knows."""

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
            raise self._ambiguous(version)
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

    def _ambiguous(self, version: str) -> ProjectError:
        return ProjectError(
            f"{version!r} names both a branch and a tag of {self.address.repository}, at different "
            "commits",
            allowed=f"'refs/heads/{version}', 'refs/tags/{version}' or a commit id",
            action="write which of them is meant",
        )
