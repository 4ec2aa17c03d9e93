"""Real Git hosts on loopback: Git's own HTTP back end behind a password, and an SSH server."""

from __future__ import annotations

import base64
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import urlsplit

from tests.loopback import QuietHandler, answering


@dataclass
class HttpHost:
    """What an HTTP host serves, to whom, and what it was asked.

    Attributes:
        url: Its address.
        requests: Each request's path and Authorization header ('' for none), in order.
        command_lines: What every process of this machine was started with, at each request.
        down: Answers 503 while it is set.
    """

    url: str = ""
    requests: list[tuple[str, str]] = field(default_factory=list)
    command_lines: set[bytes] = field(default_factory=set)
    down: bool = False


@contextmanager
def http_host(folder: Path, credentials: str = "") -> Iterator[HttpHost]:
    """Serve the repositories in a folder by ``git http-backend``.

    Args:
        folder: Its repositories are ``<url>/<name>``.
        credentials: ``user:password`` that every request must bring; '' lets everybody in.
    """
    wanted = f"Basic {base64.b64encode(credentials.encode()).decode()}" if credentials else ""
    host = HttpHost()

    class Backend(QuietHandler, BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            given = self.headers.get("authorization", "")
            host.requests.append((self.path, given))
            host.command_lines |= _command_lines()
            if host.down:
                self.send_error(503)
            elif wanted and given != wanted:
                self._challenge()
            else:
                self._answer()

        def do_POST(self) -> None:
            self.do_GET()

        def _challenge(self) -> None:
            self.send_response(401)
            self.send_header("www-authenticate", 'Basic realm="git"')
            self.send_header("content-length", "0")
            self.end_headers()

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            # Unchecked: it answers, and exits with 1, where it does not have a commit.
            done = subprocess.run(
                ("git", "http-backend"),
                input=body,
                env=self._cgi(),
                capture_output=True,
                check=False,
            )
            head, _, content = done.stdout.partition(b"\r\n\r\n")
            fields = dict(line.split(": ", 1) for line in head.decode().splitlines())
            self.send_response(int(fields.pop("Status", "200").split()[0]))
            for name, value in fields.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def _cgi(self) -> dict[str, str]:
            parts = urlsplit(self.path)
            return {
                "PATH": os.environ["PATH"],
                "GIT_PROJECT_ROOT": str(folder),
                "GIT_HTTP_EXPORT_ALL": "1",
                "GIT_CONFIG_COUNT": "1",
                "GIT_CONFIG_KEY_0": "safe.directory",
                "GIT_CONFIG_VALUE_0": "*",
                "REQUEST_METHOD": self.command,
                "PATH_INFO": parts.path,
                "QUERY_STRING": parts.query,
                "CONTENT_TYPE": self.headers.get("content-type", ""),
                "HTTP_CONTENT_ENCODING": self.headers.get("content-encoding", ""),
                "HTTP_GIT_PROTOCOL": self.headers.get("git-protocol", ""),
            }

    with answering(Backend) as address:
        host.url = address
        yield host


@dataclass(frozen=True)
class SshHost:
    """An SSH server that lets one key in.

    Attributes:
        url: ``ssh://user@host:port``; a repository's folder follows.
        key: The private key that it lets in.
        known_hosts: The line by which a client knows it.
    """

    url: str
    key: Path
    known_hosts: str


@contextmanager
def ssh_host(folder: Path, passphrase: str = "") -> Iterator[SshHost]:
    """Run a real ``sshd`` of one's own, as the user who runs the tests.

    Args:
        folder: For its keys and configuration.
        passphrase: Of the key that it lets in; '' for none.
    """
    sshd = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
    assert sshd is not None
    for name, secret in (("host", ""), ("client", passphrase)):
        command = ("ssh-keygen", "-q", "-t", "ed25519", "-N", secret, "-f", folder / name)
        subprocess.run(command, check=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1:{port}\nHostKey {folder}/host\nPidFile none\nUsePAM no\n"
        f"AuthorizedKeysFile {folder}/client.pub\nStrictModes no\nPasswordAuthentication no\n"
        "KbdInteractiveAuthentication no\nPermitRootLogin yes\n"
    )
    if os.getuid() == 0:  # where sshd separates its privileges
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    server = subprocess.Popen(
        (sshd, "-D", "-e", "-f", folder / "sshd_config"), stderr=subprocess.DEVNULL
    )
    try:
        _await(port)
        user = subprocess.run(("id", "-un"), check=True, capture_output=True, text=True)
        host_key = " ".join((folder / "host.pub").read_text().split()[:2])
        yield SshHost(
            f"ssh://{user.stdout.strip()}@127.0.0.1:{port}",
            folder / "client",
            f"[127.0.0.1]:{port} {host_key}\n",
        )
    finally:
        server.terminate()
        server.wait(10)


def _command_lines() -> set[bytes]:
    found = set()
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has ended meanwhile
            found.add(entry.read_bytes())
    return found


def _await(port: int) -> None:
    for _ in range(100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    message = f"nothing listens on port {port}"
    raise AssertionError(message)
