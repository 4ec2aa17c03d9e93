"""The path that tasks deferred before the upgrade have stored; the trigger itself has moved."""

from understudy.airflow.remote_trigger import RemoteStepTrigger

__all__ = ["RemoteStepTrigger"]
