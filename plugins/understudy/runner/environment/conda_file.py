"""Translates a conda.yaml for the Python index: names, versions, and what has no counterpart there.

Reads two tables beside it: ``conda_names.tsv``, which others maintain, and
``conda_exceptions.tsv``, our own with a reason a line. A name in neither is the same on the index.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Final

TOOLS: Final = ("pip", "setuptools", "wheel")
"""What conda's Python brings along; MLflow installs those that are named before all others."""
_NONE: Final = "-"
# The index counts builds of the same sources in a fourth part: 4.5.3.56.
_LONGER_VERSIONS: Final = frozenset({"opencv-python-headless"})
_ITEM: Final = re.compile(
    r"(?:(?P<channel>\S+?)::)?(?P<name>\w[\w.+-]*|\w)\s*(?P<rest>(?:[\s=<>!~\[*].*)?)"
)
# What follows the name: '=1.2' (any 1.2.x), '=1.2=build', '==1.2=build', ' 1.2 build'.
_PINNED: Final = (
    re.compile(r"=\s*(?P<version>[^=<>!~,|]+)=(?P<build>[^=<>!~,|]*)"),
    re.compile(r"==\s*(?P<version>[^=<>!~,|]+)=(?P<build>[^=<>!~,|]*)"),
    re.compile(r"(?P<version>[^\s=<>!~,|]+)\s+(?P<build>\w\S*)"),
)
_FIELD: Final = re.compile(r"(\w+)\s*=\s*(?:'([^']*)'|\"([^\"]*)\"|([^,\]]*))")
_TERM: Final = re.compile(r"(?P<operator>==|!=|>=|<=|~=|=|<|>)?(?P<version>[\w.!+*-]+)")
_PACKAGE_URL: Final = re.compile(
    r"\w+://\S+/(?P<name>[^/]+)-(?P<version>[^-/]+)-[^-/]+(\.conda|\.tar\.bz2)"
)
_SHOWN: Final = 8


class UntranslatableError(ValueError):
    """An item of a conda.yaml has a form that nobody can read; its text says which."""


