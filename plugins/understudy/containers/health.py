"""Asks a service over HTTP whether it is well, for a health check. Reads one address.

The exit status is 0 for a service that is well, else 1, with the reason on stderr, where
`docker inspect` shows it. Standard library only: it is started every few seconds.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

# Below the 10 s after which the compose file's checks are killed: the reason is lost then.
_TIMEOUT_S = 8.0
_USAGE = "usage: health URL... [COMPONENT]"
_CREDENTIALS = "UNDERSTUDY_HEALTH_CREDENTIALS"
"""Environment variable that names a file as MLflow's clients read it, for the question."""


def ailment(url: str, component: str = "") -> str:
    """Return what is wrong, '' if nothing is.

    Args:
        url: What must answer with success.
        component: A component that Airflow's health report at that address must call healthy.
    """
    # A proxy of the user's has no business between two services.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    opener.addheaders = []
    if path := os.environ.get(_CREDENTIALS):
        # Most checks send no credentials, and start faster without this module.
        from understudy.containers.accounts import basic, credentials

        opener.addheaders = [("Authorization", basic(*credentials(Path(path))))]
    try:
        with opener.open(url, timeout=_TIMEOUT_S) as answer:
            content = answer.read()
    except (urllib.error.URLError, OSError) as error:
        return f"{url} does not answer with success: {error}"
    if not component:
        return ""
    status = _status(content, component)
    return "" if status == "healthy" else f"{url} calls {component} {status}"


def _status(report: bytes, component: str) -> str:
    try:
        parts = json.loads(report)
        return str((parts.get(component) or {}).get("status") or "absent")
    except (ValueError, AttributeError):
        return "nothing at all: this is no health report"


def main(arguments: Sequence[str]) -> int:
    """Run the health check, and return its exit status."""
    # A component belongs to the last address; those before it must only answer.
    urls = [argument for argument in arguments if "://" in argument]
    components = arguments[len(urls) :]
    if not urls or len(components) > 1 or any("://" in name for name in components):
        sys.stderr.write(f"{_USAGE}\n")
        return 1
    checks = [*((url, "") for url in urls[:-1]), (urls[-1], *components)]
    if reason := next(filter(None, (ailment(*check) for check in checks)), ""):
        sys.stderr.write(f"{reason}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
