"""The secrets of the container stack are made once, are nobody's defaults, and are closed."""

from __future__ import annotations

import base64
import configparser
import contextlib
import hashlib
import hmac
import json
import re
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from understudy.containers.first_start import FOLDERS, prepare, scram_verifier

pytestmark = pytest.mark.unit


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a folder as the volumes make it: empty subfolders."""
    for name in FOLDERS:
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
        "broker/valkey.conf",
        "grafana/admin",
        "login/agreed.json",
        "login/airflow",
        "login/mlflow",
        "mlflow/auth.ini",
        "mlflow/aws",
        "mlflow/credentials",
        "mlflow/flask",
        "mlflow/pgpass",
        "postgres/roles.sql",
        "postgres/superuser",
        "prometheus/mlflow",
        "reader/credentials",
        "store/peers.pem",
        "store/s3.json",
        "tracking/credentials",
        "worker/airflow.cfg",
        "worker/pgpass",
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
        for name in FOLDERS:
            (tmp_path / stack / name).mkdir(parents=True)
        prepare(tmp_path / stack)
        contents.append(_files(tmp_path / stack))
    for name, content in contents[0].items():
        assert content != contents[1][name]


@pytest.mark.parametrize("lost", ["mlflow/pgpass", "broker/valkey.conf", "airflow/airflow.cfg"])
def test_an_interrupted_start_is_finished(root: Path, lost: str) -> None:
    """What was written stays, what is missing is made, and a draft is no obstacle."""
    prepare(root)
    before = _files(root)
    (root / lost).rename(root / f"{lost}.draft")
    prepare(root)
    after = _files(root)
    assert after.keys() == before.keys()
    changed = {name for name in before if before[name] != after[name]}
    assert changed == ({lost} if lost == "airflow/airflow.cfg" else set())


def test_files_are_closed_to_others(root: Path) -> None:
    """But for those that the official images read, as users whose numbers are not known here."""
    prepare(root)
    foreign = {"broker", "grafana", "postgres", "prometheus", "store"}
    for name in _files(root):
        expected = 0o444 if name.partition("/")[0] in foreign else 0o600
        assert (root / name).stat().st_mode & 0o777 == expected, name


def test_a_worker_knows_the_broker_its_results_and_mlflow(root: Path) -> None:
    """And none of Airflow's keys, nor the way to its database."""
    prepare(root)
    settings = configparser.ConfigParser(interpolation=None)
    settings.read(root / "worker" / "airflow.cfg")
    assert settings.sections() == ["celery"]
    assert re.fullmatch(r"redis://:[\w-]{32}@broker:6379/0", settings["celery"]["broker_url"])
    lines = (root / "worker" / "pgpass").read_text("ascii").splitlines()
    assert [line.split(":")[2:4] for line in lines] == [["celery", "celery"]]


def test_what_two_sides_share_is_the_same(root: Path) -> None:
    """Each password is in the files of both."""
    prepare(root)
    files = _files(root)
    agreed = json.loads(files["login/agreed.json"])
    store = json.loads(files["store/s3.json"])["identities"][0]["credentials"][0]
    assert f"aws_secret_access_key = {store['secretKey']}" in files["mlflow/aws"]
    assert (
        f"mlflow_tracking_password = {agreed['accounts']['reader']}" in files["reader/credentials"]
    )
    assert files["prometheus/mlflow"] == agreed["accounts"]["admin"]
    assert f"admin_password = {files['login/mlflow']}" in files["mlflow/auth.ini"]
    digest = hashlib.sha256(agreed["broker"].encode()).hexdigest()
    assert f"user default on #{digest} " in files["broker/valkey.conf"]
    assert agreed["broker"] not in files["broker/valkey.conf"]


def test_the_stores_certificate_is_its_own_authority(root: Path) -> None:
    """Its port then accepts who holds this key, and there is no other."""
    prepare(root)
    peers = root / "store" / "peers.pem"
    with socket.create_server(("127.0.0.1", 0)) as listening:
        serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        serving.load_cert_chain(peers)
        serving.load_verify_locations(peers)
        serving.verify_mode = ssl.CERT_REQUIRED
        with ThreadPoolExecutor(1) as other:
            for shown in (peers, None):
                asked = other.submit(_ask, listening.getsockname(), peers, shown)
                taken, _ = listening.accept()
                accepted = _answer(serving, taken)
                assert accepted is (shown is not None)
                asked.result(10)


def _answer(serving: ssl.SSLContext, taken: socket.socket) -> bool:
    """Return whether a caller showed a certificate that is known."""
    with taken:
        try:
            with serving.wrap_socket(taken, server_side=True) as secured:
                return bool(secured.getpeercert())
        except ssl.SSLError:
            return False


def _ask(address: tuple[str, int], known: Path, shown: Path | None) -> None:
    asking = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    asking.check_hostname = False
    asking.load_verify_locations(known)
    if shown:
        asking.load_cert_chain(shown)
    taken = socket.create_connection(address, 10)
    with contextlib.suppress(OSError), asking.wrap_socket(taken) as secured:
        secured.recv(1)


def test_roles_are_made_without_their_passwords(root: Path) -> None:
    """The statements may end up in the server's log."""
    prepare(root)
    statements = (root / "postgres" / "roles.sql").read_text("ascii")
    lines = [
        line.split(":")
        for name in ("airflow", "mlflow")
        for line in (root / name / "pgpass").read_text("ascii").splitlines()
    ]
    assert [line[2:4] for line in lines] == [
        ["airflow", "airflow"],
        ["celery", "celery"],
        ["mlflow", "mlflow"],
        ["mlflow_auth", "mlflow"],
    ]
    for server, port, database, role, password in lines:
        assert (server, port) == ("postgres", "5432")
        assert password not in statements
        assert f"CREATE DATABASE {database} OWNER {role};" in statements


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
    assert len((root / "login" / "airflow").read_text()) >= 32
