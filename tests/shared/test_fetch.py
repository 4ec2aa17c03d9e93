"""Fetching over real HTTP: whole, resumed, begun anew; and what each failure says."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from shared.addresses import check_source, mirrored, without_secrets
from shared.errors import DataError, ParameterError, StorageError, UnavailableError, short
from shared.fetch import check_sha256, fetch
from tabular.datasets import find
from tabular.reading import Reading
from tabular.sources import bring

if TYPE_CHECKING:
    from tests.fixtures.file_server import FileServer

pytestmark = pytest.mark.unit

BODY = b"a,b\n" + b"1,2\n" * 200_000  # several blocks


def get(url: str, path: Path) -> Path:
    """Fetch without waiting between tries."""
    return fetch(url, path, sleep=lambda _seconds: None)


def test_a_whole_file_arrives(file_server: FileServer, tmp_path: Path) -> None:
    """Byte for byte, in one request."""
    url = file_server.serve("/a.csv", BODY)
    assert get(url, tmp_path / "a.csv").read_bytes() == BODY
    assert file_server.answers["/a.csv"].seen == [""]


@pytest.mark.parametrize("how", [{"resumable": True}, {"resumable": False}])
def test_a_broken_transfer_goes_on(
    file_server: FileServer, tmp_path: Path, how: dict[str, bool]
) -> None:
    """From where it stopped if the server can, else from the start; the file is whole."""
    url = file_server.serve("/a.csv", BODY, cuts=[1000, 500_000], **how)
    assert get(url, tmp_path / "a.csv").read_bytes() == BODY
    assert file_server.answers["/a.csv"].seen == ["", "bytes=1000-", "bytes=500000-"]


def test_half_a_file_is_not_enough(file_server: FileServer, tmp_path: Path) -> None:
    """A server that always breaks off: how much came of how much, and a retry may help."""
    url = file_server.serve("/a.csv", BODY, cuts=[100] * 9, resumable=False)
    with pytest.raises(UnavailableError, match=rf"\(100 of {len(BODY)} bytes\)") as raised:
        get(url, tmp_path / "a.csv")
    assert raised.value.exit_code == 69


@pytest.mark.parametrize(
    ("how", "error", "words"),
    [
        ({"status": 404}, ParameterError, "answered 404"),
        ({"status": 403}, ParameterError, "answered 403"),
        ({"status": 503}, UnavailableError, "status 503"),
        ({"kind": "text/html"}, DataError, "HTML page"),
    ],
)
def test_other_answers_are_told_apart(
    file_server: FileServer, tmp_path: Path, how: dict[str, Any], error: type[Exception], words: str
) -> None:
    """Gone for good, away for now, or a page instead of data."""
    url = file_server.serve("/a.csv", b"<html>", **how)
    with pytest.raises(error, match=words):
        get(url, tmp_path / "a.csv")


def test_nobody_there(tmp_path: Path) -> None:
    """A refused connection may be a matter of time."""
    with pytest.raises(UnavailableError, match="did not answer"):
        get("http://127.0.0.1:9/a.csv", tmp_path / "a.csv")


def test_a_full_disk_names_folder_and_bytes(file_server: FileServer, tmp_path: Path) -> None:
    """The kernel's own ENOSPC, through a file that is always full."""
    url = file_server.serve("/a.csv", BODY)
    full = tmp_path / "a.csv"
    full.symlink_to("/dev/full")
    with pytest.raises(StorageError, match=rf"no room for {len(BODY):,} bytes in {tmp_path}"):
        get(url, full)


