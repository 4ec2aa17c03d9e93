"""Generates the secrets of the container stack. Writes below one folder, and nothing twice.

Each reader mounts its own subfolder, so that none sees what only another one needs: what trains
models reaches the broker, the results' database and MLflow, and none of Airflow's keys. What exists
is kept: a start that was interrupted goes on where it ended, and every later start changes nothing.
"""

from __future__ import annotations

import base64
import configparser
import hashlib
import hmac
import io
import json
import os
import secrets
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

ADMIN: Final = "admin"
"""The first user of Airflow and of MLflow, with every right."""
STEPS: Final = "understudy"
"""MLflow's user that Airflow's tasks and the steps are: owns what they make."""
READER: Final = "reader"
"""MLflow's user that the champion's server and the metrics are: may read."""
DATABASES: Final = ("airflow", "celery", "mlflow", "mlflow_auth")
"""Each is owned by the role of its name, or by the one that `OWNERS` names."""
OWNERS: Final = {"mlflow_auth": "mlflow"}
FOLDERS: Final = (
    "airflow",
    "broker",
    "grafana",
    "login",
    "mlflow",
    "postgres",
    "prometheus",
    "reader",
    "store",
    "tracking",
    "worker",
)
"""One for each group of readers; docker-compose.yaml says who mounts which."""
SERVER: Final = "postgres:5432"
# PostgreSQL's own default of scram_iterations.
_ITERATIONS = 4096
# Nobody shows this certificate, so that nothing is gained by an end of it.
_CERTIFIED = timedelta(days=36_500)
_OWNER_ONLY = 0o600
# The entry points of the official images read these as users whose numbers only they know; the
# volumes that they lie in are mounted by nothing else.
_FOREIGN = 0o444


@dataclass(frozen=True, slots=True)
class Known:
    """What several files must agree on.

    Attributes:
        roles: Password of each role of PostgreSQL.
        accounts: Password of each of MLflow's users.
        broker: Password of Valkey's default user.
        store: Secret key of the artifact store's one account, whose access key is `STEPS`.
    """

    roles: Mapping[str, str]
    accounts: Mapping[str, str]
    broker: str
    store: str


def prepare(root: Path) -> None:
    """Write what is missing of the secrets below `root`.

    Args:
        root: A folder with a subfolder for each of `FOLDERS`.
    """
    # The agreed values come first, in one file: whatever an interrupted start has left, all other
    # files are written from the same values.
    known = _agreed(root)
    for name, content in _own_files(known).items():
        _keep(root / name, _OWNER_ONLY, content)
    for name, content in _foreign_files(known).items():
        _keep(root / name, _FOREIGN, content)


def _agreed(root: Path) -> Known:
    """Return the values that several files share, from the one file that is written first."""
    path = root / "login" / "agreed.json"
    roles = sorted({OWNERS.get(name, name) for name in DATABASES})
    _keep(
        path,
        _OWNER_ONLY,
        lambda: json.dumps(
            {
                "roles": {name: _password() for name in roles},
                "accounts": {name: _password() for name in (ADMIN, STEPS, READER)},
                "broker": _password(),
                "store": _password(),
            }
        ),
    )
    return Known(**json.loads(path.read_text("ascii")))


def _own_files(known: Known) -> dict[str, Callable[[], str]]:
    """Return what our own image reads, by path."""
    # Functions, for a file that exists must not cost a new password, nor a verifier's 4096 rounds.
    roles, accounts = known.roles, known.accounts
    return {
        "airflow/airflow.cfg": lambda: _text(_servers_settings(known)),
        "airflow/pgpass": lambda: _pgpass(roles, "airflow", "celery"),
        "worker/airflow.cfg": lambda: _text(_workers_settings(known)),
        "worker/pgpass": lambda: _pgpass(roles, "celery"),
        "login/airflow": _password,
        "login/mlflow": lambda: accounts[ADMIN],
        "mlflow/pgpass": lambda: _pgpass(roles, "mlflow", "mlflow_auth"),
        "mlflow/auth.ini": lambda: _text(_authentication(accounts[ADMIN])),
        "mlflow/flask": _password,
        "mlflow/credentials": lambda: _text(_credentials(ADMIN, accounts)),
        "mlflow/aws": lambda: _text(
            {"default": {"aws_access_key_id": STEPS, "aws_secret_access_key": known.store}}
        ),
        "tracking/credentials": lambda: _text(_credentials(STEPS, accounts)),
        "reader/credentials": lambda: _text(_credentials(READER, accounts)),
    }


def _foreign_files(known: Known) -> dict[str, Callable[[], str]]:
    """Return what the official images read, by path."""
    return {
        "postgres/superuser": _password,
        "postgres/roles.sql": lambda: roles_sql(known.roles),
        "broker/valkey.conf": lambda: _broker(known.broker),
        "store/s3.json": lambda: _store(known.store),
        "store/peers.pem": _peers,
        "grafana/admin": _password,
        # MLflow shows its metrics to administrators alone.
        "prometheus/mlflow": lambda: known.accounts[ADMIN],
    }


