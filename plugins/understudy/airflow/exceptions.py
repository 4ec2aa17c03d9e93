"""Where our errors become Airflow's: a retry where it can help, a failure at once where not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from airflow.sdk.exceptions import AirflowException, AirflowFailException

from understudy.errors import UnderstudyError
from understudy.store.tracking import refused


@contextmanager
def airflow_errors() -> Iterator[None]:
    """Raise AirflowFailException where a retry cannot help, AirflowException where it may."""
    try:
        yield
    except UnderstudyError as error:
        kind = AirflowException if error.can_retry else AirflowFailException
        raise kind(str(error)) from error
    # Imported only now: where nothing fails, no task pays for it. What MLflow refuses may be two
    # tasks wanting the same thing at once, so that another try may help.
    except Exception as error:
        from mlflow.exceptions import MlflowException

        if isinstance(error, MlflowException):
            raise AirflowException(str(refused(error))) from error
        raise
