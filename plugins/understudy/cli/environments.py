"""``understudy environments``: builds environments ahead of the night, and lists them."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict

from understudy.cli.arguments import env_manager
from understudy.cli.terminal import absolute, add_json, print_json

# Hex digits of a digest that are shown: enough to tell the environments of one machine apart.
_DIGITS = 12
_HEAD = ("ENVIRONMENT", "MANAGER", "PYTHON", "PACKAGES", "LAST USED", "STATE")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``environments build`` and ``environments list``."""
    actions = parser.add_subparsers(title="actions", metavar="action", required=True)
    build = actions.add_parser("build", help="build the environment of a project, unless it is")
    which = build.add_mutually_exclusive_group(required=True)
    which.add_argument("project_uri", nargs="?", help="https://host/repo.git#sub/dir, or a folder")
    which.add_argument("--gate", action="store_true", help="that of the gate's own statistics")
    build.add_argument("--version", default="", help="branch, tag or commit")
    build.add_argument("--env-manager", default="uv", type=env_manager)
    build.set_defaults(run=_build)
    listing = actions.add_parser("list", help="list the environments in this machine's cache")
    add_json(listing)
    listing.set_defaults(run=_list)


def _build(arguments: argparse.Namespace) -> int:
    from understudy.decide.gate_process import gate_python
    from understudy.runner.environment.prebuild import prebuild
    from understudy.runner.process.process import ProcessRunner
    from understudy.runner.settings import Settings

    if arguments.gate:
        # Leaving the block releases the lease, without which a prune may take the environment.
        with gate_python(Settings.from_environment(), ProcessRunner(), _print) as python:
            _print(f"Ready: {python.executable}")
        return 0
    project = absolute(arguments.project_uri)
    built = prebuild(project, arguments.version, arguments.env_manager, on_line=_print)
    # An image has a digest and no folder, the local Python has neither.
    _print(f"Ready: {built.folder or built.digest or 'the local Python'}")
    return 0


def _list(options: argparse.Namespace) -> int:
    from understudy.runner.environment.prebuild import environments

    if options.json:
        print_json(
            {**asdict(one), "used": None if one.used is None else one.used.isoformat()}
            for one in environments()
        )
        return 0
    rows = [_HEAD]
    for one in environments():
        state = f"lacks {one.missing}" if one.missing else "complete"
        used = f"{one.used:%Y-%m-%d %H:%M}" if one.used else "-"
        name, packages = one.digest[:_DIGITS], str(one.packages)
        rows.append((name, one.manager or "-", one.python or "-", packages, used, state))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        _print("  ".join(cells).rstrip())
    return 0


def _print(line: str) -> None:
    # A build takes minutes; without the flush, a pipe shows its lines at the end only.
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