def roles_sql(passwords: Mapping[str, str]) -> str:
    """Return the statements that make the roles and their databases, for a new server.

    The server is given verifiers: the passwords stand neither in the file nor in its log.

    Args:
        passwords: By role.
    """
    roles = "".join(
        f"CREATE ROLE {name} LOGIN PASSWORD '{scram_verifier(password, os.urandom(16))}';\n"
        for name, password in passwords.items()
    )
    return roles + "".join(
        f"CREATE DATABASE {name} OWNER {OWNERS.get(name, name)};\n"
        # PostgreSQL lets every role connect to a new database.
        f"REVOKE CONNECT, TEMPORARY ON DATABASE {name} FROM PUBLIC;\n"
        for name in DATABASES
    )


def scram_verifier(password: str, salt: bytes) -> str:
    """Return what PostgreSQL stores for an ASCII password: RFC 5802 section 3, with SHA-256."""
    salted = hashlib.pbkdf2_hmac("sha256", password.encode("ascii"), salt, _ITERATIONS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    encoded = [base64.b64encode(part).decode() for part in (salt, stored, server)]
    return f"SCRAM-SHA-256${_ITERATIONS}:{encoded[0]}${encoded[1]}:{encoded[2]}"


def _pgpass(roles: Mapping[str, str], *databases: str) -> str:
    """Return libpq's password file for some databases."""
    owners = {name: OWNERS.get(name, name) for name in databases}
    lines = (f"{SERVER}:{name}:{role}:{roles[role]}\n" for name, role in owners.items())
    return "".join(lines)


def _servers_settings(known: Known) -> dict[str, dict[str, str]]:
    """Return what is secret in airflow.cfg; the rest is in the compose file."""
    return {
        # Shorter than 64 bytes, Airflow warns at every call.
        "api_auth": {"jwt_secret": secrets.token_urlsafe(64)},
        "api": {"secret_key": secrets.token_urlsafe(32)},
        "core": {"fernet_key": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()},
        **_workers_settings(known),
    }


def _workers_settings(known: Known) -> dict[str, dict[str, str]]:
    """Return what a worker has to know: each task brings its own token for the API server."""
    return {"celery": {"broker_url": f"redis://:{known.broker}@broker:6379/0"}}


def _authentication(password: str) -> dict[str, dict[str, str]]:
    """Return the settings of MLflow's own authentication: whoever has an account may read."""
    return {
        "mlflow": {
            # Who creates something may change it; the others (steps, the champion's server, the
            # metrics) read it.
            "default_permission": "READ",
            # The driver by name: what a bare postgresql:// means has changed with SQLAlchemy 2.1.
            "database_uri": "postgresql+psycopg://mlflow@postgres/mlflow_auth",
            "admin_username": ADMIN,
            "admin_password": password,
            # mlflow_login.py of this folder: MLflow lets whoever has an account create.
            "authorization_function": "mlflow_login:authenticate",
            # A password's hash takes half a second, which each of a night's calls would wait.
            "auth_cache_ttl_seconds": "60",
        }
    }


def _credentials(user: str, accounts: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Return what MLflow's clients read from ~/.mlflow/credentials."""
    secret = {"mlflow_tracking_username": user, "mlflow_tracking_password": accounts[user]}
    return {"mlflow": secret}


def _store(secret_key: str) -> str:
    """Return SeaweedFS's accounts: one, that may do everything."""
    credentials = [{"accessKey": STEPS, "secretKey": secret_key}]
    actions = ["Admin", "Read", "List", "Tagging", "Write"]
    return json.dumps(
        {"identities": [{"name": STEPS, "credentials": credentials, "actions": actions}]}
    )


def _peers() -> str:
    """Return a key and its own certificate, in PEM: who has no key of it may not speak to the port.

    SeaweedFS's S3 server takes accounts from its own filer on a port that cannot be closed. With
    this, that port asks for a certificate, which nobody has: accounts come from `s3.json` alone.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "store")])
    made = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(made)
        .not_valid_after(made + _CERTIFIED)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return (secret + certificate.public_bytes(serialization.Encoding.PEM)).decode("ascii")


def _broker(password: str) -> str:
    """Return Valkey's users. What checks its health may do nothing else.

    A message that was accepted survives a crash but for its last second, and none is thrown away
    where memory ends: Airflow then sees the error, and sends it again.
    """
    # One unsalted SHA-256 is what Valkey's `#` takes; a random password of 24 bytes needs no more.
    digest = hashlib.sha256(password.encode("ascii")).hexdigest()
    return (
        f"user default on #{digest} ~* &* +@all\n"
        "user health on nopass -@all +ping\n"
        "appendonly yes\n"
        "maxmemory-policy noeviction\n"
    )


def _text(sections: Mapping[str, Mapping[str, str]]) -> str:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_dict(sections)
    with io.StringIO() as text:
        parser.write(text)
        return text.getvalue()


def _password() -> str:
    # 192 random bits, in letters that need no quoting in a URL, an ini file or SQL.
    return secrets.token_urlsafe(24)


def _keep(path: Path, mode: int, content: Callable[[], str]) -> None:
    """Write a file unless it is there; it is in its place only when it is whole."""
    if path.exists():
        return
    draft = path.with_name(f"{path.name}.draft")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(content())
        file.flush()
        os.fsync(file.fileno())
    # Readable for others only when it is complete, and just before it has its name.
    draft.chmod(mode)
    draft.replace(path)


if __name__ == "__main__":
    prepare(Path(sys.argv[1]))