def test_a_checksum_that_differs(tmp_path: Path) -> None:
    """Both digests are named; an HTML page is recognised as one."""
    path = tmp_path / "a.csv"
    path.write_bytes(b"a\n1\n")
    check_sha256(path, hashlib.sha256(b"a\n1\n").hexdigest(), "a.csv")
    with pytest.raises(DataError, match=f"checksum of a.csv is .*pinned SHA-256 {'0' * 64}"):
        check_sha256(path, "0" * 64, "a.csv")
    path.write_bytes(b"  <!DOCTYPE html><p>Log in</p>")
    with pytest.raises(DataError, match="HTML page"):
        check_sha256(path, "0" * 64, "a.csv")


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://ada:s3cret@host/x.csv", "https://host/x.csv"),
        (
            "https://host:8080/x.csv?id=5&token=s3cret#part",
            "https://host:8080/x.csv?id=5&token=***",
        ),
        ("https://host/x?X-Amz-Signature=s3cret", "https://host/x?X-Amz-Signature=***"),
        ("/data/x.csv", "/data/x.csv"),
    ],
)
def test_no_secret_is_shown(address: str, shown: str) -> None:
    """User, password and signed parts go; the rest stays readable."""
    assert without_secrets(address) == shown


@pytest.mark.parametrize(
    "address",
    [
        "https://ada:s3cret@host/x.csv",
        "https://host/x.csv?sig=s3cret",
        "s3://bucket/x",
        "ftp://h/x",
        "env:NO_SUCH_VARIABLE",
    ],
)
def test_other_sources_are_refused(address: str) -> None:
    """And the refusal does not repeat the password."""
    with pytest.raises(ParameterError) as raised:
        check_source(address)
    assert "s3cret" not in str(raised.value)


def test_a_signed_address_comes_from_the_environment(
    file_server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is fetched as it is, and what is stored of it does not show the signature."""
    url = file_server.serve("/x.csv", b"a,target\n1,2\n3,4\n")
    monkeypatch.setenv("DATA_URL", f"{url}?sig=s3cret")
    delivery = bring(find("csv"), "env:DATA_URL", Reading(), tmp_path)
    assert len(delivery.table.frame) == 2
    assert delivery.source == f"{url}?sig=***"


def test_the_mirror(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """None: the address itself. A URL replaces scheme and host. A folder holds the file by name."""
    url = "https://public.example/data/x.csv"
    assert mirrored(url, ["x.csv"]) == url
    monkeypatch.setenv("UNDERSTUDY_DATA_MIRROR", "http://127.0.0.1:80/copy/")
    assert mirrored(url, ["x.csv"]) == "http://127.0.0.1:80/copy/data/x.csv"
    monkeypatch.setenv("UNDERSTUDY_DATA_MIRROR", str(tmp_path))
    with pytest.raises(UnavailableError, match=r"has none of x\.csv"):
        mirrored(url, ["x.csv"])
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "x.csv").touch()
    assert mirrored(url, ["x.csv"]) == str(tmp_path / "below" / "x.csv")


def test_a_mirror_of_another_data_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A file of the same name is not taken for the one that lacks; under its own name it is."""
    other, right = tmp_path / "mnist", hashlib.sha256(BODY).hexdigest()
    other.mkdir()
    (other / "train.gz").write_bytes(b"digits")
    monkeypatch.setenv("UNDERSTUDY_DATA_MIRROR", str(tmp_path))
    address = ("https://public.example/train.gz", ["fashion/train.gz", "train.gz"], right)
    with pytest.raises(UnavailableError, match=r"has none of fashion/train\.gz, train\.gz"):
        mirrored(*address)
    (other / "train.gz").write_bytes(BODY)
    assert mirrored(*address) == str(other / "train.gz")
    (tmp_path / "fashion").mkdir()
    (tmp_path / "fashion" / "train.gz").touch()  # damaged: its checksum will say so
    assert mirrored(*address) == str(tmp_path / "fashion" / "train.gz")


def test_a_mirror_that_lacks_a_file_says_so(
    file_server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not the public address that is to be corrected."""
    monkeypatch.setenv("UNDERSTUDY_DATA_MIRROR", file_server.url)
    with pytest.raises(ParameterError, match="that is the mirror, which has no such file"):
        get(f"{file_server.url}/nothing.csv", tmp_path / "a.csv")


def test_long_messages_are_cut_between_words() -> None:
    """Of a library's message the first line, as far as it goes; one endless word is cut, too."""
    assert short("refused\nand more") == "refused"
    assert short("HTTPConnectionPool failed with a long reason", 32) == (
        "HTTPConnectionPool failed with ..."
    )
    assert short("x" * 40, 30) == f"{'x' * 30} ..."
