"""The one way out for text: without secrets, and with what cannot be seen made visible.

What comes from data, projects, servers and people passes ``plain`` (one line) or ``plain_lines``
before it is logged, stored as a tag, shown in a table or sent. One rule says what a secret looks
like, and ``known`` tells the process of those that look like nothing: values of variables, keys.
"""

from __future__ import annotations

import base64
import json
import re
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Final
from urllib.parse import quote, quote_plus, unquote

HIDDEN: Final = "***"
SHORTEST_SECRET: Final = 6
"""Characters: a shorter one would blot out half a log."""
_SHORTEST_PART: Final = 8
"""Characters of what base64 makes of a secret, from which on it is looked for."""

# Up to the last @ before a slash: a password may hold one itself.
_USERINFO: Final = re.compile(r"(?<=[a-zA-Z0-9+.-])://([^/\s'\"]*)@")
_HEADER: Final = re.compile(
    r"(?i)(authorization[\"']?\s*[:=]\s*[\"']?(?:basic|bearer)\s+)[^\s\"']+"
)
_IN_ADDRESSES: Final = frozenset({
    "sig", "signature", "token", "access_token", "id_token", "refresh_token", "private_token",
    "auth_token", "auth", "api_key", "apikey", "password", "passwd", "secret", "client_secret",
    "x-amz-signature", "x-amz-security-token", "x-goog-signature", "x-oss-signature",
    "security-token", "sas", "sas_token", "subscription-key",
})  # fmt: skip
"""Names in a URL's query or fragment under which the clouds and many services put what signs or
opens it."""
_ANYWHERE: Final = (
    "accountkey", "sharedaccesskey", "sharedaccesssignature", "password", "passwd", "pwd",
    "client_secret", "secret_key", "secret_access_key", "aws_secret_access_key",
    "aws_session_token", "private_key", "api_key", "apikey", "access_token", "refresh_token",
    "auth_token",
)  # fmt: skip
"""Names before what opens something, in connection strings and in JSON."""
_QUERY: Final = re.compile(rf"(?i)([?&#](?:{'|'.join(sorted(_IN_ADDRESSES))})=)([^&#\s'\"]+)")
_ASSIGNED: Final = re.compile(
    rf"(?i)(?<![a-z0-9])((?:{'|'.join(_ANYWHERE)})(?:\s*=\s*[\"']?|\\?[\"']\s*:\s*\\?[\"']))"
    r"([^\s\"'\\;,&{}]+)"
)
# What hosts begin their tokens with, so that they can be found: GitHub, GitLab, Slack, Hugging
# Face, PyPI, Databricks, OpenAI; and the keys of certificates and of ssh.
_TOKEN: Final = re.compile(
    r"(?<![A-Za-z0-9])(?:gh[opsur]_[A-Za-z0-9]{16,}|github_pat_\w{20,}|glpat-[\w-]{16,}"
    r"|xox[abprs]-[\w-]{10,}|hf_[A-Za-z0-9]{20,}|pypi-[\w-]{50,}|dapi[0-9a-f]{32}"
    r"|sk-[\w-]{32,})|-----BEGIN [A-Z ]*PRIVATE KEY-----"
)
_URL: Final = re.compile(r"(?<![a-zA-Z0-9+.-])[a-zA-Z][a-zA-Z0-9+.-]{0,30}://[^\s'\"]+")

# Control characters but tab, which aligns; what turns the direction of text; line ends of other
# alphabets; halves of surrogate pairs, which no encoding takes; what has no width, in which whole
# texts can hide. The joiners stay, which scripts and pictures need.
_UNSEEN: Final = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u180e\u200b\u200e\u200f\u2028-\u202e"
    r"\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e01ef]"
)
_COLOURS: Final = re.compile(r"\x1b\[[0-9;]*m")
_CONTINUED: Final = re.compile(r"\n(?! {4}|$)")

_known: Counter[str] = Counter()
_lock: Final = threading.Lock()


@contextmanager
def known(values: Iterable[str]) -> Iterator[tuple[str, ...]]:
    """Hide values, however they are written, in all text of this process while the block lasts.

    Yields:
        Those of the values that are too short to be hidden.
    """
    given = tuple(dict.fromkeys(filter(None, values)))
    forms = [form for value in given for form in forms_of(value)]
    with _lock:
        _known.update(forms)
    try:
        yield tuple(value for value in given if len(value.strip()) < SHORTEST_SECRET)
    except BaseException as error:
        _hide_in(error)
        raise
    finally:
        with _lock:
            _known.subtract(forms)
            for form in {*forms}:
                if not _known[form]:
                    del _known[form]


def _hide_in(error: BaseException | None) -> None:
    """Take what is known as a secret out of an error, and out of those that led to it."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        error.args = tuple(
            without_secrets(one) if isinstance(one, str) else one for one in error.args
        )
        if notes := getattr(error, "__notes__", None):
            notes[:] = map(without_secrets, notes)
        error = error.__cause__ or error.__context__


def plain(text: object) -> str:
    """Return text as one line: no secret, and no character that a reader does not see."""
    return plain_text(text).replace("\n", "\\n")


def plain_text(text: object) -> str:
    """Return text whose line ends are its author's: what lines are made of has passed ``plain``."""
    return visible(without_secrets(str(text)))


