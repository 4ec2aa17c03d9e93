"""What commands share of a terminal: types of arguments, lines of progress, the end by a signal.

It loads nothing but the standard library: ``cache`` and others start without MLflow.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import NoReturn, TypeVar

_T = TypeVar("_T")


def parsed_by(parse: Callable[[str], _T]) -> Callable[[str], _T]:
    """Return a type for an argument, made of a parser that raises ValueError."""

    def typed(text: str) -> _T:
        try:
            return parse(text)
        except ValueError as error:
            # Of a ValueError argparse shows the parser's name only: "invalid duration value".
            raise argparse.ArgumentTypeError(str(error)) from error

    return typed


def absolute(project: str) -> str:
    """Return a folder that exists here as an absolute one; everything else as it is."""
    folder, separator, subdirectory = project.partition("#")
    # `mlflow run` takes a path that exists for a folder, also one with a colon; a URL has "://".
    is_folder = "://" not in folder and Path(folder).is_dir()
    return f"{Path(folder).absolute()}{separator}{subdirectory}" if is_folder else project


def to_stderr(line: str) -> None:
    """Write a line about the progress; stdout holds the answer alone."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def leave(_number: int, _frame: FrameType | None) -> NoReturn:
    """End the process as a handler of SIGTERM: ``finally`` blocks run, and the exit code is 0."""
    raise SystemExit(0)
