"""What a connection says, and which addresses it opens."""

from __future__ import annotations

from typing import Any

import pytest

from understudy.errors import ProjectError
from understudy.spec.git_access import GitAccess
from understudy.spec.git_address import ProjectAddress, parse

pytestmark = pytest.mark.unit

KEY = "-----BEGIN KEY-----\nabc\n-----END KEY-----\n"


def access(**fields: Any) -> GitAccess:
    """Return what a connection with these fields says."""
    return GitAccess.of_connection("git_models", fields)


def opened(url: str, **fields: Any) -> ProjectAddress:
    """Return an address with the credentials of a connection."""
    return parse(url).opened_by(access(**fields))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"login": "ann", "password": "x:y"}, "ann:x:y"),
        ({"password": "x"}, "user:x"),
        ({"login": None, "password": "x", "host": "https://h.example/r.git"}, "user:x"),
    ],
)
def test_https(fields: dict[str, Any], expected: str) -> None:
    """A token alone will do; nothing of it is shown."""
    address = opened("https://h.example/r.git", **fields)
    assert address.credentials == expected
    assert address.secrets == (fields["password"],)
    assert expected not in repr(address) + str(address) + repr(access(**fields))


@pytest.mark.parametrize("key", [KEY, KEY.strip(), KEY.replace("\n", "\r\n"), repr(KEY)[1:-1]])
def test_a_key_however_its_lines_end(key: str) -> None:
    """In the UI, in JSON, in a variable where a line end became two characters."""
    address = opened("git@h.example:r.git", private_key=key)
    assert address.ssh is not None
    assert address.ssh.private_key == KEY
    assert "abc" not in repr(address)


def test_strict_unless_told_otherwise() -> None:
    """A host whose key is not known is refused."""
    assert access().ssh.host_key_checking == "yes"
    assert access(strict_host_key_checking="ask").ssh.host_key_checking == "yes"
    assert access(strict_host_key_checking="off").ssh.host_key_checking == "no"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"key_file": "a", "private_key": "b"}, "'key_file', 'private_key'"),
        ({"known_hosts": "a", "known_hosts_file": "b"}, "has both"),
        ({"github_app_id": 1}, "GitHub App is not supported"),
        ({"strict_host_key_checking": "maybe"}, "'maybe'"),
        ({"ssh_port": "x"}, "ssh_port 'x'"),
    ],
)
def test_fields_that_cannot_be(fields: dict[str, Any], message: str) -> None:
    """A sentence that names the connection."""
    with pytest.raises(ProjectError, match=rf"'git_models' .*{message}"):
        access(**fields)


@pytest.mark.parametrize(
    ("url", "fields", "message"),
    [
        ("https://h.example/r", {}, "has no password"),
        ("https://h.example/r", {"password": "x", "host": "other.example"}, "'other.example'"),
        ("https://u:p@h.example/r", {"password": "x"}, "beside those of its connection"),
        ("git://h.example/r", {"password": "x"}, "takes no credentials"),
        ("file:///r", {"password": "x"}, "takes no credentials"),
    ],
)
def test_what_a_connection_does_not_open(url: str, fields: dict[str, Any], message: str) -> None:
    """Found before Git is asked; without the password."""
    with pytest.raises(ProjectError, match=message) as caught:
        opened(url, **fields)
    assert "u:p" not in str(caught.value)


@pytest.mark.parametrize(
    "host", ["h.example", "https://h.example/x.git", "git@h.example:x", "ssh://g@H.example:22/x"]
)
def test_the_host_in_every_form(host: str) -> None:
    """A connection's host is a URL, or what is left of one."""
    assert access(host=host).host == "h.example"
    assert opened("ssh://git@h.example:2222/r", host=host, key_file="k").ssh is not None


def test_submodules_of_the_same_server_only() -> None:
    """Another host, another port or plain http gets nothing."""
    address = opened("https://h.example/a/r.git", password="x")  # noqa: S106
    for same in ("../s.git", "./s.git", "https://h.example/b/s.git"):
        assert address.submodule(same).credentials == "user:x"
    for other in ("https://i.example/s", "http://h.example/s", "https://h.example:8443/s"):
        assert address.submodule(other).credentials == ""
