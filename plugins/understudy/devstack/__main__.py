"""The command line: `python -m understudy.devstack up|down|status|demo [--state DIR]`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from understudy.devstack.place import StackPlace, bench_place, demo_place, stack_place
from understudy.devstack.stack import Stack, describe
from understudy.errors import UnderstudyError

_DEFAULTS = (stack_place(), demo_place(), bench_place())


def _place(default: StackPlace, options: argparse.Namespace) -> StackPlace:
    state = options.state.resolve() if options.state else default.state
    dags = options.dags.resolve() if options.dags else default.dags
    return StackPlace(state, default.checkout, dags)


def _up(options: argparse.Namespace) -> int:
    stack = Stack(_place(stack_place(), options))
    stack.up()
    stack.progress.show(describe(stack))
    return 0


def _down(options: argparse.Namespace) -> int:
    # Without a folder, whatever this checkout may have started: a demo is easily forgotten.
    places = [_place(stack_place(), options)] if options.state else [*_DEFAULTS]
    # A list, not a generator: `any` would leave the stacks after the first one running.
    ended = [Stack(place).down() for place in places]
    if not any(ended):
        print("nothing was running")
    return 0


def _status(options: argparse.Namespace) -> int:
    places = [_place(stack_place(), options)] if options.state else [*_DEFAULTS]
    for place in places:
        stack = Stack(place)
        state = stack.state()
        print(f"{place.state}: {'' if state else 'not started'}")
        for name, alive in state.items():
            print(f"  {name:14} {'running' if alive else 'ended'}")
        if any(state.values()):
            print(describe(stack))
    return 0


def _demo(options: argparse.Namespace) -> int:
    from understudy.devstack.demo import Demo

    place = _place(demo_place(), options)
    try:
        return Demo(place).run()
    except KeyboardInterrupt:
        Stack(place).kill()
        raise


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; errors become one message and status 1."""
    commands = {"up": _up, "down": _down, "status": _status, "demo": _demo}
    parser = argparse.ArgumentParser(prog="understudy.devstack", description=__doc__)
    parser.add_argument("command", choices=tuple(commands))
    parser.add_argument("--state", type=Path, help="the stack's folder (default: below .state)")
    parser.add_argument("--dags", type=Path, help="the folder of Dag files (default: dags)")
    options = parser.parse_args(arguments)
    try:
        return commands[options.command](options)
    except UnderstudyError as error:
        print(f"understudy: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        rest = {"down": "make down again ends the rest", "status": "nothing was changed"}
        ended = rest.get(options.command, "what it had started was ended")
        print(f"understudy: interrupted; {ended}", file=sys.stderr)
        # A shell's own status for a program that Ctrl-C ended: 128 and the number of SIGINT.
        return 130


if __name__ == "__main__":
    sys.exit(main())
