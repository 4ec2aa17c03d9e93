"""What each bench needs, looked at before anything else happens.

The standard library only: it runs on a bare Python, before anything is installed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
STATE = CHECKOUT / ".state"
GB = 10**9


@dataclass(frozen=True)
class Lack:
    """One thing that is not there."""

    found: str
    allowed: str
    action: str

    def __str__(self) -> str:
        return f"{self.found}.\n  Allowed: {self.allowed}.\n  Next: {self.action}."


@dataclass(frozen=True)
class Needs:
    """What one bench needs.

    Attributes:
        modules: What its Python has to have installed.
        programs: What has to be on PATH.
        gigabytes: Free room that it takes, below `.state` and in the temporary folder each.
        stack: Whether it starts a stack of this machine.
        data: Files that have to lie in the folder of ``--data``.
        data_is_optional: Whether it does without such a folder.
        root: Whether it mounts and fills disks.
    """

    modules: tuple[str, ...] = ("mlflow", "pandas", "pytest", "sklearn", "understudy")
    programs: tuple[str, ...] = ("git",)
    gigabytes: float = 1.0
    stack: bool = False
    data: tuple[str, ...] = ()
    data_is_optional: bool = False
    root: bool = False


WINE = ("wine-quality/winequality-red.csv", "wine-quality/winequality-white.csv")
MNIST = tuple(
    f"mnist/{part}-ubyte.gz"
    for part in (
        "train-images-idx3",
        "train-labels-idx1",
        "t10k-images-idx3",
        "t10k-labels-idx1",
    )
)
BENCHES = {
    "night": Needs(
        modules=("httpx", "mlflow", "psutil", "understudy", "uv"),
        programs=("git", "bash"),
        gigabytes=2.0,
        stack=True,
        data=WINE,
        data_is_optional=True,
    ),
    "faults": Needs(programs=("git", "mount", "umount"), gigabytes=4.0, stack=True, root=True),
    "soak": Needs(gigabytes=4.0, stack=True),
    "promotion": Needs(),
    "pages": Needs(modules=("airflow", "fastapi", "httpx", "mlflow", "psutil", "understudy")),
    "serving": Needs(),
    "search": Needs(modules=(*Needs.modules, "optuna")),
    "folds": Needs(modules=("pandas", "sklearn", "xgboost"), programs=(), data=WINE),
    "rows": Needs(modules=(*Needs.modules, "pyarrow", "skops"), gigabytes=4.0),
    "gate": Needs(modules=(*Needs.modules, "pyarrow", "scipy"), gigabytes=2.0),
    "aging": Needs(
        modules=("pandas", "scipy", "sklearn", "understudy"),
        programs=(),
        data=("bike-sharing/hour.csv",),
        data_is_optional=True,
    ),
    "mnist": Needs(gigabytes=4.0, data=MNIST),
    "team": Needs(programs=("git", "docker"), gigabytes=10.0),
}
"""Every bench: the module of that name beside this one."""


@dataclass(frozen=True)
class Asked:
    """What of a bench's options the checks look at.

    Attributes:
        data: Of ``--data``; None where it was not given.
        json: Of ``--json``, or where the bench writes by default; None for nowhere.
        is_set_up: Whether the environments were built; False while they are still to be.
    """

    data: Path | None
    json: Path | None
    is_set_up: bool


def lacking(name: str, asked: Asked) -> list[Lack]:
    """Return everything that a bench needs and that is not there."""
    needs = BENCHES[name]
    found = [*_programs(needs), *_data(needs, asked.data), *_room(needs), *_json(asked.json)]
    if needs.root and os.geteuid():
        found.append(
            Lack(
                f"The user with the number {os.geteuid()} may not mount disks",
                "root, because full disks are made for real",
                f"run it as root, in a container for instance: make bench BENCH={name}",
            )
        )
    return [*found, *(_installed(name, needs) if asked.is_set_up else ())]


def _programs(needs: Needs) -> Iterator[Lack]:
    absent = [program for program in needs.programs if shutil.which(program) is None]
    for program in absent:
        yield Lack(
            f"{program} is not on PATH ({os.environ.get('PATH', '')})",
            f"a PATH with {', '.join(needs.programs)}",
            f"install {program} with the system's package manager, or add its folder to PATH",
        )
    if needs.stack and "git" not in absent:
        yield from _git_server()
    if "docker" in needs.programs and "docker" not in absent:
        yield from _docker()


def _git_server() -> Iterator[Lack]:
    folder = _answer("git", "--exec-path")
    if not (Path(folder) / "git-daemon").exists():
        yield Lack(
            f"{folder} has no git-daemon",
            "a git with its own server, which most systems install with git",
            "install it (Fedora: dnf install git-daemon)",
        )


def _docker() -> Iterator[Lack]:
    if not _answer("docker", "version", "--format", "{{.Server.Version}}"):
        yield Lack(
            "docker does not reach its server",
            "a running Docker that this user may use",
            "start it, and see that `docker version` tells of a server",
        )
    if not _answer("docker", "compose", "version", "--short"):
        yield Lack(
            "docker has no compose",
            "Docker Compose as a plug-in of docker",
            "install it (Debian: apt-get install docker-compose-plugin, from Docker's packages)",
        )


def _answer(*argv: str) -> str:
    """Return what a program says; nothing where it fails or takes longer than a moment."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=5)
    except subprocess.TimeoutExpired:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _data(needs: Needs, folder: Path | None) -> Iterator[Lack]:
    if folder is None and (needs.data_is_optional or not needs.data):
        return
    absent = [name for name in needs.data if folder is None or not (folder / name).is_file()]
    if absent:
        yield Lack(
            f"{folder or 'No folder of data was given, so it'} lacks {', '.join(absent)}",
            f"a folder with {', '.join(needs.data)}",
            "name it: BENCH_ARGS='--data FOLDER'"
            + (", or leave --data out: a table is made then" if needs.data_is_optional else ""),
        )


