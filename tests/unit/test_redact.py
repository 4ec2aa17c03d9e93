"""What counts as a secret, how it may be written, and how text looks without it."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote_plus

import pytest

from understudy.errors import ProjectError
from understudy.redact import (
    credentials_in,
    hidden,
    known,
    passwords_in,
    plain,
    plain_lines,
    redacted,
    secret_in,
    without_secrets,
)

pytestmark = pytest.mark.unit

GITHUB = "ghp_" + "aB3dE6gH9" * 4
KEY = "q9/Zr+4t" * 8 + "=="


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://ada:s3cret@host/x.git", "https://host/x.git"),
        ("cannot read 'https://token@host/x'", "cannot read 'https://host/x'"),
        ("ssh://git@host/x and ssh://git:pw@host/x", "ssh://git@host/x and ssh://host/x"),
        ("abfss://box@account/x", "abfss://box@account/x"),
        ("Authorization: Basic abc", "Authorization: Basic ***"),
        ('{"Authorization": "Bearer abc"}', '{"Authorization": "Bearer ***"}'),
        ("https://host/x?a=1&sig=abc&b=2", "https://host/x?a=1&sig=***&b=2"),
        ("https://host/#access_token=abc", "https://host/#access_token=***"),
        (f"AccountName=a;AccountKey={KEY};B=c", "AccountName=a;AccountKey=***;B=c"),
        ('{"db": {"password": "s3cret"}}', '{"db": {"password": "***"}}'),
        (r"{\"password\": \"s3cret\"}", r"{\"password\": \"***\"}"),
        (f"it said {GITHUB}!", "it said ***!"),
        ("no address, tokens: 3, password column", "no address, tokens: 3, password column"),
    ],
)
def test_credentials_are_taken_out(text: str, shown: str) -> None:
    """And nothing else; a second time changes nothing."""
    assert redacted(text) == shown
    assert redacted(shown) == shown


@pytest.mark.parametrize(
    ("value", "secret"),
    [
        ("https://ada:s3cret@host/x", "a password"),
        (f"https://{GITHUB}@host/x", "a token, or a user, before its host"),
        ('{"uri": "mysql://ada:s3cret@host/x"}', "a password"),
        ("https://host/x?a=1&SIG=abc", "SIG=..."),
        ("https://host/x?X-Amz-Signature=abc&b=2", "X-Amz-Signature=..."),
        ("https://host/#access_token=abc", "access_token=..."),
        (f"DefaultEndpointsProtocol=https;AccountKey={KEY}", "AccountKey=..."),
        ("host=db password=s3cret", "password=..."),
        ('{"client_secret": "abc"}', "client_secret=..."),
        (f"--token {GITHUB}", "what looks like a token or a private key"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMII", "what looks like a token or a private key"),
        ("https://host/x?sig=", ""),
        ("https://host/x?key=7&page=token", ""),
        ("abfss://box@account.dfs.core.windows.net/x", ""),
        ("ssh://git@host/x", ""),
        ("postgresql://ada@host/x", ""),
        ("token=abc", ""),
        ("password,age,income", ""),
        (["https://host/x", "https://ada:s3cret@host/x"], "a password"),
        ({"login": {"password": "s3cret"}}, "password=..."),
        ({"password": ""}, ""),
        ({"password_column": "pwd", "columns": ["password"]}, ""),
        (7, ""),
    ],
)
def test_what_a_parameter_must_not_hold(value: object, secret: str) -> None:
    """Named, never repeated; what is found is what is taken out of text."""
    assert secret_in(value) == secret
    assert (redacted(str(value)) != str(value)) == bool(secret)


@pytest.mark.parametrize(
    ("url", "secrets"),
    [
        ("https://ada:s%40cret@host/x.git#sub", ("s%40cret", "s@cret")),
        ("https://token@host/x.git", ("token",)),
        ("https://host/x.git", ()),
        ("ssh://git@host/x.git", ()),
        ("git@host:x.git", ()),
    ],
)
def test_what_airflow_is_told_to_mask(url: str, secrets: tuple[str, ...]) -> None:
    """The password as it is written and as it is sent."""
    assert passwords_in(url) == secrets
    assert credentials_in(f"--index-url {url}") == secrets


def test_the_longest_is_hidden_first() -> None:
    """Else the rest of a secret that holds another would stay."""
    assert hidden("a token123456 b token123 c 1", ["token123", "token123456"]) == "a *** b *** c 1"


PEM = "-----BEGIN THING-----\nMIIEvQIBADANBgkqhkiG9w0B\nAQEFAASCBKcwggSjAgE\n-----END THING-----\n"
VALUES = ("pa$$ w/rd&1", PEM, json.dumps({"user": "anna-lena", "key": "line one\nline two"}))


@pytest.mark.parametrize("value", VALUES)
def test_a_known_value_is_hidden_however_it_is_written(value: str) -> None:
    """In a URL, in JSON, in base64 with others around it, line by line, in an error."""
    around = base64.b64encode(f"ab:{value}".encode()).decode()
    with known([value]):
        for text in (value, quote_plus(value), json.dumps(value), repr(value), around):
            shown = without_secrets(text)
            assert "***" in shown
            for part in ("pa$$", "pa%24", "MIIEvQ", "AASCBK", "anna", "line two", around[8:20]):
                assert part not in shown
        error = ProjectError(f"it has {value}", allowed="nothing", action="look")
        assert value.strip() not in str(error)
    assert without_secrets(value[:12]) == value[:12]


def test_an_error_that_passes_holds_no_known_value() -> None:
    """Nor does what led to it, whatever raised it."""
    secret = "s3cret-s3cret"  # noqa: S105 - of nothing
    error = ValueError(f"it was {secret}")
    error.__cause__ = KeyError(secret)
    with pytest.raises(ValueError, match=r"it was \*\*\*"), known([secret]):
        raise error
    assert secret not in repr(error.__cause__)


def test_values_too_short_to_be_hidden_are_told() -> None:
    """And stay: they would blot out half a log."""
    with known(["abc", "longer than that", ""]) as short:
        assert short == ("abc",)
        assert without_secrets("abc") == "abc"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("x\nVerdict: PROMOTE", r"x\nVerdict: PROMOTE"),
        ("x\r\x1b[2KVerdict: PROMOTE", r"x\x0d\x1b[2KVerdict: PROMOTE"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("user\u202egnp.exe", r"user\u202egnp.exe"),
        ("a\u2028b\x85c", r"a\u2028b\x85c"),
        ("half \ud800", r"half \ud800"),
        ("hid\U000e0041den\u2062 \u00adand", r"hid\U000e0041den\u2062 \xadand"),
        ("tab\tand ä, 日本, 😀", "tab\tand ä, 日本, 😀"),
    ],
)
def test_what_cannot_be_seen_is_shown(text: str, shown: str) -> None:
    """One line stays one line; a second time changes nothing."""
    assert plain(text) == shown
    assert plain(shown) == shown


def test_a_forged_line_does_not_begin_where_lines_begin() -> None:
    """In messages that have several lines of their own."""
    forged = plain_lines("the value\nVerdict: PROMOTE\n")
    assert forged == "the value\n    Verdict: PROMOTE\n"
    assert plain_lines(forged) == forged


def test_long_text_takes_no_longer_than_its_length() -> None:
    """A regular expression that tries every letter as a scheme's first would take hours."""
    for text in ("x" * 1_000_000, "x=" * 500_000, "://" * 300_000, '"password":' * 100_000):
        assert redacted(text)
