"""Runs git, quietly and without prompts, turns its messages into our errors, and reads its trees.

What a project's symbolic links lead to belongs to the project, wherever it lies in the repository:
so one folder can serve several projects.

Secrets go by environment only. A key and a passphrase reach ssh through files below a scratch
folder of their own (mode 0700, the key 0600), which is gone with the connection; the supervisor
removes it should this process die.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import Final

from understudy.contract import key_of
from understudy.errors import ProjectError, RepositoryUnavailableError
from understudy.redact import known, without_secrets
from understudy.runner.process.process import Command, ProcessRunner
from understudy.runner.scratch import Scratch, scratch_folder
from understudy.spec.git_access import SshAccess
from understudy.spec.git_address import ProjectAddress

# 120000 is the mode of a symbolic link in a Git tree.
_LINK: Final = re.compile(r"(?:\A|\0)120000 [^\t]*\t([^\0]+)")
# What `git cat-file --batch-check --follow-symlinks` prints in place of an object.
_LEADS_OUT: Final = b"symlink"
_NOWHERE: Final = frozenset({b"dangling", b"loop", b"notdir"})
_PRIVATE = 0o600
_EXECUTABLE = 0o700
_PASSPHRASE = "UNDERSTUDY_SSH_PASSPHRASE"  # noqa: S105 - a variable's name
_ASKPASS = f'#!/bin/sh\nprintf "%s\\n" "${_PASSPHRASE}"\n'


@dataclass(frozen=True, slots=True)
class GitConnection:
    """What one git command needs to talk to a host.

    Attributes:
        environment: Variables for git.
        secrets: What must be removed from its output.
        scratch: Folder that goes with the conversation, None for none.
        address: Whose credentials it has, None where it has none that a redirect could take along.
    """

    environment: Mapping[str, str] = field(repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)
    scratch: Scratch | None = None
    address: ProjectAddress | None = None


@contextlib.contextmanager
def conversation(address: ProjectAddress, scratch_root: Path) -> Iterator[GitConnection]:
    """Yield what git needs to connect to an address's host.

    Raises:
        ProjectError: if a file that the connection names cannot be read.
    """
    environment = {**address.git_environment(), **protocols(address)}
    if address.ssh is None:
        whose = address if address.credentials else None
        yield GitConnection(environment, address.secrets, address=whose)
        return
    _check_files(address.ssh)
    with scratch_folder(scratch_root) as scratch:
        environment |= _ssh_environment(address.ssh, scratch.folder)
        yield GitConnection(environment, address.secrets, scratch)


def protocols(address: ProjectAddress) -> dict[str, str]:
    """Return the protocols that Git may use: a remote repository must not lead to local files."""
    # Nor to ext::, which runs a command (git-remote-ext(1)).
    return {"GIT_ALLOW_PROTOCOL": "file" if address.is_local else "https:http:ssh:git"}


def _ssh_environment(ssh: SshAccess, folder: Path) -> dict[str, str]:
    environment = {"GIT_SSH_COMMAND": shlex.join(_ssh_command(ssh, folder))}
    if ssh.passphrase:
        askpass = _written(folder / "askpass", _ASKPASS, _EXECUTABLE)
        environment |= {
            "SSH_ASKPASS": askpass,
            "SSH_ASKPASS_REQUIRE": "force",
            # Before OpenSSH 8.4, which has REQUIRE, ssh uses SSH_ASKPASS only where this is set.
            "DISPLAY": os.environ.get("DISPLAY", ":"),
            _PASSPHRASE: ssh.passphrase,
        }
    return environment


def _ssh_command(ssh: SshAccess, folder: Path) -> list[str]:
    options = {
        # With "yes" ssh would not ask for the passphrase either.
        "BatchMode": "no" if ssh.passphrase else "yes",
        "ConnectTimeout": "20",
        "PasswordAuthentication": "no",
        "KbdInteractiveAuthentication": "no",
        "NumberOfPasswordPrompts": "1",
        "StrictHostKeyChecking": ssh.host_key_checking,
        "UserKnownHostsFile": _known_hosts(ssh, folder),
        "ProxyCommand": ssh.proxy_command,
    }
    command = ["ssh"]
    key = ssh.key_file
    if ssh.private_key:
        key = _written(folder / "key", ssh.private_key, _PRIVATE)
    if key:
        # Else ssh offers the agent's keys first, and hosts refuse after a few.
        command += ["-i", key, "-oIdentitiesOnly=yes"]
    if ssh.config_file:
        command += ["-F", ssh.config_file]
    if ssh.port:
        command += ["-p", str(ssh.port)]
    return command + [f"-o{name}={value}" for name, value in options.items() if value]


def _known_hosts(ssh: SshAccess, folder: Path) -> str:
    if ssh.known_hosts:
        return _written(folder / "known_hosts", ssh.known_hosts, _PRIVATE)
    if ssh.host_key_checking == "no":
        return os.devnull
    return ssh.known_hosts_file


def _written(path: Path, text: str, mode: int) -> str:
    # With its mode from the start: between open and chmod another process could read it.
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


CEILING = "GIT_CEILING_DIRECTORIES"
"""Variable with the folder that Git does not climb into to find a repository."""

_LOCAL_TIMEOUT_S = 120.0
_KEPT_LINES = 50
_NONE: Mapping[str, str] = MappingProxyType({})
_IN_SILENCE = GitConnection(_NONE)
# Nothing of a repository's or a user's configuration may run code in, or rewrite, a checkout. git's
# own maintenance would run on without our lock; LFS's filters would download, or fail without it.
# Large files are kept as they come: neither compressed again, nor compared with others.
_CONFIGURATION = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.autocrlf=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "fetch.recurseSubmodules=false",
    "fetch.fsckObjects=false",
    "fetch.unpackLimit=1",
    "core.bigFileThreshold=1m",
    "http.lowSpeedLimit=1000",
    "http.lowSpeedTime=60",
    "filter.lfs.smudge=",
    "filter.lfs.process=",
    "filter.lfs.required=false",
)
_HOST_KEY = re.compile(
    r"host key verification failed|host key is known for|host identification has changed"
    r"|no matching host key",
    re.IGNORECASE,
)
_NO_SSH = re.compile(r"cannot run ssh\b|ssh: (command )?not found", re.IGNORECASE)
_REFUSED = re.compile(
    r"authentication failed|could not read (username|password)|permission denied"
    r"|returned error: 40[13]|terminal prompts disabled|too many authentication failures"
    r"|load key .*|incorrect passphrase",
    re.IGNORECASE,
)
_MISSING = re.compile(
    r"repository .* not found|does not appear to be a git repository|not found: did you run"
    r"|No such file or directory|does not exist|not exported|access denied or repository"
    r"|unsafe repository|dubious ownership",
    re.IGNORECASE,
)
_NOT_TEXT = re.compile(r"\\x00|\ufffd")
_REDIRECTED = re.compile(r"returned error: 30[12378]")
_LOCATION = re.compile(r"Recv header:? Location: (\S+)", re.IGNORECASE)
_SAYING = re.compile(r"^(fatal|error|remote|ssh):")


class GitError(Exception):
    """A git command failed; the text is its output, without secrets. Internal to ``runner.git``."""


@dataclass(frozen=True, slots=True)
class Git:
    """Git; what may take long runs in a process of its own, for ``timeout`` seconds at most."""

    process_runner: ProcessRunner
    timeout: float

    def read(
        self, folder: Path, *arguments: str, variables: Mapping[str, str] = _NONE, given: str = ""
    ) -> str:
        """Return what a quick, local git command prints, stripped.

        Args:
            folder: Where it runs.
            arguments: What follows ``git``.
            variables: Further variables for it.
            given: What it reads on its standard input.

        Raises:
            GitError: if it fails.
        """
        done = subprocess.run(
            ("git", *_options(), *arguments),
            cwd=folder,
            env=self._variables(folder, variables),
            input=given.encode(errors="surrogateescape"),
            capture_output=True,
            check=False,
            timeout=_LOCAL_TIMEOUT_S,
        )
        if done.returncode:
            raise GitError(without_secrets(_plain(done.stderr.decode(errors="replace"))))
        return done.stdout.decode(errors="surrogateescape").strip()

    def run(
        self, folder: Path, *arguments: str, lock: int, talk: GitConnection = _IN_SILENCE
    ) -> list[str]:
        """Run a git command that may take long and can be stopped; return the lines of its output.

        Args:
            folder: Where it runs.
            arguments: What follows ``git``.
            lock: Descriptor of the lock under which it writes; git holds it until it has ended.
            talk: What it needs to connect to a host, or other variables that it needs.

        Raises:
            GitError: if it fails.
            StepStoppedError: if it was stopped.
        """
        try:
            return self._output(folder, arguments, lock, talk)
        except GitError as error:
            if talk.address is None or not _REDIRECTED.search(str(error)):
                raise
        moved = talk.address.moved(self._location(folder, arguments, lock, talk))
        talk = replace(talk, environment={**talk.environment, **moved})
        return self._output(folder, arguments, lock, talk)

    def _location(
        self, folder: Path, arguments: tuple[str, ...], lock: int, talk: GitConnection
    ) -> str:
        """Return where a host redirects a command to; '' where it does no longer."""
        # Git tells it in its trace only, which has no credentials (GIT_TRACE_REDACT in git(1)).
        traced = {"GIT_TRACE_CURL": "1", "GIT_TRACE_CURL_NO_DATA": "1", "GIT_TRACE_REDACT": "1"}
        talk = replace(talk, environment={**talk.environment, **traced})
        output: list[str] = []
        with contextlib.suppress(GitError):
            self._output(folder, arguments, lock, talk, output)
        found = (_LOCATION.search(line) for line in output)
        return next((one[1] for one in found if one), "")

    def _output(
        self,
        folder: Path,
        arguments: tuple[str, ...],
        lock: int,
        talk: GitConnection,
        heard: list[str] | None = None,
    ) -> list[str]:
        output: list[str] = [] if heard is None else heard
        scratch = talk.scratch
        command = Command(
            argv=("git", *_options(), *arguments),
            folder=folder,
            environment=self._variables(folder, talk.environment),
            timeout=self.timeout,
            grace=1.0,
            held_descriptors=(lock,) if scratch is None else (lock, scratch.lock),
            scratch=None if scratch is None else scratch.folder,
        )
        ending = self.process_runner.run(command, output.append)
        if ending.timed_out:
            raise GitError(f"timed out after {self.timeout:g} s")
        if not ending.ok:
            # A git that was ended by stop() has not failed: that is another error.
            self.process_runner.check()
            last = _plain("\n".join(output[-_KEPT_LINES:]))
            with known(talk.secrets):
                raise GitError(without_secrets(last) or str(ending))
        return output

    def _variables(self, folder: Path, extra: Mapping[str, str]) -> dict[str, str]:
        # GIT_DIR and its like would point every command at another repository.
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("GIT_", "AIRFLOW_"))}
        kept = {k: os.environ[k] for k in _KEPT_VARIABLES if k in os.environ}
        # English messages, which remote_error reads, and never a prompt: nobody is there to answer.
        fixed = {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C", "GIT_ASKPASS": "true"}
        # `git status` would rewrite the index of a user's working copy.
        fixed["GIT_OPTIONAL_LOCKS"] = "0"
        # In a damaged mirror git would go upwards, to a repository that the cache may lie in.
        fixed[CEILING] = str(folder.parent)
        ssh = {"GIT_SSH_COMMAND": "ssh -oBatchMode=yes -oConnectTimeout=20"}
        return {**inherited, **ssh, **kept, **fixed, **extra}


_KEPT_VARIABLES = ("GIT_SSH", "GIT_SSH_COMMAND", "GIT_SSL_CAINFO", "GIT_SSL_CAPATH")


def _plain(text: str) -> str:
    # A host's last words come with the NUL at their end (upload-pack.c), which a process's lines
    # show as \x00, and all of them padded.
    lines = (_NOT_TEXT.sub("", line).rstrip() for line in text.split("\n"))
    return "\n".join(lines).strip()


def _options() -> tuple[str, ...]:
    return tuple(part for setting in _CONFIGURATION for part in ("-c", setting))


def remote_error(error: GitError, repository: str) -> ProjectError | RepositoryUnavailableError:
    """Return the error to raise for a failed connection to a Git host."""
    # Only git's messages say what failed: its exit code is 128 for almost everything.
    message = _meaning(str(error))
    if _NO_SSH.search(message):
        return ProjectError(
            f"There is no ssh here, which {repository} is reached by: {message}",
            allowed="the program ssh on PATH",
            action="install OpenSSH's client on this worker, or use an https address",
        )
    if _HOST_KEY.search(message):
        return _unknown_host_key(repository, message)
    if _REFUSED.search(message):
        return ProjectError(
            f"The Git host refuses access to {repository}: {message}",
            allowed="a public repository, one that the project's connection may read, or one that "
            "this machine's own credentials may read",
            action="check the connection's token or key, or name a connection for the project",
        )
    if _MISSING.search(message):
        return ProjectError(
            f"There is no readable Git repository at {repository}: {message}",
            allowed="the URL of a repository that `git ls-remote` can read",
            action="correct the project's address; hosts also say this of a private repository",
        )
    return RepositoryUnavailableError(
        f"The Git host of {repository} did not answer as it should: {message}",
        allowed="a host that answers, or a full commit id that was fetched here before",
        action="check the host and the network; the task may simply be run again",
    )


def _unknown_host_key(repository: str, message: str) -> ProjectError:
    return ProjectError(
        f"The SSH host of {repository} does not show a key that is known here: {message}",
        allowed="a host whose key is in a known_hosts file, or in the connection's known_hosts",
        action="get the key from the host's administrator and put it there; if it has changed, "
        "find out why first",
    )


def _meaning(output: str) -> str:
    """Return the lines of git's output that matter, in one."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    patterns = (_SAYING, _NO_SSH, _HOST_KEY, _REFUSED)
    telling = [line for line in lines if any(known.search(line) for known in patterns)]
    return "; ".join(dict.fromkeys(telling or lines))[:600]


