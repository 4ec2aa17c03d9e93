"""Parses a project's address: repository URL, subdirectory and credentials. Pure.

Credentials leave the URL here and go on as Git configuration in an environment, so that neither an
argument list nor a tag, log line or file ever holds them.
"""

from __future__ import annotations

import base64
import hashlib
import posixpath
import re
from dataclasses import dataclass, field, replace
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit

from understudy.errors import DeclarationError, ProjectError
from understudy.redact import passwords_in, redacted
from understudy.spec.git_access import GitAccess, SshAccess

_SCHEMES = ("https", "http", "ssh", "git", "file")
_SCP_LIKE = re.compile(
    r"(?P<user>[A-Za-z0-9_][\w.-]*)@(?P<host>[A-Za-z0-9][\w.-]*):(?P<path>[^:].*)"
)
_FORMS = (
    "https://host/repo.git, http://, ssh://, git://, user@host:repo.git, file:///folder or an "
    "absolute folder, each with #subdirectory if the MLproject is not at the top"
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_REFS = "/info/refs"
"""What Git asks of a repository first, below its URL."""
TEMPLATE = "{{"
"""What Airflow renders when a task runs begins so."""


@dataclass(frozen=True, slots=True)
class ProjectAddress:
    """Where an MLproject lives.

    Attributes:
        repository: URL without credentials, or an absolute folder; fit for logs and tags.
        subdirectory: Folder below the top of the repository, '' for the top; no leading '/'.
        is_folder: True for a plain folder, which is run as it is, without Git.
        credentials: ``user:password`` or ''; never shown.
        ssh: How ssh opens it; None for as this machine's user is set up.
    """

    repository: str
    subdirectory: str
    is_folder: bool = False
    credentials: str = field(default="", repr=False)
    ssh: SshAccess | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return f"{self.repository}#{self.subdirectory}" if self.subdirectory else self.repository

    @property
    def digest(self) -> str:
        """32 hex digits that stand for the repository, credentials left out."""
        return hashlib.sha256(self.repository.encode()).hexdigest()[:32]

    @property
    def is_local(self) -> bool:
        """Whether the repository is on this machine's file system."""
        return self.is_folder or self.repository.startswith("file:")

    @property
    def host(self) -> str:
        """The host's name, '' for one that is on this machine's file system."""
        if self.is_local:
            return ""
        matched = _SCP_LIKE.fullmatch(self.repository)
        return matched["host"].lower() if matched else urlsplit(self.repository).hostname or ""

    @property
    def takes_credentials(self) -> bool:
        """Whether the repository is reached by a protocol that can show who asks."""
        return not self.is_local and not self.repository.startswith("git:")

    @property
    def secrets(self) -> tuple[str, ...]:
        """What Git might repeat and nobody must see."""
        _, _, password = self.credentials.partition(":")
        ssh = self.ssh.secrets if self.ssh else ()
        return tuple(secret for secret in (password, *ssh) if secret)

    def git_environment(self) -> dict[str, str]:
        """Return the variables by which Git sends the credentials to this host, and no other."""
        if not self.credentials:
            return {}
        parts = urlsplit(self.repository)
        origin = f"{parts.scheme}://{parts.netloc}"
        # A header for this host alone, by environment: an argument would be in the process list,
        # and the URL in .git/config.
        token = base64.b64encode(self.credentials.encode()).decode()
        return {
            "GIT_CONFIG_COUNT": "3",
            "GIT_CONFIG_KEY_0": f"http.{origin}/.extraHeader",
            "GIT_CONFIG_VALUE_0": f"Authorization: Basic {token}",
            # Where they are refused, no helper of this machine shall answer in their place.
            "GIT_CONFIG_KEY_1": f"credential.{origin}.helper",
            "GIT_CONFIG_VALUE_1": "",
            # Git would take the header along to whichever server an answer names.
            "GIT_CONFIG_KEY_2": "http.followRedirects",
            "GIT_CONFIG_VALUE_2": "false",
        }

    def moved(self, location: str) -> dict[str, str]:
        """Return the variables by which Git asks at the place that this server redirects to.

        Args:
            location: Where the server says that the refs are, relative or absolute.

        Raises:
            ProjectError: if that is another scheme, host or port, which must not get credentials.
        """
        refs = urljoin(f"{self.repository}{_REFS}", location).partition("?")[0]
        place = refs.removesuffix(_REFS)
        if refs == place or _server(place).lower() != _server(self.repository).lower():
            raise ProjectError(
                f"The Git host redirects {self.repository} to {redacted(place)}, and credentials"
                " for the one are not sent to the other",
                allowed="with credentials, redirects on the same scheme, host and port",
                action="if it has moved there, write that address, and give the credentials for it",
            )
        return self.git_environment() | {
            "GIT_CONFIG_COUNT": "4",
            "GIT_CONFIG_KEY_3": f"url.{place}.insteadOf",
            "GIT_CONFIG_VALUE_3": self.repository,
        }

    def opened_by(self, access: GitAccess) -> ProjectAddress:
        """Return the address with the credentials of a connection.

        Raises:
            ProjectError: if the connection cannot open an address of this form or on this host.
        """
        access.check_host(self.host)
        if self.credentials:
            raise _refused(self.repository, "has credentials beside those of its connection")
        if not self.takes_credentials:
            raise _refused(self.repository, "is of a form that takes no credentials")
        if self.repository.startswith(("https://", "http://")):
            return replace(self, credentials=access.user_and_password())
        return replace(self, ssh=access.ssh)

    def submodule(self, url: str) -> ProjectAddress:
        """Return the address of a submodule; './' and '../' start at this repository.

        Raises:
            ProjectError: if the URL is not of a form that is allowed.
        """
        if not url.startswith(("./", "../")):
            inner = parse(url)
            # A remote repository could read the worker's own files by it (Git's CVE-2022-39253 was
            # of this kind).
            if inner.is_local and not self.is_local:
                raise _refused(url, "is a submodule on this machine's own file system")
            return self._sharing(inner)
        scheme_and_host, path = _split_path(self.repository)
        joined = posixpath.normpath(posixpath.join(path, url))
        if joined.startswith(".."):
            raise _refused(url, "is a submodule above its host's root")
        return self._sharing(ProjectAddress(scheme_and_host + joined, ""))

    def _sharing(self, inner: ProjectAddress) -> ProjectAddress:
        """Return a submodule's address with our credentials if its server is ours."""
        # Whoever writes .gitmodules names the server: ours must not get another's password.
        if inner.credentials or _server(inner.repository) != _server(self.repository):
            return inner
        return replace(inner, credentials=self.credentials, ssh=self.ssh)


def check_declared(project: str, connection: str, of: str) -> None:
    """Check the address of a project as it stands in a Dag file, which everybody may read.

    Args:
        project: The address. Of one with a template only a password that is written out is found:
            what a template renders to is masked when the task runs.
        connection: Airflow connection that opens it; '' for none, or where that is not known yet.
        of: What it is an argument of, for messages.

    Raises:
        DeclarationError: for credentials, and for a connection that cannot open such an address.
        ProjectError: if it is of no form that is allowed.
    """
    rendered_later = TEMPLATE in project
    address = None if rendered_later else parse(project)
    written_out = any(TEMPLATE not in secret for secret in passwords_in(project))
    if written_out if address is None else address.credentials:
        raise DeclarationError(
            f"{of}: the uri holds a user and a password, which Airflow would show",
            allowed="a uri without credentials",
            action="put them into an Airflow connection, and name it with connection= of Project, "
            "git_conn_id= of an operator",
        )
    if connection and address is not None and not address.takes_credentials:
        raise DeclarationError(
            f"{of}: a connection is named, {connection!r}, but {address.repository} is of a "
            "form that takes no credentials",
            allowed="a connection with an https or ssh uri",
            action="remove the connection, or correct the uri",
        )


def parse(project: str) -> ProjectAddress:
    """Parse ``repository[#subdirectory]``.

    Raises:
        ProjectError: if it is of no form that is allowed, or of a dangerous one.
    """
    repository, _, subdirectory = project.strip().partition("#")
    if repository.startswith("file:"):
        # A folder may have blanks, a URL has none.
        repository = repository.replace(" ", "%20")
    _check_characters(repository)
    subdirectory = _checked_subdirectory(subdirectory)
    if repository.startswith("/"):
        return ProjectAddress(posixpath.normpath(repository), subdirectory, is_folder=True)
    scheme, separator, _ = repository.partition("://")
    if not separator:
        # "transport::address" would start a helper program, as ext:: starts any.
        if not _SCP_LIKE.fullmatch(repository) or "::" in repository:
            raise _refused(repository, "is of no known form")
        return ProjectAddress(repository.rstrip("/"), subdirectory)
    if scheme.lower() not in _SCHEMES:
        raise _refused(repository, f"has the scheme {scheme!r}")
    return _url(repository, subdirectory)


def at_pinned(project: str, repository: str, subdirectory: str) -> str:
    """Return the address of a pinned project.

    Args:
        project: Address as it is given now; its credentials count where it is of that repository.
        repository: The pinned one, without credentials.
        subdirectory: The pinned one.
    """
    # Credentials are not pinned, and those of another repository are not sent to this one.
    same = parse(project).repository == repository
    top = project.strip().partition("#")[0] if same else repository
    return f"{top}#{subdirectory}" if subdirectory else top


def _url(repository: str, subdirectory: str) -> ProjectAddress:
    try:
        parts = urlsplit(repository)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise _refused(repository, f"is not a URL ({error})") from error
    if parts.query:
        raise _refused(repository, "has a query, which no Git URL has")
    if parts.scheme == "file":
        if parts.netloc not in {"", "localhost"} or not parts.path.startswith("/"):
            raise _refused(repository, "is not file:/// with an absolute folder")
        return ProjectAddress(f"file://{posixpath.normpath(parts.path)}", subdirectory)
    # ssh takes a host that begins with a dash for an option (CVE-2017-1000117).
    if not host or host.startswith("-") or parts.path.strip("/") == "":
        raise _refused(repository, "names no host or no repository")
    # urlsplit takes the brackets off an IPv6 address.
    netloc = (f"[{host}]" if ":" in host else host) + (f":{port}" if port else "")
    credentials = ""
    if parts.scheme == "ssh":
        netloc = _ssh_user(repository, parts.username, parts.password) + netloc
    elif parts.username is not None:
        credentials = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    if credentials and parts.scheme == "git":
        raise _refused(repository, "has credentials, which git:// would send to nobody")
    clean = urlunsplit((parts.scheme, netloc, parts.path.rstrip("/"), "", ""))
    return ProjectAddress(clean, subdirectory, credentials=credentials)


def _ssh_user(repository: str, user: str | None, password: str | None) -> str:
    if password:
        raise _refused(repository, "has a password, and ssh would show it to every user here")
    if user and not re.fullmatch(r"[A-Za-z0-9_][\w.-]*", user):
        raise _refused(repository, "has a user name that ssh could take for an option")
    return f"{user}@" if user else ""


def _check_characters(repository: str) -> None:
    if not repository:
        raise _refused(repository, "is empty")
    if repository.startswith("-"):
        raise _refused(repository, "begins with a dash, as an option does")
    if _CONTROL.search(repository):
        raise _refused(repository, "has control characters")
    if " " in repository and not repository.startswith("/"):
        raise _refused(repository, "has blanks (write a blank as %20)")


def _checked_subdirectory(subdirectory: str) -> str:
    parts = subdirectory.strip("/").split("/") if subdirectory.strip("/") else []
    absolute = subdirectory.startswith("/")
    # ".git" holds hooks and configuration, not files of the commit.
    if absolute or any(part in {"", ".", "..", ".git"} for part in parts) or "\0" in subdirectory:
        raise ProjectError(
            f"The subdirectory {subdirectory!r} is not inside the repository",
            allowed="a relative folder such as mlproject/tabular, without '..'",
            action="correct what follows '#' in the project",
        )
    return "/".join(parts)


def _split_path(repository: str) -> tuple[str, str]:
    matched = re.match(r"[a-z]+://[^/]*", repository)
    end = matched.end() if matched else repository.index(":") + 1
    return repository[:end], repository[end:]


def _server(repository: str) -> str:
    """Return what a repository's URL holds before the path: scheme, user, host and port."""
    return _split_path(repository)[0]


def _refused(repository: str, why: str) -> ProjectError:
    # A malformed URL cannot be parsed: all that could be user-info goes, however it is written.
    shown = re.sub(r"://.*@", "://", repository, flags=re.DOTALL)
    return ProjectError(
        f"The repository {shown!r} {why}",
        allowed=_FORMS,
        action="correct the project's address",
    )