@dataclass(frozen=True, slots=True)
class Translation:
    """What a conda.yaml asks for, in the index's words.

    Attributes:
        file: Its name.
        python: Requested Python, '' for any.
        lines: Requirements in place of conda's packages; pip, setuptools and wheel first.
        pip: Lines of its pip part, as they are.
        pairs: Item and requirement, for each of ``lines``.
        left_out: Item and why the index has nothing for it.
    """

    file: str
    python: str
    lines: tuple[str, ...]
    pip: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...]
    left_out: tuple[tuple[str, str], ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The lines without their versions."""
        return tuple(re.split(r"[=<>!~]", line)[0] for line in self.lines)

    def told(self) -> Iterator[str]:
        """Yield lines for the log: what became what, and what is not there."""
        changed = [f"{item} -> {line}" for item, line in self.pairs if item != line]
        if changed:
            more = f" and {len(changed) - _SHOWN} more" if len(changed) > _SHOWN else ""
            shown = ", ".join(changed[:_SHOWN])
            yield f"{self.file} was translated for the Python index: {shown}{more}"
        if lacking := self.lacking():
            yield lacking

    def lacking(self) -> str:
        """Return what only conda can install, with a way out; '' where there is nothing."""
        if not self.left_out:
            return ""
        reasons: dict[str, list[str]] = {}
        for item, why in self.left_out:
            reasons.setdefault(why, []).append(item)
        names = "; ".join(f"{', '.join(items)} ({why})" for why, items in reasons.items())
        return (
            f"Not installed of {self.file}, as no Python index has it: {names}. Where the step "
            "needs it: have it on the worker, or choose the environment manager 'conda' on a "
            "worker that has conda, or a docker_env"
        )

    def text(self) -> str:
        """Return all of it as the text of a requirements file."""
        width = max((len(line) for _, line in self.pairs), default=0)
        return "\n".join(
            (
                f"# What {self.file} asks conda for, as the Python index has it",
                f"# Python {self.python or 'of any version'}",
                *(f"{line:{width}}  # {item}" for item, line in self.pairs),
                *(f"# not installed: {item} ({why})" for item, why in self.left_out),
                *(("# and its pip part, as it is",) if self.pip else ()),
                "",
            )
        )


def translated(file: str, items: Sequence[object]) -> Translation:
    """Translate the dependencies of a conda.yaml.

    Args:
        file: Its name.
        items: The list ``dependencies``.

    Raises:
        UntranslatableError: for an item that is neither a package nor a pip part.
    """
    python = ""
    pip: list[str] = []
    tools: list[tuple[str, str]] = []
    packages: list[tuple[str, str]] = []
    left_out: list[tuple[str, str]] = []
    for item in items:
        if isinstance(item, dict) and set(item) == {"pip"}:
            pip += _lines(item["pip"] or [])
            continue
        if not isinstance(item, str):
            raise UntranslatableError(repr(item))
        name, version = _package(item.strip())
        # The address of a channel may hold a token.
        written = item.strip().rpartition("/")[2] if "://" in item else item.strip()
        if name == "python":
            python = _python(version)
        elif name in TOOLS:
            tools.append((written, name + version))
        else:
            known, why = _counterpart(name)
            if known == _NONE:
                left_out.append((written, why))
            else:
                packages.append((written, known + _fitting(known, version)))
    pairs = tuple(dict.fromkeys(tools + packages))
    lines = tuple(dict.fromkeys(line for _, line in pairs))
    return Translation(file, python, lines, tuple(pip), pairs, tuple(dict.fromkeys(left_out)))


def _lines(items: object) -> list[str]:
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise UntranslatableError(f"pip: {items!r}, which is no list of strings")
    return items


def _package(item: str) -> tuple[str, str]:
    """Return the name of conda's package and its versions as PEP 440 writes them."""
    if matched := _PACKAGE_URL.fullmatch(item):
        return matched["name"].lower(), _versions(matched["version"], fuzzy=False)
    matched = _ITEM.fullmatch(item)
    if matched is None:
        raise UntranslatableError(repr(item))
    rest = matched["rest"].strip()
    fields: dict[str, str] = {}
    if "[" in rest:
        rest, _, bracket = rest.partition("[")
        fields = {key: a or b or c for key, a, b, c in _FIELD.findall(bracket)}
    try:
        return matched["name"].lower(), _after_name((fields.get("version") or rest).strip())
    except ValueError as error:
        raise UntranslatableError(f"{item!r}: {error}") from error


def _after_name(rest: str) -> str:
    for pattern in _PINNED:
        if matched := pattern.fullmatch(rest):
            return _versions(matched["version"].strip(), fuzzy=False)
    fuzzy = rest.startswith("=") and not rest.startswith("==")
    return _versions(rest.removeprefix("=").strip() if fuzzy else rest, fuzzy=fuzzy)


def _versions(text: str, *, fuzzy: bool) -> str:
    """Return conda's version expression as a specifier; of alternatives the newest.

    PEP 440 has no "or", and each alternative satisfies who wrote them.
    """
    from packaging.version import Version

    alternatives = [
        [_term(term, fuzzy=fuzzy) for term in part.split(",") if term]
        for part in re.sub(r"\s+", "", text).split("|")
    ]

    def newest(terms: list[tuple[str, str]]) -> Version:
        return max((Version(v.removesuffix(".*")) for _, v in terms if v), default=Version("0"))

    chosen = max(alternatives, key=newest)
    return ",".join(operator + version for operator, version in chosen if version)


def _term(term: str, *, fuzzy: bool) -> tuple[str, str]:
    """Return operator and version; ('', '') for any."""
    from packaging.version import InvalidVersion, Version

    matched = _TERM.fullmatch(term)
    if matched is None:
        message = f"{term!r} is no version"
        raise ValueError(message)
    operator = matched["operator"] or ("=" if fuzzy else "==")
    version = re.sub(r"\.?\*$", "", matched["version"])
    any_after = version != matched["version"]
    try:
        Version(version)
    except InvalidVersion:
        # '*', or a scheme of conda's own, such as 2018i: the index has no such version.
        return "", ""
    released = re.fullmatch(r"[\d.]+", version) is not None
    if operator in {"=", "=="}:
        prefix = released and (any_after or operator == "=")
        return "==", f"{version}.*" if prefix else version
    return operator, f"{version}.*" if any_after and operator == "!=" else version


def _python(version: str) -> str:
    """Return a specifier of one version as ``find_python`` is asked for it."""
    exact = re.fullmatch(r"==([\d.]+?)(\.\*)?", version)
    return exact[1] if exact else version


def _fitting(known: str, version: str) -> str:
    exact = re.fullmatch(r"==([\d.]+)", version)
    return f"{version}.*" if known in _LONGER_VERSIONS and exact else version


def _counterpart(name: str) -> tuple[str, str]:
    """Return the index's name for a conda package, '-' for none, and why."""
    exact, patterns = _exceptions()
    if name in exact:
        return exact[name]
    if name in (names := _names()):
        return names[name], ""
    found = (entry for pattern, entry in patterns if fnmatchcase(name, pattern))
    return next(found, (name, ""))


@cache
def _names() -> dict[str, str]:
    return {name: of_index or name for name, of_index, _ in _table("conda_names.tsv")}


@cache
def _exceptions() -> tuple[dict[str, tuple[str, str]], list[tuple[str, tuple[str, str]]]]:
    rows = [(name, (of_index, why)) for name, of_index, why in _table("conda_exceptions.tsv")]
    return dict(rows), [row for row in rows if "*" in row[0]]


def _table(name: str) -> Iterator[tuple[str, str, str]]:
    for line in Path(__file__).with_name(name).read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            first, second, third, *_ = (*line.split("\t"), "", "")
            yield first, second, third
