"""Where a backtest keeps what it made. A folder is complete or absent: it appears by one rename.

::

    DIR/plan.json               what is replayed
    DIR/pool/<key>/data/        rows that every model is scored on, as preprocess logged them
    DIR/rows/<day>-<key>/       rows.parquet: the holdout of one night
    DIR/nights/<day>-<key>/     predictions.parquet: what one night's model predicts for the pool
    DIR/failures/<day>-<key>/   why a night has no model; tried again by the next start
    DIR/judged/<key>.json       what one rule set would have served
    DIR/workers/<number>/       a worker's tracking store; worth nothing once the worker is gone
"""

from __future__ import annotations

import contextlib
import json
import os
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from understudy.errors import SettingsError
from understudy.runner.filesystem import remove_tree
from understudy.runner.locks import FileLock

PREDICTIONS: Final = "predictions.parquet"
ROWS: Final = "rows.parquet"
ABOUT: Final = "about.json"
_MAKING: Final = ".making-"
_PATIENCE_S: Final = 20.0
"""Workers whose backtest was killed end what they run within seconds, and then release the lock."""


@dataclass(frozen=True, slots=True)
class BacktestFolder:
    """The folder of a backtest."""

    folder: Path

    @property
    def plan(self) -> Path:
        """The file of the plan: what is replayed."""
        return self.folder / "plan.json"

    def pool(self, key: str) -> Path:
        """The folder of the rows that every model is scored on."""
        return self.folder / "pool" / key

    def rows(self, name: str) -> Path:
        """The folder of the rows of a night's holdout."""
        return self.folder / "rows" / name

    def night(self, name: str) -> Path:
        """The folder of what a night's model predicts."""
        return self.folder / "nights" / name

    def failure(self, name: str) -> Path:
        """The folder with the reason why a night has no model."""
        return self.folder / "failures" / name

    def judged(self, key: str) -> Path:
        """The file of what rules would have served."""
        return self.folder / "judged" / f"{key}.json"

    def work(self, number: int) -> Path:
        """The folder of a worker; nothing in it outlives the worker's usefulness."""
        return self.folder / "workers" / str(number)

    # The workers inherit the descriptor, and with it the lock: a backtest that was killed holds its
    # folder until the last of them has ended, so none of them writes beside the next backtest's.
    @contextlib.contextmanager
    def alone(self) -> Iterator[int]:
        """Hold the folder for one backtest; yields the lock's descriptor, to be inherited.

        Raises:
            SettingsError: when another one has it.
        """
        end = time.monotonic() + _PATIENCE_S

        def proceed() -> None:
            if time.monotonic() > end:
                raise SettingsError(
                    f"Another backtest works in {self.folder}",
                    allowed="one at a time in a folder",
                    action="wait for its end, or name another folder by --out",
                )

        with FileLock(self.folder / ".lock").exclusive(proceed) as lock:
            self._sweep()
            yield lock

    def _sweep(self) -> None:
        """Remove what an earlier backtest that died has left unfinished, and its failures."""
        # The lock is held: no unfinished folder can be somebody else's.
        for making in self.folder.glob(f"*/{_MAKING}*"):
            remove_tree(making)
        for name in ("workers", "failures"):
            if (self.folder / name).is_dir():
                remove_tree(self.folder / name)


@contextlib.contextmanager
def made(folder: Path) -> Iterator[Path]:
    """Yield a folder to fill, which takes the final name when all went well, and only then."""
    making = folder.with_name(f"{_MAKING}{uuid.uuid4().hex}")
    making.mkdir(parents=True)
    try:
        yield making
        # The contents are on the disk before the name says that the folder is complete: after a
        # power failure, a file system may have the rename and not the contents.
        for path in making.rglob("*"):
            if path.is_file():
                _flush(path)
    except BaseException:
        remove_tree(making)
        raise
    making.rename(folder)


def write(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON that is there as a whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    making = path.with_name(f"{_MAKING}{uuid.uuid4().hex}")
    making.write_text(json.dumps(content, indent=1, allow_nan=False), encoding="utf-8")
    _flush(making)
    making.rename(path)


def _flush(path: Path) -> None:
    # fsync writes a file's pages whoever wrote them, so a descriptor that only reads will do.
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
