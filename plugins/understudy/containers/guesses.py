"""Counts wrong logins of MLflow and of Airflow in the container stack. Standard library only."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Final

OF_ONE: Final = 10
"""Wrong logins that one name has from one address in ``PER_S`` seconds; a person has mistyped by
then."""
OF_ALL: Final = 100
"""Those of one address under whatever names: people who share it keep only themselves out."""
PER_S: Final = 60.0
_MOST: Final = 10_000
"""Addresses and names that are remembered."""
_LONGEST: Final = 200
"""Characters of a name that are: whoever guesses says how long it is."""


class Guesses:
    """The wrong logins of the last minute, of each address and of each name that it gave."""

    def __init__(self) -> None:
        self._wrong: dict[tuple[str, str | None], deque[float]] = {}
        self._lock = threading.Lock()

    def are_many(self, address: str, name: str) -> bool:
        """Return whether this one has had its wrong logins for now."""
        now = time.monotonic()
        with self._lock:
            for key, most in _counted(address, name):
                times = self._wrong.get(key)
                if times and len(times) >= most and now - times[0] < PER_S:
                    return True
        return False

    def remember(self, address: str, name: str) -> None:
        """Count one wrong login."""
        with self._lock:
            # Whoever has many addresses forgets the others' guesses, and fills no memory.
            if len(self._wrong) >= _MOST:
                self._wrong.clear()
            for key, most in _counted(address, name):
                self._wrong.setdefault(key, deque(maxlen=most)).append(time.monotonic())


def _counted(address: str, name: str) -> tuple[tuple[tuple[str, str | None], int], ...]:
    """Return under what a login is counted, and how many wrong ones each may have."""
    return ((address, name[:_LONGEST]), OF_ONE), ((address, None), OF_ALL)
