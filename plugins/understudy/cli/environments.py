"""``understudy environments``: builds environments ahead of the night, and lists them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from understudy.contract import ENV_MANAGERS
from understudy.errors import UnderstudyError

if TYPE_CHECKING:
    from understudy.steps.prebuild import Listed

_SHOWN = 12  # hex digits of a digest
_HEAD = ("ENVIRONMENT", "MANAGER", "PYTHON", "PACKAGES", "LAST USED", "STATE")


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to those of the console script; ``arguments.run`` carries it out."""
    parser = subparsers.add_parser("environments", help="build or list environments of projects")
    commands = parser.add_subparsers(dest="environments_command", required=True, metavar="COMMAND")
    build = commands.add_parser("build", help="build the environment of a project, unless it is")
    build.add_argument("project_uri", help="https://host/repo.git#sub/dir, or a folder")
    build.add_argument("--version", default="", help="branch, tag or commit")
    build.add_argument("--env-manager", default="uv", choices=ENV_MANAGERS)
    commands.add_parser("list", help="list the environments in this machine's cache")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Carry out the command; return the exit code: 1 where an environment could not be had."""
    try:
        return _build(arguments) if arguments.environments_command == "build" else _list()
    except UnderstudyError as error:
        sys.stderr.write(f"{error}\n")
        return 1


def _build(arguments: argparse.Namespace) -> int:
    from understudy.steps.prebuild import prebuild

    project = _absolute(arguments.project_uri)
    built = prebuild(project, arguments.version, arguments.env_manager, on_line=_say)
    _say(f"Ready: {built.folder or built.digest or 'the local Python'}")
    return 0


def _absolute(project_uri: str) -> str:
    """Return a folder that exists here as an absolute one; everything else as it is."""
    folder, separator, subdirectory = project_uri.partition("#")
    is_folder = "://" not in folder and Path(folder).is_dir()
    return f"{Path(folder).absolute()}{separator}{subdirectory}" if is_folder else project_uri


def _list() -> int:
    from understudy.steps.prebuild import environments

    for line in _table([_HEAD, *map(_row, environments())]):
        _say(line)
    return 0


def _row(one: Listed) -> tuple[str, ...]:
    state = f"lacks {one.missing}" if one.missing else "complete"
    used = f"{one.used:%Y-%m-%d %H:%M}" if one.used else "-"
    name = one.digest[:_SHOWN]
    return (name, one.manager or "-", one.python or "-", str(one.packages), used, state)


def _table(rows: Sequence[tuple[str, ...]]) -> Iterable[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
