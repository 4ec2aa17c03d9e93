"""Texts of any length on an MLflow run: as a tag where it fits, else as an artifact.

MLflow cuts a tag off at its limit without a word, which would make half a text of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from understudy.contract import Tag
from understudy.store.artifacts import log_texts, read_text

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

LONGEST_TAG: Final = 5000  # characters; MLflow before 3 took no more
_ELSEWHERE: Final = "sha256:"


def as_tags(notes: Mapping[Tag, str]) -> dict[str, str]:
    """Return the tags of texts: the text, or the SHA-256 of one that must be an artifact."""
    return {tag.value: text if _fits(text) else _reference(text) for tag, text in notes.items()}


def write_long(client: MlflowClient, run: Run, notes: Mapping[Tag, str]) -> None:
    """Write those texts on a run that are too long for a tag; the tag then makes them valid."""
    long = {_artifact(tag): text for tag, text in notes.items() if not _fits(text)}
    if long:
        log_texts(client, run, long)


def read_note(client: MlflowClient, run: Run, tag: Tag) -> str:
    """Return a text of a run; '' where it was not written or is not what was written."""
    from mlflow.exceptions import MlflowException

    text = str(run.data.tags.get(tag.value, ""))
    if not text.startswith(_ELSEWHERE):
        return text
    try:
        found = read_text(client, run, _artifact(tag))
    except (MlflowException, OSError):
        return ""  # it was deleted
    return found if _reference(found) == text else ""


def _fits(text: str) -> bool:
    return len(text) <= LONGEST_TAG


def _reference(text: str) -> str:
    return _ELSEWHERE + hashlib.sha256(text.encode()).hexdigest()


def _artifact(tag: Tag) -> str:
    return f"{tag.value.replace('.', '/')}.json"
