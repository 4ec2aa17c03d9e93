"""Asks this container's Celery worker, over the broker, whether it takes tasks: a health check.

The answer has come by way of the broker and from the process that takes the messages. Celery's own
command would import Airflow for it, every time.
"""

from __future__ import annotations

import socket
import sys

from understudy.containers.worker import passwords

# A worker answers from its main process, whatever its tasks do.
_PATIENCE_S = 5.0


def answers(broker_url: str, worker: str) -> bool:
    """Return whether a worker answers.

    Args:
        broker_url: The broker's address.
        worker: The worker's full name, such as ``celery@0123456789ab``.
    """
    from celery import Celery

    # Not current: this app is for one question, and no task is bound to it.
    with Celery(broker=broker_url, set_as_current=False) as app:
        return bool(app.control.ping(destination=[worker], timeout=_PATIENCE_S, limit=1))


def main() -> int:
    """Run the health check, and return its exit status."""
    broker_url = passwords()["broker_url"]
    # Celery's own name of a worker that is given none; the container's id is its host name.
    worker = f"celery@{socket.gethostname()}"
    if answers(broker_url, worker):
        return 0
    sys.stderr.write(f"{worker} does not answer within {_PATIENCE_S} s\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
