"""Takes the command line of SeaweedFS's ``weed server -s3``, and serves S3 from plain folders.

Started as ``weed.py health ... URL`` it asks that address, as the image's wget would.
"""

from __future__ import annotations

import json
import sys
import urllib.request
from pathlib import Path
from typing import Any

HEALTH = "/healthz"


def options(arguments: list[str]) -> dict[str, str]:
    """Return ``-name=value`` arguments by name; those without a value are ``true``."""
    pairs = (argument.lstrip("-").partition("=") for argument in arguments)
    return {name: value or "true" for name, _, value in pairs}


def keys(path: Path) -> dict[str, str]:
    """Return the secret key of each access key in SeaweedFS's file of identities."""
    identities = json.loads(path.read_text("utf-8"))["identities"]
    given = (pair for identity in identities for pair in identity["credentials"])
    return {pair["accessKey"]: pair["secretKey"] for pair in given}


def application(data: Path, accounts: Path) -> Any:  # noqa: ANN401 -- an ASGI app
    """Return the server's app; the health address asks for no signature."""
    from nanio.app import build_app
    from nanio.auth.credentials import StaticCredentialResolver
    from nanio.config import Settings
    from nanio.storage.filesystem import FilesystemStorage

    class Storage(FilesystemStorage):
        """Ends a range where the object ends (RFC 9110, section 14.1.2), as every S3 does."""

        async def get_object(
            self,
            bucket: str,
            key: str,
            *,
            range_start: int | None = None,
            range_end: int | None = None,
        ) -> Any:  # noqa: ANN401 -- the server's own
            size = self.head_object(bucket, key).size
            if size == 0:
                range_start = range_end = None
            elif range_end is not None:
                range_end = min(range_end, size - 1)
            return await super().get_object(
                bucket, key, range_start=range_start, range_end=range_end
            )

    resolver = StaticCredentialResolver(keys(accounts))
    settings = Settings(data_dir=data, region="us-east-1", credentials=resolver)
    inner = build_app(settings)
    inner.state.storage = Storage(settings.data_dir, chunk_size=settings.chunk_size)

    async def app(scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401 -- ASGI's
        if scope["type"] == "http" and scope["path"] == HEALTH:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return
        await inner(scope, receive, send)

    return app


def main(arguments: list[str]) -> None:
    """Serve, or ask."""
    if arguments[:1] == ["health"]:
        urllib.request.urlopen(arguments[-1], timeout=5).close()  # noqa: S310 -- the compose file's
        return
    import uvicorn

    given = options(arguments[1:])
    app = application(Path(given["dir"]), Path(given["s3.config"]))
    uvicorn.run(app, host=given["ip.bind"], port=int(given["s3.port"]), access_log=False)


if __name__ == "__main__":
    main(sys.argv[1:])
