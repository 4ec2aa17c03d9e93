"""``understudy environments``: builds environments ahead of the night, and lists them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from understudy.contract import ENV_MANAGERS

if TYPE_CHECKING:
    from understudy.runner.environment.prebuild import Listed

_SHOWN = 12  # hex digits of a digest
_HEAD = ("ENVIRONMENT", "MANAGER", "PYTHON", "PACKAGES", "LAST USED", "STATE")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``environments build`` and ``environments list``."""
    actions = parser.add_subparsers(title="actions", metavar="action", required=True)
    build = actions.add_parser("build", help="build the environment of a project, unless it is")
    which = build.add_mutually_exclusive_group(required=True)
    which.add_argument("project_uri", nargs="?", help="https://host/repo.git#sub/dir, or a folder")
    which.add_argument("--gate", action="store_true", help="that of the gate's own statistics")
    build.add_argument("--version", default="", help="branch, tag or commit")
    build.add_argument("--env-manager", default="uv", choices=ENV_MANAGERS)
    build.set_defaults(run=_build)
    listing = actions.add_parser("list", help="list the environments in this machine's cache")
    listing.set_defaults(run=lambda _: _list())


def _build(arguments: argparse.Namespace) -> int:
    from understudy.runner.environment.prebuild import prebuild

    if arguments.gate:
        return _build_gate()
    project = _absolute(arguments.project_uri)
    built = prebuild(project, arguments.version, arguments.env_manager, on_line=_say)
    _say(f"Ready: {built.folder or built.digest or 'the local Python'}")
    return 0


def _build_gate() -> int:
    from understudy.decide.gate_process import gate_python
    from understudy.runner.process.process import ProcessRunner
    from understudy.runner.settings import Settings

    with gate_python(Settings.from_environment(), ProcessRunner(), _say) as python:
        _say(f"Ready: {python.executable}")
    return 0


def _absolute(project_uri: str) -> str:
    """Return a folder that exists here as an absolute one; everything else as it is."""
    folder, separator, subdirectory = project_uri.partition("#")
    is_folder = "://" not in folder and Path(folder).is_dir()
    return f"{Path(folder).absolute()}{separator}{subdirectory}" if is_folder else project_uri


def _list() -> int:
    from understudy.runner.environment.prebuild import environments

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
