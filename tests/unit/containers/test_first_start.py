"""The secrets of the container stack are made once, are nobody's defaults, and are closed."""

from __future__ import annotations

import base64
import configparser
import hmac
import json
from pathlib import Path

import pytest

from understudy.containers.first_start import prepare, scram_verifier

pytestmark = pytest.mark.unit


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a folder as the volumes make it: empty subfolders."""
    for name in ("airflow", "login", "mlflow", "postgres"):
        (tmp_path / name).mkdir()
    return tmp_path


def _files(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): path.read_text("utf-8")
        for path in root.rglob("*")
        if path.is_file()
    }


def test_every_service_gets_its_own(root: Path) -> None:
    """One folder each."""
    prepare(root)
    assert _files(root).keys() == {
        "airflow/airflow.cfg",
        "airflow/pgpass",
        "login/passwords.json",
        "mlflow/pgpass",
        "postgres/roles.sql",
        "postgres/superuser",
    }


def test_a_second_start_changes_nothing(root: Path) -> None:
    """Else nobody could log in to what the first one made."""
    prepare(root)
    first = _files(root)
    prepare(root)
    assert _files(root) == first


def test_two_stacks_share_no_secret(tmp_path: Path) -> None:
    """Nothing is a default."""
    contents = []
    for stack in ("a", "b"):
        for name in ("airflow", "login", "mlflow", "postgres"):
            (tmp_path / stack / name).mkdir(parents=True)
        prepare(tmp_path / stack)
        contents.append(_files(tmp_path / stack))
    for name, content in contents[0].items():
        assert content != contents[1][name]


@pytest.mark.parametrize("lost", ["mlflow/pgpass", "postgres/roles.sql", "airflow/airflow.cfg"])
def test_an_interrupted_start_is_finished(root: Path, lost: str) -> None:
    """What was written stays, what is missing is made, and a draft is no obstacle."""
    prepare(root)
    before = _files(root)
    (root / lost).rename(root / f"{lost}.draft")
    prepare(root)
    after = _files(root)
    assert after.keys() == before.keys()
    assert {name for name in before if before[name] != after[name]} == {lost}


def test_files_are_closed_to_others(root: Path) -> None:
    """But for PostgreSQL's, whose reader's number is not known here."""
    prepare(root)
    for name in _files(root):
        expected = 0o444 if name.startswith("postgres/") else 0o600
        assert (root / name).stat().st_mode & 0o777 == expected, name


def test_roles_are_made_without_their_passwords(root: Path) -> None:
    """The statements may end up in the server's log."""
    prepare(root)
    statements = (root / "postgres" / "roles.sql").read_text("ascii")
    for name in ("airflow", "mlflow"):
        server, port, database, role, password = (
            (root / name / "pgpass").read_text("ascii").strip().split(":")
        )
        assert (server, port, database, role) == ("postgres", "5432", name, name)
        assert password not in statements
        assert f"CREATE DATABASE {name} OWNER {name};" in statements


def test_the_verifier_is_that_of_the_standard() -> None:
    """The exchange of RFC 7677, section 3: the server's key signs as the server there did."""
    salt, nonce = "W22ZaJ0SNY7soEsUEjb6gQ==", "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    verifier = scram_verifier("pencil", base64.b64decode(salt))
    head, _, keys = verifier.rpartition("$")
    assert head == f"SCRAM-SHA-256$4096:{salt}"
    exchange = f"n=user,r=rOprNGfwEbeRWgbNEkqO,r={nonce},s={salt},i=4096,c=biws,r={nonce}"
    signature = hmac.digest(base64.b64decode(keys.split(":")[1]), exchange.encode(), "sha256")
    assert base64.b64encode(signature).decode() == "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="


def test_airflow_reads_what_was_written(root: Path) -> None:
    """A secret holds no character that its format would change."""
    prepare(root)
    parser = configparser.ConfigParser()
    parser.read(root / "airflow" / "airflow.cfg")
    assert len(parser["api_auth"]["jwt_secret"]) >= 64
    assert len(json.loads((root / "login" / "passwords.json").read_text())["admin"]) >= 32
