"""Finds credentials in text, and takes them out before it is logged, stored or shown. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

# Up to the last @ before a slash: a password may hold one itself.
_USERINFO = re.compile(r"(?<=[a-zA-Z0-9+.-])://[^/\s'\"]*@")
_HEADER = re.compile(r"(?i)(authorization:\s*(?:basic|bearer)\s+)\S+")
_SHORTEST_SECRET: Final = 6
"""Characters."""
_SECRET_NAMES: Final = frozenset({
    "sig", "signature", "token", "access_token", "auth", "api_key", "apikey", "password", "passwd",
    "secret", "client_secret", "x-amz-signature", "x-amz-security-token", "x-goog-signature",
})  # fmt: skip
"""Names in a URL's query under which the clouds and many services put what signs or opens it."""


_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://[^\s'\"]+")
_SSH_USER = re.compile(r"(ssh://[^/:@\s]+@)")
_SECRET_QUERY = re.compile(rf"(?i)([?&](?:{'|'.join(sorted(_SECRET_NAMES))})=)([^&#\s'\"]+)")


def redacted(text: str) -> str:
    """Return the text with the user-info of every URL and every authorisation header removed."""
    return _HEADER.sub(r"\1***", _USERINFO.sub("://", text))


def without_credentials(text: str) -> str:
    """Return lines of requirements without the passwords and signatures of their URLs.

    The user of ``git+ssh://git@host`` stays: it opens nothing.
    """
    shown = "".join(
        part if number % 2 else redacted(part) for number, part in enumerate(_SSH_USER.split(text))
    )
    return _SECRET_QUERY.sub(r"\1***", shown)


def credentials_in(text: str) -> tuple[str, ...]:
    """Return the passwords and signatures in the URLs of a text, such as an index's token."""
    found = [secret for url in _URL.findall(text) for secret in passwords_in(url)]
    found += [matched[2] for matched in _SECRET_QUERY.finditer(text)]
    return tuple(dict.fromkeys(found))


def secrets_among(values: Iterable[str]) -> tuple[str, ...]:
    """Return those values that are long enough to be hidden: others would blot out half a log."""
    return tuple(value for value in values if len(value) >= _SHORTEST_SECRET)


def hidden(text: str, secrets: Iterable[str]) -> str:
    """Return the text with ``***`` in the place of each secret."""
    # The longest first: a secret may be part of another, whose rest would stay.
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "***")
    return text


def secret_in(value: object) -> str:
    """Return what a URL holds that must not be stored or shown, or '' where there is nothing."""
    text = value if isinstance(value, str) else ""
    if "://" not in text:
        return ""
    try:
        parts = urlsplit(text)
        password = parts.password
    # No URL after all, such as one with an open bracket, and so without a password in it.
    except ValueError:
        return ""
    if password:
        return "a password"
    names = [name for name, given in parse_qsl(parts.query) if given]
    return next((f"{name}=..." for name in names if name.lower() in _SECRET_NAMES), "")


def passwords_in(url: str) -> tuple[str, ...]:
    """Return the password in a URL's user-info as it is written and as it is meant; () for none.

    Of user-info without a colon all counts: Git hosts take a token in the place of a name.
    """
    found = re.match(r"[a-zA-Z][a-zA-Z0-9+.-]*://([^/]*)@", url)
    # The user of an ssh address is a name that everybody knows, such as git.
    if not found or url.startswith("ssh:"):
        return ()
    user, colon, password = found[1].partition(":")
    secret = password if colon else user
    # Git prints the URL as it was given and sends what it means: either may turn up in a log.
    return tuple(dict.fromkeys((secret, unquote(secret)))) if secret else ()
