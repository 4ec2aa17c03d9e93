"""Reads the real wine-quality files, by the path of their public address."""

from __future__ import annotations

from pathlib import Path

from understudy.local.errors import StackError

PUBLIC = "/ml/machine-learning-databases/wine-quality"
FILES = ("winequality-red.csv", "winequality-white.csv")


def read(folder: Path) -> dict[str, bytes]:
    """Return the files by the path that they are served under.

    Raises:
        StackError: one of them is not there.
    """
    places = {f"{PUBLIC}/{name}": folder / "wine-quality" / name for name in FILES}
    lacking = [str(place) for place in places.values() if not place.is_file()]
    if lacking:
        raise StackError(
            f"The real data are not here: {', '.join(lacking)}",
            allowed=f"a folder with wine-quality/{FILES[0]} and wine-quality/{FILES[1]}",
            action="name it: make bench BENCH_ARGS='--data FOLDER'",
        )
    return {path: place.read_bytes() for path, place in places.items()}
