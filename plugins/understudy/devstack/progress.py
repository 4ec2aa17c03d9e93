"""Shows on the terminal what is being done and how long it took. Writes to one stream only."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TextIO


@dataclass
class ProgressLines:
    """Lines with the seconds since the beginning in front.

    Attributes:
        stream: Where the lines go.
        began: When the clock was started, as `time.monotonic` counts.
        phases: The seconds that each finished phase took, in the order of their ends.
    """

    stream: TextIO = field(default_factory=lambda: sys.stdout)
    began: float = field(default_factory=time.monotonic)
    phases: dict[str, float] = field(default_factory=dict)

    def say(self, line: str) -> None:
        """Writes one line."""
        print(f"{self.elapsed():7.1f} s  {line}", file=self.stream, flush=True)

    def show(self, text: str) -> None:
        """Writes lines as they are."""
        print(text, file=self.stream, flush=True)

    def elapsed(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self.began

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Announces a phase, and shows how long it took when it ends well."""
        self.say(name)
        started = time.monotonic()
        yield
        self.phases[name] = time.monotonic() - started
        self.say(f"{name}: done in {self.phases[name]:.1f} s")
