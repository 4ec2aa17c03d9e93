"""Airflow's empty database, migrated once per Airflow version and copied from then on.

`airflow db migrate` takes 5 s of CPU or more even when there is nothing to do; a copy takes none.
Writes the stack's own database and the template in the shared cache.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from understudy.devstack.place import StackPlace


def is_migrated(place: StackPlace) -> bool:
    """Whether the stack's database has the tables of the Airflow that is locked now."""
    if not _database(place).exists():
        return _copied(_template(place), place)
    marker = _marker(place)
    return marker.exists() and marker.read_text("ascii") == _version(place)


def keep(place: StackPlace, *, fresh: bool) -> None:
    """Notes that the database was migrated; a fresh one becomes the template of the next stacks."""
    _marker(place).write_text(_version(place), "ascii")
    if fresh and not _log(place).exists():
        template = _template(place)
        template.parent.mkdir(parents=True, exist_ok=True)
        _copy(_database(place), template)


def is_fresh(place: StackPlace) -> bool:
    """Whether there is no database yet."""
    return not _database(place).exists()


def _copied(template: Path, place: StackPlace) -> bool:
    if not template.exists():
        return False
    _copy(template, _database(place))
    _marker(place).write_text(_version(place), "ascii")
    return True


def _copy(source: Path, target: Path) -> None:
    draft = target.with_name(f"{target.name}.draft")
    shutil.copyfile(source, draft)
    draft.replace(target)


def _version(place: StackPlace) -> str:
    """The digest of the lock that Airflow was installed from."""
    lock = place.checkout / "requirements" / "airflow.txt"
    return hashlib.sha256(lock.read_bytes()).hexdigest()


def _template(place: StackPlace) -> Path:
    return place.cache / "airflow" / f"{_version(place)}.db"


def _database(place: StackPlace) -> Path:
    return place.airflow / "airflow.db"


def _log(place: StackPlace) -> Path:
    """SQLite's write-ahead log; while it is there, the database file alone is not all of it."""
    return place.airflow / "airflow.db-wal"


def _marker(place: StackPlace) -> Path:
    return place.airflow / "migrated"
