"""Where our errors become Airflow's: a retry where it can help, a failure at once where not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NoReturn

from airflow.sdk.exceptions import AirflowException, AirflowFailException

from understudy.errors import UnderstudyError
from understudy.redact import plain
from understudy.store.tracking import refused

if TYPE_CHECKING:
    from airflow.sdk import Context

CAUSE: Final = "understudy_cause"
"""Key of the XCom in which a task that fails leaves why, for the night's report."""


@contextmanager
def airflow_errors(context: Context | None = None) -> Iterator[None]:
    """Raise AirflowFailException where a retry cannot help, AirflowException where it may.

    Args:
        context: Airflow's context of a task of a night, which leaves its error for ``report``;
            None where nobody reads it.
    """
    try:
        yield
    except UnderstudyError as error:
        kind = AirflowException if error.can_retry else AirflowFailException
        _end(context, str(error), kind(str(error)), error)
    # Imported only now: where nothing fails, no task pays for it. What MLflow refuses may be two
    # tasks wanting the same thing at once, so that another try may help.
    except Exception as error:
        from mlflow.exceptions import MlflowException

        if isinstance(error, MlflowException):
            told = str(refused(error))
            _end(context, told, AirflowException(told), error)
        if not isinstance(error, AirflowException):
            told = plain(f"{type(error).__name__}: {error}")
            _end(context, told, error, error.__cause__)
        raise


def _end(
    context: Context | None, text: str, error: Exception, cause: BaseException | None
) -> NoReturn:
    """End a task with an error; leave the text of why for ``report``."""
    try:
        if context is not None:
            context["ti"].xcom_push(key=CAUSE, value=text)
    finally:
        # Also where Airflow does not take the note: then its own error is shown beside ours.
        raise error from cause
