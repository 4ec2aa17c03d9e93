"""Writes all objects of a bucket to a tar archive, or reads them back. Runs on MLflow's own Python.

It imports nothing of the package, which MLflow's environment has not. The archive goes to standard
output, or comes from standard input, one object at a time: neither disk nor memory holds it.
"""

from __future__ import annotations

import os
import sys
import tarfile
import tempfile
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

# Bytes of an object that need no temporary file.
_IN_MEMORY = 16 << 20


def save(store: Any, bucket: str, archive: IO[bytes]) -> int:  # noqa: ANN401 -- boto3's client
    """Write every object; return how many there were."""
    count = 0
    # "w|" and "r|": streams of blocks, for pipes cannot seek.
    with tarfile.open(fileobj=archive, mode="w|") as tar:
        # By pages: a listing holds 1000 objects at most (S3's ListObjectsV2).
        pages = store.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        for entry in (one for page in pages for one in page.get("Contents", ())):
            answer = store.get_object(Bucket=bucket, Key=entry["Key"])
            member = tarfile.TarInfo(entry["Key"])
            member.size = answer["ContentLength"]
            member.mtime = int(entry["LastModified"].timestamp())
            tar.addfile(member, answer["Body"])
            count += 1
    return count


def load(store: Any, bucket: str, archive: IO[bytes]) -> int:  # noqa: ANN401 -- boto3's client
    """Put every object of an archive; return how many there were."""
    count = 0
    with tarfile.open(fileobj=archive, mode="r|") as tar:
        for member in tar:
            content = tar.extractfile(member)
            # A folder of an archive that somebody else made: a store has objects only.
            if content is None:
                continue
            # boto3 reads an object again to retry, and a pipe cannot go back: hence the copy.
            with tempfile.SpooledTemporaryFile(_IN_MEMORY) as whole:
                while block := content.read(1 << 20):
                    whole.write(block)
                whole.seek(0)
                store.upload_fileobj(whole, bucket, member.name)
            count += 1
    return count


def main(action: str, bucket: str) -> None:
    """Do one of both, with the store that the environment names; write the count to stderr."""
    import boto3

    store = boto3.client("s3", endpoint_url=os.environ["MLFLOW_S3_ENDPOINT_URL"])
    actions: dict[str, tuple[Callable[..., int], IO[bytes]]] = {
        "save": (save, sys.stdout.buffer),
        "load": (load, sys.stdin.buffer),
    }
    act, stream = actions[action]
    sys.stderr.write(f"{act(store, bucket, stream)} objects\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
