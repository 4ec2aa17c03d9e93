"""What a project's symbolic links lead to: it belongs to the project, wherever it lies.

So one folder can serve several projects of a repository. Reads a mirror's objects, or folders.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Final

from understudy.contract import key_of
from understudy.errors import ProjectError
from understudy.runner.git.git import Git

# 120000 is the mode of a symbolic link in a Git tree.
_LINK: Final = re.compile(r"(?:\A|\0)120000 [^\t]*\t([^\0]+)")
# What `git cat-file --batch-check --follow-symlinks` prints in place of an object.
_LEADS_OUT: Final = b"symlink"
_NOWHERE: Final = frozenset({b"dangling", b"loop", b"notdir"})


@dataclass(frozen=True, slots=True)
class CommitTree:
    """The tree of one folder of a commit that is in a mirror.

    Attributes:
        mirror: The bare repository.
        commit: Full id.
        folder: Path of the folder; '' for the top.
        tree: Git's id of its tree.
    """

    mirror: Path
    commit: str
    folder: str
    tree: str

    def with_links(self, git: Git) -> str:
        """Return what identifies the folder together with all that its links lead to.

        Without links that is Git's id. The commit's whole tree counts where no object of the mirror
        is behind a link, such as a file of a submodule, or where links lead to links in a tree that
        lies in two places, or in a circle: too much is safe, too little is not.

        Raises:
            ProjectError: if a link leads out of the repository.
        """
        ends: dict[str, str] = {}
        again, linking = set[str](), set[str]()
        waiting, seen = {self.tree: self.folder}, {self.tree}
        while waiting:
            tree, folder = waiting.popitem()
            listing = git.read(self.mirror, "ls-tree", "-r", "-z", tree)
            names = [f"{folder}/{name}".lstrip("/") for name in _LINK.findall(listing)]
            for name, (kind, found) in self._ends(git, names):
                ends[name] = found
                linking.add(tree)
                if found in seen:
                    again.add(found)
                elif kind == b"tree":
                    seen.add(found)
                    waiting[found] = name
        if not ends:
            return self.tree
        if "" in ends.values() or again & linking:
            ends[""] = git.read(self.mirror, "rev-parse", f"{self.commit}^{{tree}}")
        return key_of(self.tree, *chain.from_iterable(sorted(ends.items())))

    def _ends(self, git: Git, names: Sequence[str]) -> Iterator[tuple[str, tuple[bytes, str]]]:
        """Yield kind and id of what each link ends at; ('', '') where that is no object."""
        # cat-file reads one name a line.
        queried = [name for name in names if "\n" not in name]
        yield from ((name, (b"", "")) for name in names if "\n" in name)
        if not queried:
            return
        answer = git.read(
            *(self.mirror, "cat-file", "--batch-check", "--follow-symlinks"),
            given="".join(f"{self.commit}:{name}\n" for name in queried),
        ).encode(errors="surrogateescape")
        for name in queried:
            line, _, answer = answer.partition(b"\n")
            first, kind, *_ = line.split(b" ")
            # Git gives these the length of a second line: the target, or the name of the query.
            if first == _LEADS_OUT:
                target = answer[: int(kind)].decode(errors="replace")
                raise ProjectError(
                    f"The link {name!r} of the project leads out of its repository, to {target!r}",
                    allowed="links to files and folders of the same repository",
                    action="have what it leads to in the repository, or take the link away",
                )
            if first in _NOWHERE:
                answer = answer[int(kind) + 1 :]
            resolved = first not in _NOWHERE and kind != b"missing"
            yield name, (kind, first.decode()) if resolved else (b"", "")


def linked(git: Git, folder: Path, top: Path, upwards: dict[str, str]) -> tuple[Path, ...]:
    """Return what lies outside a folder in its working copy, and links in it lead to.

    Args:
        git: Git with the machine's settings.
        folder: The folder; what its repository ignores is not looked at.
        top: Top of the working copy.
        upwards: Variables that let Git look for it.
    """
    listing = ("ls-files", "--cached", "--others", "--exclude-standard", "-z")
    found, waiting = [folder.resolve()], [folder.resolve()]
    while waiting:
        place = waiting.pop()
        for name in git.read(place, *listing, variables=upwards).split("\0"):
            target = (place / name).resolve() if (place / name).is_symlink() else place
            known = any(target.is_relative_to(one) for one in found)
            if not known and target.exists() and target.is_relative_to(top):
                found.append(target)
                waiting.extend([target] if target.is_dir() else [])
    return tuple(found[1:])
