"""Which submodules a commit has. Reads a mirror only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from understudy.errors import ProjectError
from understudy.runner.git.git import Git, GitError

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
