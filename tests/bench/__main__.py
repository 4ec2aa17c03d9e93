"""Runs one bench, once all is there that it needs: `make bench [BENCH=NAME] [BENCH_ARGS=...]`.

    PYTHONPATH=tests python -m bench [--check] NAME [OPTIONS]

Each bench is the module of its name beside this one, and says what it does and writes, and which
options it has. What each needs, needs.py says, and all that is missing is told before the bench is
even imported. ``--check`` does no more than that, on any Python: what make builds is not asked for.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from bench import needs

DEFAULT_JSON = {"night": needs.STATE / "bench.json"}
"""Where a bench writes without being asked."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; return its exit status, or 2 where something is missing."""
    parser = argparse.ArgumentParser(
        prog="bench", description="Runs one bench.", allow_abbrev=False
    )
    parser.add_argument("--check", action="store_true", help="only say what is missing")
    parser.add_argument("name", choices=needs.BENCHES)
    parser.add_argument("options", nargs=argparse.REMAINDER, help="the bench's own")
    asked = parser.parse_args(arguments)
    about = _about(asked.name, asked.options, is_set_up=not asked.check)
    lacks = needs.lacking(asked.name, about)
    for lack in lacks:
        sys.stderr.write(f"bench: {lack}\n")
    if lacks:
        return 2
    if asked.check:
        return 0
    return int(importlib.import_module(f"bench.{asked.name}").main(asked.options))


def _about(name: str, arguments: Sequence[str], *, is_set_up: bool) -> needs.Asked:
    """Return what the checks look at; the rest is the bench's to read."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--json", type=Path, default=DEFAULT_JSON.get(name))
    found, _ = parser.parse_known_args(arguments)
    paths = {one: path and path.resolve() for one, path in vars(found).items()}
    return needs.Asked(**paths, is_set_up=is_set_up)


if __name__ == "__main__":
    sys.exit(main())
