"""What Git is given to talk to one host, for as long as it does. Secrets go by environment only.

A key and a passphrase reach ssh through files below a scratch folder of their own (mode 0700, the
key 0600), which is gone with the conversation; the supervisor removes it should this process die.
"""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from understudy.errors import ProjectError
from understudy.runner.scratch import Scratch, scratch_folder
from understudy.spec.git_access import SshAccess
from understudy.spec.git_address import ProjectAddress

_PRIVATE = 0o600
_EXECUTABLE = 0o700
_PASSPHRASE = "UNDERSTUDY_SSH_PASSPHRASE"  # noqa: S105 - a variable's name
_ASKPASS = f'#!/bin/sh\nprintf "%s\\n" "${_PASSPHRASE}"\n'


@dataclass(frozen=True, slots=True)
class Conversation:
    """What one git command needs to talk to a host.

    Attributes:
        environment: Variables for git.
        secrets: What must be blotted out of its output.
        scratch: Folder that goes with the conversation, None for none.
    """

    environment: Mapping[str, str] = field(repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)
    scratch: Scratch | None = None


@contextlib.contextmanager
def conversation(address: ProjectAddress, scratch_root: Path) -> Iterator[Conversation]:
    """Yield what git needs to talk to an address's host.

    Raises:
        ProjectError: if a file that the connection names cannot be read.
    """
    environment = {**address.git_environment(), **protocols(address)}
    if address.ssh is None:
        yield Conversation(environment, address.secrets)
        return
    _check_files(address.ssh)
    with scratch_folder(scratch_root) as scratch:
        environment |= _ssh_environment(address.ssh, scratch.folder)
        yield Conversation(environment, address.secrets, scratch)


def protocols(address: ProjectAddress) -> dict[str, str]:
    """Return the protocols that Git may use: a remote repository must not lead to local files."""
    return {"GIT_ALLOW_PROTOCOL": "file" if address.is_local else "https:http:ssh:git"}


def _ssh_environment(ssh: SshAccess, folder: Path) -> dict[str, str]:
    environment = {"GIT_SSH_COMMAND": shlex.join(_ssh_command(ssh, folder))}
    if ssh.passphrase:
        askpass = _written(folder / "askpass", _ASKPASS, _EXECUTABLE)
        environment |= {
            "SSH_ASKPASS": askpass,
            "SSH_ASKPASS_REQUIRE": "force",
            "DISPLAY": os.environ.get("DISPLAY", ":"),  # before OpenSSH 8.4 it is the condition
            _PASSPHRASE: ssh.passphrase,
        }
    return environment


def _ssh_command(ssh: SshAccess, folder: Path) -> list[str]:
    options = {
        "BatchMode": "no" if ssh.passphrase else "yes",  # yes would not ask for the passphrase
        "ConnectTimeout": "20",
        "PasswordAuthentication": "no",
        "KbdInteractiveAuthentication": "no",
        "NumberOfPasswordPrompts": "1",
        "StrictHostKeyChecking": ssh.host_key_checking,
        "UserKnownHostsFile": _known_hosts(ssh, folder),
        "ProxyCommand": ssh.proxy_command,
    }
    command = ["ssh"]
    if key := _key(ssh, folder):
        command += ["-i", key, "-oIdentitiesOnly=yes"]
    if ssh.config_file:
        command += ["-F", ssh.config_file]
    if ssh.port:
        command += ["-p", str(ssh.port)]
    return command + [f"-o{name}={value}" for name, value in options.items() if value]


def _key(ssh: SshAccess, folder: Path) -> str:
    if ssh.private_key:
        return _written(folder / "key", ssh.private_key, _PRIVATE)
    return ssh.key_file


def _known_hosts(ssh: SshAccess, folder: Path) -> str:
    if ssh.known_hosts:
        return _written(folder / "known_hosts", ssh.known_hosts, _PRIVATE)
    if ssh.host_key_checking == "no":
        return os.devnull
    return ssh.known_hosts_file


def _written(path: Path, text: str, mode: int) -> str:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    return str(path)


def _check_files(ssh: SshAccess) -> None:
    for name in ("key_file", "known_hosts_file", "config_file"):
        path = getattr(ssh, name)
        if path and not os.access(path, os.R_OK):
            raise ProjectError(
                f"The connection's {name} {path!r} cannot be read on this worker",
                allowed="a file that the worker's user may read",
                action="put it there on every worker, or put its text into the connection",
            )
