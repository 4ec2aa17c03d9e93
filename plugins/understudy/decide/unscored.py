"""Why a champion has no numbers, as a cause that can be counted and a reason for a person."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from understudy.errors import (
    EXIT_BAD_DATA,
    EnvironmentBuildError,
    StepFailedError,
    StepStoppedError,
    UnderstudyError,
)
from understudy.gate import Cause
from understudy.store.artifacts import listed
from understudy.store.tracking import tracking_errors

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

_REASON_LIMIT: Final = 4000
"""Characters of a reason; MLflow refuses tags above 8000."""


def cause_of(client: MlflowClient, error: BaseException | None, model: str, version: str) -> Cause:
    """Return why a version could not be validated.

    Args:
        client: A client of the tracking server.
        error: What the validation ended with.
        model: The registered model.
        version: Its version.
    """
    # First, whatever the error: a validation of files that are gone fails in many ways.
    if _is_deleted(client, model, version):
        return Cause.DELETED
    if isinstance(error, EnvironmentBuildError):
        return Cause.ENVIRONMENT
    if isinstance(error, StepStoppedError):
        return Cause.STOPPED
    if isinstance(error, StepFailedError):
        return Cause.DATA if error.exit_code == EXIT_BAD_DATA else Cause.CRASHED
    return Cause.NOT_BEGUN if isinstance(error, UnderstudyError) else Cause.CRASHED


def _is_deleted(client: MlflowClient, model: str, version: str) -> bool:
    """Return whether the version or its files are gone."""
    from mlflow.exceptions import MlflowException

    try:
        with tracking_errors():
            files = client.get_model_version_download_uri(model, version)
        return not listed(client, files)
    except MlflowException as error:
        return bool(error.error_code == "RESOURCE_DOES_NOT_EXIST")


def as_tag(cause: Cause, reason: str) -> str:
    """Return cause and reason as the value of one tag."""
    return json.dumps([cause.value, reason[:_REASON_LIMIT]])


def from_tag(text: str) -> tuple[Cause, str] | None:
    """Return cause and reason, or None for an empty tag."""
    if not text:
        return None
    cause, reason = json.loads(text)
    return Cause(cause), str(reason)
