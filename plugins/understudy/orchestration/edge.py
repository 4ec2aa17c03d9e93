"""Where our errors become Airflow's: a retry where it can help, a failure at once where not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from airflow.sdk.exceptions import AirflowException, AirflowFailException

from understudy.errors import TrackingUnavailableError, UnderstudyError
from understudy.redact import redacted

if TYPE_CHECKING:
    from mlflow.exceptions import MlflowException


@contextmanager
def airflow_errors() -> Iterator[None]:
    """Raise AirflowFailException where a retry cannot help, AirflowException where it may."""
    try:
        yield
    except UnderstudyError as error:
        kind = AirflowException if error.can_retry else AirflowFailException
        raise kind(str(error)) from error
    except Exception as error:
        from mlflow.exceptions import MlflowException

        if isinstance(error, MlflowException):
            raise AirflowException(str(_refused(error))) from error
        raise


def _refused(error: MlflowException) -> TrackingUnavailableError:
    return TrackingUnavailableError(
        f"The MLflow server refused a call ({error.error_code}): {redacted(error.message[:500])}",
        allowed="calls on runs, models and artifacts that exist and that this user may touch",
        action="look at the run or model in MLflow; then clear this task",
    )