def _room(needs: Needs) -> Iterator[Lack]:
    places = {place.stat().st_dev: place for place in (_existing(STATE), _temporary())}
    for place in places.values():
        free = shutil.disk_usage(place).free
        if free < needs.gigabytes * GB:
            yield Lack(
                f"{place} has {free / GB:.1f} GB of free room",
                f"{needs.gigabytes:g} GB or more",
                "make room there, or set TMPDIR if it is the temporary folder",
            )


def _temporary() -> Path:
    return Path(tempfile.gettempdir())


def _existing(path: Path) -> Path:
    """Return the path, or the nearest folder above it that is there."""
    return next(place for place in (path, *path.parents) if place.exists())


def _json(path: Path | None) -> Iterator[Lack]:
    if path is None:
        return
    # The folder below .state is made on the way; any other has to be there.
    folder = _existing(path.parent) if path.is_relative_to(STATE) else path.parent
    is_free = path.is_file() or not path.exists()
    if not is_free or not os.access(path if path.exists() else folder, os.W_OK):
        yield Lack(
            f"{path} cannot be written",
            "a file in a folder that is there, which this user may write",
            "name another: BENCH_ARGS='--json FILE'",
        )


def _installed(name: str, needs: Needs) -> Iterator[Lack]:
    absent = [module for module in needs.modules if find_spec(module) is None]
    if absent:
        yield Lack(
            f"{sys.executable} lacks {', '.join(absent)}",
            f"a Python with {', '.join(needs.modules)}",
            f"run make bench BENCH={name}, which builds one and uses it",
        )
    programs = ("airflow/bin/airflow", "airflow/bin/uv", "mlflow/bin/mlflow")
    unbuilt = [one for one in programs if needs.stack and not (STATE / "venvs" / one).exists()]
    if unbuilt:
        yield Lack(
            f"{STATE / 'venvs'} lacks {', '.join(unbuilt)}",
            "the environments that make demo has, too",
            f"run make bench BENCH={name}, which builds them",
        )
