"""MLflow's login in the container stack: its own, for a reader who only reads, and not for guesses.

Runs inside MLflow's server, on MLflow's own Python: it imports nothing of the package, which that
environment has not. ``auth.ini`` names it as the ``authorization_function``.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import TYPE_CHECKING, Final

from flask import make_response, request
from mlflow.server.auth import authenticate_request_basic_auth  # noqa: TID253 -- it runs there

if TYPE_CHECKING:
    from understudy.containers.guesses import OF_ONE, PER_S, Guesses
else:
    # That environment has this folder, and not the package.
    from guesses import OF_ONE, PER_S, Guesses

if TYPE_CHECKING:
    from flask import Response
    from werkzeug.datastructures import Authorization

READER: Final = "reader"
"""The user who creates nothing: MLflow lets everybody who has an account create."""
_READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
# What MLflow 3.17 reads by POST, as questions may be longer than an address. Its pages ask by
# GraphQL, whose schema changes nothing.
_READS_BY_POST: Final = (
    *("/search", "/search-datasets", "/get-latest-versions", "/presigned-download-url"),
    *("/traces/batchGetInfos", "/traces/metrics", "/graphql"),
)
_MOST_LOGINS: Final = 10_000
_guesses: Final = Guesses()
_right: Final[dict[bytes, None]] = {}
_SALT: Final = secrets.token_bytes(32)


def authenticate() -> Authorization | Response:
    """Return who asks, as MLflow's own login does; or the answer to who may not."""
    address = request.remote_addr or ""
    name = (request.authorization and request.authorization.get("username")) or ""
    login = _digest(address)
    # Before the password is looked at: a hash takes a third of a second of the server's time. Who
    # has logged in from there goes on, whoever else guesses at that name: behind a proxy all
    # people have one address.
    asks = request.authorization is not None and login not in _right
    if asks and _guesses.are_many(address, name):
        return _answer(429, f"More than {OF_ONE} wrong logins in {PER_S:.0f} s.", str(int(PER_S)))
    found = authenticate_request_basic_auth()
    if not hasattr(found, "username"):
        if request.authorization is not None:
            _guesses.remember(address, name)
            _right.pop(login, None)
        return found
    _trust(login)
    if found.username == READER and not _reads():
        return _answer(403, f"The user {READER} reads, and changes nothing.")
    return found


def _reads() -> bool:
    return request.method in _READS or (
        request.method == "POST" and request.path.endswith(_READS_BY_POST)
    )


def _digest(address: str) -> bytes:
    """Return what an address and its name and password are known by; no password is kept."""
    given = request.headers.get("Authorization", "")
    return hashlib.sha256(_SALT + f"{address} {given}".encode()).digest()


def _trust(login: bytes) -> None:
    if len(_right) >= _MOST_LOGINS:
        _right.clear()
    _right[login] = None


def _answer(status: int, message: str, retry_after: str = "") -> Response:
    code = "PERMISSION_DENIED" if status == 403 else "REQUEST_LIMIT_EXCEEDED"  # noqa: PLR2004 - HTTP
    answer = make_response({"error_code": code, "message": message}, status)
    if retry_after:
        answer.headers["Retry-After"] = retry_after
    return answer
