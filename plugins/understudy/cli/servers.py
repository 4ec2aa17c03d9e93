"""Lets a command's complaint about MLflow be one message. Touches nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def mlflow_errors() -> Iterator[None]:
    """Turn a call that MLflow refused into an error of ours, which ``main`` prints.

    Raises:
        TrackingRefusedError: instead of MLflow's own exception.
        TrackingUnavailableError: ditto, where running it again may help.
    """
    from mlflow.exceptions import MlflowException

    from understudy.store.tracking import refused

    try:
        yield
    except MlflowException as error:
        raise refused(error) from error
