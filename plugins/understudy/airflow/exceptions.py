"""Where our errors become Airflow's: a retry where it can help, a failure at once where not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from airflow.sdk.exceptions import AirflowException, AirflowFailException

from understudy.errors import UnderstudyError
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
        try:
            if context is not None:
                context["ti"].xcom_push(key=CAUSE, value=str(error))
        finally:
            # Also where Airflow does not take the note: then its own error is shown beside ours.
            raise kind(str(error)) from error
    # Imported only now: where nothing fails, no task pays for it. What MLflow refuses may be two
    # tasks wanting the same thing at once, so that another try may help.
    except Exception as error:
        from mlflow.exceptions import MlflowException

        if isinstance(error, MlflowException):
            raise AirflowException(str(refused(error))) from error
        raise
