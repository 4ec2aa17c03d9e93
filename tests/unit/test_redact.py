"""Credentials in addresses: what counts as one, and how the address looks without."""

from __future__ import annotations

import pytest

from understudy.redact import hidden, passwords_in, redacted, secret_in, secrets_among

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://ada:s3cret@host/x.git", "https://host/x.git"),
        ("cannot read 'https://token@host/x'", "cannot read 'https://host/x'"),
        ("Authorization: Basic abc", "Authorization: Basic ***"),
        ("no address", "no address"),
    ],
)
def test_credentials_are_taken_out(text: str, shown: str) -> None:
    """And nothing else."""
    assert redacted(text) == shown


@pytest.mark.parametrize(
    ("value", "secret"),
    [
        ("https://ada:s3cret@host/x", "a password"),
        ("https://host/x?a=1&SIG=abc", "SIG=..."),
        ("https://host/x?X-Amz-Signature=abc&b=2", "X-Amz-Signature=..."),
        ("https://host/x?sig=", ""),
        ("https://host/x?key=7&page=token", ""),
        ("https://[broken/x?token=a", ""),
        ("token=abc", ""),
        (7, ""),
    ],
)
def test_what_a_parameter_must_not_hold(value: object, secret: str) -> None:
    """Named, never repeated."""
    assert secret_in(value) == secret


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


def test_secret_values_are_hidden() -> None:
    """Longer ones first; values too short to be secrets stay readable."""
    secrets = secrets_among(["token123", "token123456", "1"])
    assert hidden("a token123456 b token123 c 1", secrets) == "a *** b *** c 1"


def test_long_text_takes_no_longer_than_its_length() -> None:
    """A regular expression that tries every letter as a scheme's first would take hours."""
    text = "x" * 1_000_000
    assert redacted(text) == text
