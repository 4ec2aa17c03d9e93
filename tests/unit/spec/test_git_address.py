"""Project addresses: what is accepted, what is refused, and where credentials go."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.errors import ProjectError
from understudy.spec.git_address import parse

pytestmark = pytest.mark.unit

PASSWORD = "s3cr3t-T0ken"  # noqa: S105 - the point of these tests


@pytest.mark.parametrize(
    ("project", "repository", "subdirectory"),
    [
        ("https://host/r.git", "https://host/r.git", ""),
        (
            "https://host:8443/a/r.git#mlproject/tabular",
            "https://host:8443/a/r.git",
            "mlproject/tabular",
        ),
        ("http://[::1]:80/r.git", "http://[::1]:80/r.git", ""),
        ("git://host/r.git#sub", "git://host/r.git", "sub"),
        ("ssh://git@host:22/r.git", "ssh://git@host:22/r.git", ""),
        ("git@host:team/r.git#a.b", "git@host:team/r.git", "a.b"),
        ("file:///srv//r.git/", "file:///srv/r.git", ""),
        ("file://localhost/srv/r.git", "file:///srv/r.git", ""),
        ("/srv/models/", "/srv/models", ""),
        ("/srv/my models#sub", "/srv/my models", "sub"),
        ("file:///srv/my models/r.git", "file:///srv/my%20models/r.git", ""),
        ("https://host/r.git#", "https://host/r.git", ""),
        ("https://host/r.git#sub/", "https://host/r.git", "sub"),
    ],
)
def test_accepted(project: str, repository: str, subdirectory: str) -> None:
    """Every form of MLflow's is understood."""
    address = parse(project)
    assert (address.repository, address.subdirectory) == (repository, subdirectory)
    assert address.is_folder == project.startswith("/")


@pytest.mark.parametrize(
    ("project", "why"),
    [
        ("", "is empty"),
        ("ext::sh", "no known form"),
        ("host:path", "no known form"),
        ("--upload-pack=x", "begins with a dash"),
        ("ssh://-oProxyCommand=x/r.git", "names no host"),
        ("ssh://-l@host/r.git", "option"),
        ("-x@host:r.git", "begins with a dash"),
        ("ftp://host/r.git", "scheme 'ftp'"),
        ("https://host", "no repository"),
        ("https:///r.git", "no host"),
        ("https://host:port/r.git", "not a URL"),
        ("https://host/r.git?token=x", "query"),
        ("https://host/a b.git", "blanks"),
        ("https://host/r\n.git", "control characters"),
        ("/srv/r\n.git", "control characters"),
        ("ssh://user:pw@host/r.git", "has a password"),
        ("git://user:pw@host/r.git", "has credentials"),
        ("file://host/r.git", "not file:///"),
        ("https://host/r.git#../x", "not inside"),
        ("https://host/r.git#/etc", "not inside"),
        ("https://host/r.git#a//b", "not inside"),
        ("https://host/r.git#a/.git/hooks", "not inside"),
    ],
)
def test_refused(project: str, why: str) -> None:
    """What is dangerous or of no use is refused, with the reason."""
    with pytest.raises(ProjectError, match=r"Allowed: .* Next: ") as caught:
        parse(project)
    assert why in str(caught.value)
    assert "pw" not in str(caught.value)


def test_credentials_go_to_an_environment_for_this_host_only() -> None:
    """The password is in one variable's value, encoded, and nowhere else."""
    address = parse(f"https://ada:{PASSWORD}@host:8443/r.git#sub")
    assert PASSWORD not in f"{address} {address!r} {address.digest}"
    variables = address.git_environment()
    assert variables["GIT_CONFIG_KEY_0"] == "http.https://host:8443/.extraHeader"
    assert variables["GIT_CONFIG_VALUE_0"].startswith("Authorization: Basic ")
    assert address.digest == parse("https://host:8443/r.git").digest


@given(
    user=st.text("abcXYZ09._~-%", min_size=1),
    password=st.text("abcXYZ09!$&'()*+,;=:._~-", min_size=6),
)
def test_no_error_and_no_address_shows_a_password(user: str, password: str) -> None:
    """Whatever the user-info holds, it stays out of what people read."""
    secret = f"<{password}>"  # never part of the rest by chance
    for project in (f"https://{user}:{secret}@host/r.git", f"ssh://{user}:{secret}@host/r.git"):
        try:
            shown = repr(parse(project))
        except ProjectError as error:
            shown = str(error)
        assert secret not in shown


@given(st.text("abc./\\ #-\x00", max_size=20))
def test_no_subdirectory_leads_out(subdirectory: str) -> None:
    """A subdirectory that is accepted has no part that goes up, and is relative."""
    try:
        address = parse(f"https://host/r.git#{subdirectory}")
    except ProjectError:
        return
    assert not address.subdirectory.startswith("/")
    assert ".." not in address.subdirectory.split("/")


@pytest.mark.parametrize(
    ("repository", "url", "expected"),
    [
        ("https://host/team/r.git", "../lib.git", "https://host/team/lib.git"),
        ("https://host/team/r.git", "./lib.git", "https://host/team/r.git/lib.git"),
        ("git@host:team/r.git", "../lib.git", "git@host:team/lib.git"),
        ("file:///srv/r", "../lib", "file:///srv/lib"),
        ("https://host/r.git", "https://other/lib.git", "https://other/lib.git"),
    ],
)
def test_submodules(repository: str, url: str, expected: str) -> None:
    """Relative submodule URLs start at the repository, as git-submodule(1) says."""
    assert parse(repository).submodule(url).repository == expected