@dataclass(frozen=True, slots=True)
class CommitTree:
    """The tree of one folder of a commit that is in a mirror.

    Attributes:
        mirror: The bare repository.
        commit: Full id.
        folder: Path of the folder; '' for the top.
        tree: Git's id of its tree.
    """

    mirror: Path
    commit: str
    folder: str
    tree: str

    def with_links(self, git: Git) -> str:
        """Return what identifies the folder together with all that its links lead to.

        Without links that is Git's id. The commit's whole tree counts where no object of the mirror
        is behind a link, such as a file of a submodule, or where links lead to links in a tree that
        lies in two places, or in a circle: too much is safe, too little is not.

        Raises:
            ProjectError: if a link leads out of the repository.
        """
        ends: dict[str, str] = {}
        again, linking = set[str](), set[str]()
        waiting, seen = {self.tree: self.folder}, {self.tree}
        while waiting:
            tree, folder = waiting.popitem()
            listing = git.read(self.mirror, "ls-tree", "-r", "-z", tree)
            names = [f"{folder}/{name}".lstrip("/") for name in _LINK.findall(listing)]
            for name, (kind, found) in self._ends(git, names):
                ends[name] = found
                linking.add(tree)
                if found in seen:
                    again.add(found)
                elif kind == b"tree":
                    seen.add(found)
                    waiting[found] = name
        if not ends:
            return self.tree
        if "" in ends.values() or again & linking:
            ends[""] = git.read(self.mirror, "rev-parse", f"{self.commit}^{{tree}}")
        return key_of(self.tree, *chain.from_iterable(sorted(ends.items())))

    def _ends(self, git: Git, names: Sequence[str]) -> Iterator[tuple[str, tuple[bytes, str]]]:
        """Yield kind and id of what each link ends at; ('', '') where that is no object."""
        # cat-file reads one name a line.
        queried = [name for name in names if "\n" not in name]
        yield from ((name, (b"", "")) for name in names if "\n" in name)
        if not queried:
            return
        answer = git.read(
            *(self.mirror, "cat-file", "--batch-check", "--follow-symlinks"),
            given="".join(f"{self.commit}:{name}\n" for name in queried),
        ).encode(errors="surrogateescape")
        for name in queried:
            line, _, answer = answer.partition(b"\n")
            first, kind, *_ = line.split(b" ")
            # Git gives these the length of a second line: the target, or the name of the query.
            if first == _LEADS_OUT:
                target = answer[: int(kind)].decode(errors="replace")
                raise ProjectError(
                    f"The link {name!r} of the project leads out of its repository, to {target!r}",
                    allowed="links to files and folders of the same repository",
                    action="have what it leads to in the repository, or take the link away",
                )
            if first in _NOWHERE:
                answer = answer[int(kind) + 1 :]
            resolved = first not in _NOWHERE and kind != b"missing"
            yield name, (kind, first.decode()) if resolved else (b"", "")


def linked(git: Git, folder: Path, top: Path, upwards: dict[str, str]) -> tuple[Path, ...]:
    """Return what lies outside a folder in its working copy, and links in it lead to.

    Args:
        git: Git with the machine's settings.
        folder: The folder; what its repository ignores is not looked at.
        top: Top of the working copy.
        upwards: Variables that let Git look for it.
    """
    listing = ("ls-files", "--cached", "--others", "--exclude-standard", "-z")
    found, waiting = [folder.resolve()], [folder.resolve()]
    while waiting:
        place = waiting.pop()
        for name in git.read(place, *listing, variables=upwards).split("\0"):
            target = (place / name).resolve() if (place / name).is_symlink() else place
            known = any(target.is_relative_to(one) for one in found)
            if not known and target.exists() and target.is_relative_to(top):
                found.append(target)
                waiting.extend([target] if target.is_dir() else [])
    return tuple(found[1:])