def plain_tag(value: str) -> str:
    """Return the value of a tag, which programs may read: what looks like a secret goes."""
    return visible(redacted(value))


def plain_lines(text: object) -> str:
    """Return text of several lines; no line but the first begins where a message's own does."""
    # Else data could forge a line, such as a verdict.
    return _CONTINUED.sub("\n    ", plain_text(text))


def without_secrets(text: str) -> str:
    """Return text without what is known as a secret, and without what looks like one."""
    with _lock:
        secrets = tuple(_known)
    return redacted(hidden(text, secrets) if secrets else text)


def visible(text: str) -> str:
    r"""Return text with every character that moves, turns or hides others as ``\x1b``, ``\u202e``.

    Line feeds and tabs stay; colours go, which say nothing.
    """
    if text.isascii() and text.isprintable():
        return text
    return _UNSEEN.sub(_escaped, _COLOURS.sub("", text))


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code < 0x100:  # noqa: PLR2004 -- two digits
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"  # noqa: PLR2004 -- four


def redacted(text: str) -> str:
    """Return the text without what looks like a secret: in URLs, headers, JSON, settings."""
    if "://" in text:
        text = _USERINFO.sub(lambda found: "://" if _opens(found) else found[0], text)
    if "=" in text or ":" in text:
        text = _HEADER.sub(rf"\1{HIDDEN}", _QUERY.sub(rf"\1{HIDDEN}", text))
        text = _ASSIGNED.sub(rf"\1{HIDDEN}", text)
    return _TOKEN.sub(HIDDEN, text)


def _opens(found: re.Match[str]) -> str:
    """Return what user-info is, where it opens something; '' for a mere name."""
    if ":" in found[1]:
        return "a password"
    # Git hosts take a token in the place of a name. Elsewhere it names a user, or a container of
    # Azure's, as in abfss://container@account.
    scheme = found.string[max(found.start() - 5, 0) : found.start()].lower()
    return "a token, or a user, before its host" if scheme.endswith(("http", "https")) else ""


def credentials_in(text: str) -> tuple[str, ...]:
    """Return the passwords and signatures in the URLs of a text, such as an index's token."""
    found = [secret for url in _URL.findall(text) for secret in passwords_in(url)]
    found += [matched[2] for matched in _QUERY.finditer(text)]
    return tuple(dict.fromkeys(found))


def forms_of(value: str) -> tuple[str, ...]:
    """Return how a secret may be written: as it is, its lines, in a URL, in JSON, in base64."""
    return tuple(dict.fromkeys(form for part in _parts(value) for form in _written(part)))


def _parts(value: str) -> Iterator[str]:
    """Yield a value, its lines, and the texts in it where it is JSON: logs are cut at lines."""
    yield from (part for part in (value, value.strip()) if len(part.strip()) >= SHORTEST_SECRET)
    yield from (line for line in map(str.strip, value.splitlines()) if len(line) >= SHORTEST_SECRET)
    if value.lstrip()[:1] in {"{", "["}:
        try:
            content = json.loads(value)
        except ValueError:
            return
        yield from (text for text in _texts(content) if len(text) >= SHORTEST_SECRET)


def _texts(content: object) -> Iterator[str]:
    if isinstance(content, str):
        yield content
        yield from filter(None, map(str.strip, content.splitlines()))
    elif isinstance(content, dict):
        yield from (text for one in content.values() for text in _texts(one))
    elif isinstance(content, list):
        yield from (text for one in content for text in _texts(one))


def _written(part: str) -> Iterator[str]:
    yield part
    yield from (quote(part, safe=""), quote(part), quote_plus(part))
    # As a traceback or a dump of settings shows it.
    yield from (json.dumps(part)[1:-1], repr(part)[1:-1])
    content = part.encode(errors="surrogatepass")
    # Three bytes are four characters: what stands before moves them. The characters at both ends
    # are made of a neighbour's bits, too.
    for before in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            text = encode(bytes(before) + content).decode()
            first = -(-before * 8 // 6)
            last = (before + len(content)) * 8 // 6
            if last - first >= _SHORTEST_PART:
                yield text[first:last]


def hidden(text: str, secrets: Iterable[str]) -> str:
    """Return the text with ``***`` in the place of each secret."""
    found = tuple(filter(None, secrets))
    return _any_of(found).sub(HIDDEN, text) if found else text


@lru_cache(maxsize=16)
def _any_of(secrets: tuple[str, ...]) -> re.Pattern[str]:
    # The longest first: a secret may be part of another, whose rest would stay.
    return re.compile("|".join(map(re.escape, sorted(secrets, key=len, reverse=True))))


def secret_in(value: object) -> str:
    """Return what a value holds that must not be stored or shown, or '' where there is nothing."""
    text = value if isinstance(value, str) else ""
    if isinstance(value, Mapping | list | tuple):
        text = json.dumps(value, default=str, ensure_ascii=False)
    if what := next(filter(None, map(_opens, _USERINFO.finditer(text))), ""):
        return what
    if found := _QUERY.search(text):
        return f"{found[1][1:]}..."
    if found := _ASSIGNED.search(text):
        name = re.match(r"\w+", found[1])
        return f"{name[0] if name else found[1]}=..."
    if _HEADER.search(text):
        return "an authorization header"
    return "what looks like a token or a private key" if _TOKEN.search(text) else ""


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
