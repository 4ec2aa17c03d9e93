"""Addresses of data: which are allowed, how they look without secrets, where a mirror has them.

Touches only the environment variable UNDERSTUDY_DATA_MIRROR, the one that `env:NAME` names, and,
for a mirror that is a folder, the names in it.
"""

import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import parse_qsl, unquote, unquote_plus, urlencode, urlsplit, urlunsplit

from shared.errors import ParameterError, UnavailableError, short

MIRROR = "UNDERSTUDY_DATA_MIRROR"
FROM_ENVIRONMENT = "env:"
_SIGNS = frozenset({
    "sig", "signature", "token", "access_token", "auth", "api_key", "apikey", "password", "passwd",
    "secret", "client_secret", "x-amz-signature", "x-amz-security-token", "x-goog-signature",
})  # fmt: skip
_SECRET_WORDS = ("key", "token", "secret", "signature", "sig", "password", "credential", "auth")


def is_url(address: str) -> bool:
    """Whether the address is fetched over http; everything else is a path."""
    return address.lower().startswith(("http://", "https://"))


def without_secrets(address: str) -> str:
    """Return the address without user name, password, fragment and secret-looking query values."""
    if not is_url(address):
        return address
    parts = urlsplit(address)
    host = parts.netloc.rpartition("@")[2]
    query = [
        (name, "***" if any(word in name.lower() for word in _SECRET_WORDS) else value)
        for name, value in parse_qsl(parts.query, keep_blank_values=True)
    ]
    return urlunsplit((parts.scheme, host, parts.path, urlencode(query, safe="*"), ""))


def check_source(source: str) -> str:
    """Return the address that the user means, if it may be used.

    Args:
        source: a path or URL, or `env:NAME` for the one in an environment variable, which may hold
            a signature or a token.

    Raises:
        ParameterError: for other schemes than http, https and file, and for a secret in `source`.
    """
    if source.startswith(FROM_ENVIRONMENT):
        name = source.removeprefix(FROM_ENVIRONMENT)
        if not (found := os.environ.get(name, "")):
            raise ParameterError(
                f"source is '{source}' and the step has no variable {name}",
                allowed="the name of an environment variable that the step is given",
                action=f"set {name} where the step runs; in a pipeline file, "
                f"environment=['{name}']",
            )
        return _checked_scheme(found)
    address = _checked_scheme(source)
    if is_url(address) and _opens(address):
        raise ParameterError(
            f"source holds a user name, a password or a signature: {without_secrets(address)}",
            allowed="an address without them (parameters are stored and shown)",
            action="put a password into ~/.netrc on the machine that runs the step; put a signed "
            "address into an environment variable there and pass source=env:NAME",
        )
    return address


def _opens(address: str) -> bool:
    """Whether an address holds what nobody else may see."""
    parts = urlsplit(address)
    names = {name.lower() for name, value in parse_qsl(parts.query) if value}
    return "@" in parts.netloc or not names.isdisjoint(_SIGNS)


def _checked_scheme(address: str) -> str:
    if address.lower().startswith("file://"):
        return unquote(urlsplit(address).path)
    if not is_url(address) and "://" in address:
        raise ParameterError(
            f"source has the scheme '{address.partition('://')[0]}'",
            allowed="a path, file://, http:// or https://",
            action="bring the file to such an address",
        )
    return address


def mirrored(url: str, names: Sequence[str], pinned: str = "") -> str:
    """Return where to get a public file: its own address, or the configured mirror's.

    Args:
        url: the public address.
        names: names under which a mirror folder may hold the file, the preferred one first.
        pinned: SHA-256 of the file, where files of other data sets have its name: what is not
            under the preferred one is then this file only if it has it.

    Raises:
        UnavailableError: if the mirror is a folder without the file.
    """
    mirror = os.environ.get(MIRROR, "")
    if not mirror:
        return url
    path = urlsplit(url).path
    if is_url(mirror):
        return mirror.rstrip("/") + path
    folder = Path(check_source(mirror))
    sure = (path.lstrip("/"), names[0])
    for pattern in (*sure, *names[1:], *(f"*/{name}" for name in names)):
        for found in sorted(folder.glob(pattern)):
            if not pinned or pattern in sure or _is(found, pinned):
                return str(found)
    raise UnavailableError(
        f"the mirror folder {folder} has none of {', '.join(names)}",
        allowed=f"a folder that holds the file, or one below that does, or no {MIRROR}",
        action=f"put the file there or unset {MIRROR}",
    )


def _is(path: Path, pinned: str) -> bool:
    from shared.fetch import sha256

    return path.is_file() and sha256(path) == pinned


def name_in(address: str) -> str:
    """Return the name of the file at an address."""
    return PurePosixPath(unquote_plus(urlsplit(address).path)).name or "data"


def local(address: str, folder: Path) -> Path:
    """Return the file or folder at a path or URL; a URL is fetched into `folder` first.

    Raises:
        ParameterError: if there is none at a path; for URLs see `fetch`.
    """
    if is_url(address):
        from shared.fetch import fetch

        folder.mkdir(parents=True, exist_ok=True)
        return fetch(address, folder / name_in(address))
    path = Path(address).expanduser()
    if not os.path.exists(path):  # noqa: PTH110 - of Path a name that is too long is an error
        raise ParameterError(
            f"there is no file or folder {short(str(path))} (the folder of relative paths is "
            f"{Path.cwd()})",
            allowed="an absolute path that the worker can read, or a URL",
            action="correct the path",
        )
    return path
