"""What opens a private Git repository, read from an Airflow connection's fields. Pure.

The fields are those of the connection type ``git`` of ``apache-airflow-providers-git``, so that one
connection serves its Dag bundles and our projects. That package itself is not needed: its hook
prepares GitPython in the process's own environment, where this product starts git itself and lets
secrets live only as long as one fetch.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from understudy.errors import ProjectError, listed

HOST_KEY_CHECKING: Final = ("yes", "accept-new", "no")
"""What is done with an SSH host whose key is not known: refuse, trust once and for all, trust."""
_SYNONYMS: Final = {"off": "no", "ask": "yes", "": "yes"}
# Hosts that take a token as the password ignore the name.
_DEFAULT_USER: Final = "user"
_GITHUB_APP: Final = ("github_app_id", "github_installation_id")


@dataclass(frozen=True, slots=True)
class SshAccess:
    """How ssh is started.

    Attributes:
        key_file: Private key on the worker; '' for none.
        private_key: Text of a private key; '' for none.
        passphrase: Of the key; '' for none.
        host_key_checking: One of HOST_KEY_CHECKING.
        known_hosts_file: File with the host's key, in the place of the user's own; '' for that.
        known_hosts: Lines of such a file.
        config_file: ssh_config(5) in the place of the user's own; '' for that.
        proxy_command: ProxyCommand of ssh_config(5).
        port: 0 for the URL's or ssh's own.
    """

    key_file: str = ""
    private_key: str = field(default="", repr=False)
    passphrase: str = field(default="", repr=False)
    host_key_checking: str = "yes"
    known_hosts_file: str = ""
    known_hosts: str = ""
    config_file: str = ""
    proxy_command: str = field(default="", repr=False)
    port: int = 0

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must never be shown."""
        return tuple(secret for secret in (self.private_key, self.passphrase) if secret)


@dataclass(frozen=True, slots=True)
class GitAccess:
    """What a connection says.

    Attributes:
        connection: Its id, for messages.
        host: The host that it is for; '' for any.
        username: For https.
        password: Password or token for https; '' for none.
        ssh: For ssh.
    """

    connection: str
    host: str = ""
    username: str = _DEFAULT_USER
    password: str = field(default="", repr=False)
    ssh: SshAccess = SshAccess()

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must never be shown."""
        return (self.password, *self.ssh.secrets) if self.password else self.ssh.secrets

    def check_host(self, host: str) -> None:
        """Raise ProjectError if the connection is for another host."""
        if self.host and self.host != host:
            raise ProjectError(
                f"The connection {self.connection!r} is for the host {self.host!r}, the project is "
                f"on {host!r}",
                allowed="a connection whose host is the project's, or that names none",
                action="correct the connection or the project's address",
            )

    def user_and_password(self) -> str:
        """Return ``user:password``.

        Raises:
            ProjectError: if the connection has no password.
        """
        if self.password:
            return f"{self.username}:{self.password}"
        raise self._wrong(
            "has no password",
            "a password or an access token, for an https address",
            "put it into the connection's password, or use an ssh address",
        )

    @classmethod
    def of_connection(cls, connection: str, fields: Mapping[str, Any]) -> GitAccess:
        """Return what a connection's fields say.

        Args:
            connection: The connection's id.
            fields: ``host``, ``login``, ``password``, and those of its extra.

        Raises:
            ProjectError: for fields that contradict each other or are not understood.
        """
        text = {name: str(value) for name, value in fields.items() if value not in {None, ""}}
        access = cls(
            connection=connection,
            host=_host_name(text.get("host", "")),
            username=text.get("login", _DEFAULT_USER),
            password=text.get("password", ""),
        )
        # Checked before ssh's part is read, whose port has to be a number.
        access._check(text)
        return cls(access.connection, access.host, access.username, access.password, _ssh(text))

    def _check(self, text: Mapping[str, str]) -> None:
        for pair in (("key_file", "private_key"), ("known_hosts_file", "known_hosts")):
            if all(name in text for name in pair):
                raise self._wrong(f"has both {listed(pair)}", "one of them", "remove the other")
        for name in _GITHUB_APP:
            if name in text:
                raise self._wrong(
                    f"has {name!r}: signing in as a GitHub App is not supported",
                    "a token in password, or an SSH key",
                    "give it a fine-grained access token or a deploy key",
                )
        checking = text.get("strict_host_key_checking", "")
        # "ask" is ssh's default, and there is nobody on a worker to answer: refuse.
        if _SYNONYMS.get(checking, checking) not in HOST_KEY_CHECKING:
            raise self._wrong(
                f"has strict_host_key_checking {checking!r}",
                listed(HOST_KEY_CHECKING),
                "correct it in the connection's extra",
            )
        if not text.get("ssh_port", "0").isdecimal():
            raise self._wrong(f"has ssh_port {text['ssh_port']!r}", "a number", "correct it")

    def _wrong(self, found: str, allowed: str, action: str) -> ProjectError:
        return ProjectError(
            f"The connection {self.connection!r} {found}", allowed=allowed, action=action
        )


def _ssh(text: Mapping[str, str]) -> SshAccess:
    checking = text.get("strict_host_key_checking", "")
    return SshAccess(
        key_file=text.get("key_file", ""),
        private_key=_lines(text.get("private_key", "")),
        passphrase=text.get("private_key_passphrase", ""),
        host_key_checking=_SYNONYMS.get(checking, checking),
        known_hosts_file=text.get("known_hosts_file", ""),
        known_hosts=_lines(text.get("known_hosts", "")),
        config_file=text.get("ssh_config_file", ""),
        proxy_command=text.get("host_proxy_cmd", ""),
        port=int(text.get("ssh_port", "0")),
    )


def _lines(text: str) -> str:
    r"""Return text with the line ends that ssh wants, also where ``\n`` was written for them."""
    # ssh refuses a private key with other line ends, or without one at its end.
    text = text.replace("\r\n", "\n").strip()
    if "\n" not in text:
        text = text.replace("\\n", "\n").strip()
    return f"{text}\n" if text else ""


def _host_name(text: str) -> str:
    """Return the host of a repository's URL, or of a bare host name with or without a port."""
    matched = re.match(r"(?:[a-z+]+://)?(?:[^@/]*@)?(\[[^]]*\]|[^:/]*)", text.strip().lower())
    return matched[1].strip("[]") if matched else ""
