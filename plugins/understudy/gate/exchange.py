"""Requests to the gate's process and its results, as JSON files. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from understudy.gate.evidence import Earlier, Evidence, Moved
from understudy.gate.record import as_json, evidence_of

T = TypeVar("T", "GateRequest", "GateResult")


@dataclass(frozen=True, slots=True)
class RowFiles:
    """The rows of a night.

    Attributes:
        folder: What ``preprocess`` logged.
        as_of: ISO time of the night.
        profile: File with the profile of the rows that the champion was trained on; empty where
            there is none.
        before: Folder with these rows themselves; empty where it is not needed or there is none.
        absent: Why there is neither; empty without a champion.
    """

    folder: str
    as_of: str
    profile: str = ""
    before: str = ""
    absent: str = ""


@dataclass(frozen=True, slots=True)
class GateRequest:
    """One request to the gate's process.

    Attributes:
        rules: What ``Gate.to_dict`` gives.
        challenger: File of the challenger's predictions; empty where it has none.
        champion: File of the champion's; empty without a champion to compare with.
        earlier: Which challengers were compared before, by the digest of the holdout's rows.
        search_path: Folders in which the modules of a user's own metrics are looked for.
        rows: What the guards look at; None where the rules ask for none.
        span: Two moments (ISO 8601): only rows that came after the first one, and not after the
            second, are compared. None for all rows.
        refit: Whether the challenger is the champion's recipe, trained again: then only how far its
            predictions have moved is looked at.
    """

    rules: Mapping[str, Any]
    challenger: str = ""
    champion: str = ""
    earlier: Mapping[str, Earlier] = field(default_factory=dict)
    search_path: tuple[str, ...] = ()
    rows: RowFiles | None = None
    span: tuple[str, str] | None = None
    refit: bool = False

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> GateRequest:
        """Return the request that ``as_json`` made of one."""
        rows, span = stored["rows"], stored["span"]
        known = {
            "earlier": {rows: Earlier(**one) for rows, one in stored["earlier"].items()},
            "search_path": tuple(stored["search_path"]),
            "rows": rows and RowFiles(**rows),
            "span": span and tuple(span),
        }
        return cls(**{**stored, **known})


@dataclass(frozen=True, slots=True)
class GateResult:
    """What the gate's process found.

    Attributes:
        evidence: What the predictions say; of the challenger's alone where the champion's cannot
            be used.
        unusable: Why the champion's predictions cannot be used; empty where they can.
        software: Versions of what computed it, by package.
        summary: What the pictures of the record are drawn from.
        profile: Of the night's training rows (JSON), for later nights; empty without guards.
        moved: How far a refit's predictions have moved; None where that was not asked, or they
            cannot be used.
    """

    evidence: Evidence
    unusable: str = ""
    software: Mapping[str, str] = field(default_factory=dict)
    summary: Mapping[str, Any] = field(default_factory=dict)
    profile: str = ""
    moved: Moved | None = None

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> GateResult:
        """Return the answer that ``as_json`` made of one."""
        moved = stored["moved"] and Moved(
            stored["moved"]["rows"], *(float(stored["moved"][n]) for n in ("distance", "error"))
        )
        evidence = evidence_of(stored["evidence"])
        return cls(**{**stored, "evidence": evidence, "moved": moved})


def write(path: Path, items: Sequence[GateRequest | GateResult]) -> None:
    """Write requests or answers to a file, in one step."""
    # Renamed when complete: whoever waits for the file never reads half of it.
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(as_json(items), allow_nan=False), encoding="utf-8")
    draft.replace(path)


def read(path: Path, kind: type[T]) -> list[T]:
    """Return the requests or answers in a file."""
    return [kind.of(stored) for stored in json.loads(path.read_text(encoding="utf-8"))]
