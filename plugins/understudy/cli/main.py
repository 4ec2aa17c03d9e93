"""Finds the command's module and runs it; errors become one message and an exit code.

A command is a module of this package with ``configure(parser)``, which adds its arguments and sets
``run``, a function of the parsed arguments that returns the exit code. It is imported only when it
is used, and imports Airflow or MLflow, where it needs them, in the functions that do.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from importlib import import_module
from typing import Final

from understudy.cli.terminal import INTERRUPTED, PlainStream, ended_by_interrupt
from understudy.errors import UnderstudyError

COMMANDS: Final = {
    "backtest": "replay nights of the past through a project, under any number of rule sets",
    "doctor": "say what works here and at the server, what does not, and what to do",
    "environments": "build the environments of projects ahead of the night, and list them",
    "history": "show every move of a champion, and what was in production when",
    "init": "write a pipeline file for your data, or an MLproject with its test",
    "rollback": "make an earlier version champion again",
    "serve": "serve a champion over HTTP, and follow it",
    "metrics": "tell Prometheus of nights, verdicts, steps and champions",
    "retention": "say what of a pipeline may go, and remove it when told to",
    "cache": "show and prune the mirrors, checkouts and environments of this machine",
    "gate": "judge two files of predictions, or two runs, by rules in a file",
    "matured": "say which verdicts were right, checked again once delayed labels have arrived",
    "replay": "judge past nights again, under the same rules or under others",
}
"""Each command's module in this package, and what it is for."""

_FAILED: Final = 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the process's exit code."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    try:
        with ended_by_interrupt():
            options = parsed(given)
            with redirect_stdout(PlainStream(sys.stdout)):
                return int(options.run(options))
    except UnderstudyError as error:
        sys.stderr.write(f"understudy: {error}\n")
        return _FAILED
    except KeyboardInterrupt:
        sys.stderr.write("understudy: interrupted\n")
        return INTERRUPTED


def parsed(given: Sequence[str]) -> argparse.Namespace:
    """Return the options of a command line; `run` among them does it."""
    return parser(given).parse_args(given)


def parser(given: Sequence[str]) -> argparse.ArgumentParser:
    """Return the parser, which knows the arguments of those commands that are among the words."""
    made = argparse.ArgumentParser(
        prog="understudy", description="Recurring retraining with Airflow and MLflow."
    )
    version = import_module("understudy").__version__
    made.add_argument("--version", action="version", version=f"understudy {version}")
    commands = made.add_subparsers(title="commands", metavar="command", required=True)
    for name, purpose in COMMANDS.items():
        command = commands.add_parser(name, help=purpose, description=f"To {purpose}.")
        # Only the command's own module is imported: numpy, MLflow and the like take seconds. A word
        # among the arguments that is another command's name costs its import and does no harm.
        if name in given:
            import_module(f"understudy.cli.{name}").configure(command)
    return made
