"""A package index whose certificate only the system's trust store vouches for, as behind a proxy.

The store is real: in a mount namespace of its own, a program sees a folder with one more authority
where the system has its certificates.
"""

from __future__ import annotations

import os
import shutil
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path

import pytest
from tests.fixtures.wheels import wheel

from understudy.devstack import bootstrap

pytestmark = pytest.mark.integration

STORE = Path("/etc/ssl/certs")
BUNDLE = "ca-certificates.crt"
VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
SEEN_WITH = 'mount --bind "$1" "$2" && shift 2 && exec "$@"'
NAMESPACE = ("unshare", "--user", "--map-root-user", "--mount")
SET_UP = "import sys; from understudy.devstack.bootstrap import run; run(sys.argv[1:], doing='it')"


def openssl(*words: str | Path) -> None:
    """Run OpenSSL's own program."""
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with an authority, and with a certificate of 127.0.0.1 that it has signed."""
    if not (STORE / BUNDLE).exists() or not shutil.which("openssl"):
        pytest.skip(f"needs OpenSSL, and a system that has its certificates in {STORE}")
    folder = tmp_path_factory.mktemp("authority")
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout")
    ca, leaf = folder / "ca", folder / "leaf"
    named = ("-subj", "/CN=Some company", "-days", "2", "-out", f"{ca}.pem")
    openssl("req", "-x509", *key, f"{ca}.key", *named)
    openssl("req", *key, f"{leaf}.key", "-subj", "/CN=index", "-out", f"{leaf}.csr")
    (folder / "of_a_server").write_text("subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n")
    signed = ("-CA", f"{ca}.pem", "-CAkey", f"{ca}.key", "-CAcreateserial", "-days", "2")
    extensions = ("-extfile", folder / "of_a_server", "-out", f"{leaf}.pem")
    openssl("x509", "-req", "-in", f"{leaf}.csr", *signed, *extensions)
    return folder


@pytest.fixture(scope="module")
def index(authority: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the address of an index with one package, over HTTPS."""
    folder = tmp_path_factory.mktemp("index")
    wheel(folder / "vouched", "vouched", "1.0")
    serve = partial(SimpleHTTPRequestHandler, directory=str(folder))
    server = HTTPServer(("127.0.0.1", 0), serve)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority / "leaf.pem", authority / "leaf.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"https://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(params=["uv", "pip"])
def install(request: pytest.FixtureRequest, index: str, tmp_path: Path) -> list[str]:
    """Return the words that install the package into ``tmp_path/here``, by uv and by pip."""
    at = ["--index-url", index, "--target", str(tmp_path / "here"), "vouched"]
    if request.param == "uv":
        uv = Path(sys.executable).with_name("uv")
        return [str(uv), "--no-cache", "pip", "install", *at]
    tool = bootstrap.VirtualEnvironment("pip", tmp_path / "pip", tmp_path / "none.txt", None)
    bootstrap.run([sys.executable, "-m", "venv", tool.path], doing="python -m venv")
    return [str(tool.python), "-m", "pip", "install", "--no-cache-dir", *at]


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set nothing that names certificates."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)


def store_with(authority: Path, folder: Path) -> Path:
    """Return a copy of the system's store with one more authority, as its own tool would add it."""
    shutil.copytree(STORE, folder, ignore_dangling_symlinks=True)
    shutil.copy(authority / "ca.pem", folder / "company.pem")
    with (folder / BUNDLE).open("ab") as bundle:
        bundle.write((authority / "ca.pem").read_bytes())
    openssl("rehash", folder)
    return folder


def test_the_system_s_store_counts_without_a_word(
    authority: Path, install: list[str], tmp_path: Path
) -> None:
    """An authority that the company's machines know is known to the set-up."""
    if subprocess.run([*NAMESPACE, "true"], check=False, capture_output=True).returncode:
        pytest.skip("the kernel lets this user make no mount namespace")
    seen = [str(store_with(authority, tmp_path / "store")), str(STORE)]
    program = [sys.executable, "-c", SET_UP, *install]
    done = subprocess.run(
        [*NAMESPACE, "sh", "-c", SEEN_WITH, "sh", *seen, *program],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "here" / "vouched" / "__init__.py").exists()


def test_an_authority_that_nobody_knows_is_told_and_its_switches_work(
    authority: Path, install: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message names two variables; with them it goes."""
    with pytest.raises(bootstrap.SetupError, match="name its file in SSL_CERT_FILE and PIP_CERT"):
        bootstrap.run(install, doing="installing")
    for name in ("SSL_CERT_FILE", "PIP_CERT"):
        monkeypatch.setenv(name, str(authority / "ca.pem"))
    bootstrap.run(install, doing="installing")
    assert (tmp_path / "here" / "vouched" / "__init__.py").exists()
