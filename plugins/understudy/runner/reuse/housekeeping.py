"""Prunes the cache once a day, after a step, for a limited time. Never fails the step."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from understudy.runner.reuse.pruning import Pruned, Terms, prune, pruner
from understudy.runner.settings import CacheLimits, Settings
from understudy.spec.quantities import size_text

_DAY_S: Final = 86_400.0
_LONGEST_S: Final = 30.0
"""What a step may be delayed by; tomorrow's prune goes on where today's ended."""
_COMMAND: Final = "understudy cache prune"
_STAMP: Final = "last-prune"


def prune_daily(settings: Settings, on_line: Callable[[str], None]) -> None:
    """Prune the cache to the settings' limits, unless that was done within a day.

    Of what was used within a day nothing is removed for its size: a night in progress keeps its
    commit, also while no step of it runs.
    """
    stamp = settings.cache / _STAMP
    if settings.cache_limits == CacheLimits() or _is_young(stamp):
        return
    try:
        with pruner(settings.cache) as alone:
            if not alone or _is_young(stamp):
                return
            stamp.touch()  # before: what fails once shall not delay every step of the day
            end = time.monotonic() + _LONGEST_S
            terms = Terms(settings.cache_limits, _DAY_S, go_on=lambda: time.monotonic() < end)
            done = prune(settings.cache, terms)
    except OSError as error:
        on_line(f"The cache {settings.cache} could not be pruned: {error}")
        return
    _tell(done, on_line)


def _tell(done: Pruned, on_line: Callable[[str], None]) -> None:
    if done.removed:
        on_line(
            f"Pruned the cache: {len(done.removed)} item(s) that were long unused, "
            f"{size_text(done.freed)}"
        )
    if not done.complete:
        on_line(f"Pruning the cache was left unfinished after {_LONGEST_S:g} s: run `{_COMMAND}`")


def _is_young(stamp: Path) -> bool:
    try:
        return time.time() - stamp.stat().st_mtime < _DAY_S
    except FileNotFoundError:
        return False
