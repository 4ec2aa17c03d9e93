"""Creates the bucket of MLflow's artifacts, unless it is there. Runs on MLflow's own Python.

It imports nothing of the package, which MLflow's environment has not.
"""

from __future__ import annotations

import sys


def ensure(endpoint: str, name: str) -> bool:
    """Create a bucket; return whether there was none.

    Args:
        endpoint: Address of an S3-compatible store; its credentials are found as boto3 finds them.
        name: The bucket's.

    Raises:
        botocore.exceptions.ClientError: when the store refuses.
    """
    import boto3
    from botocore.exceptions import ClientError

    # boto3 demands a region, which a store of one's own has not.
    store = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")
    try:
        store.head_bucket(Bucket=name)
    except ClientError as error:
        # A refusal (403) must not pass for an absence: the bucket may be somebody else's.
        if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:  # noqa: PLR2004
            raise
        store.create_bucket(Bucket=name)
        return True
    return False


if __name__ == "__main__":
    ensure(sys.argv[1], sys.argv[2])
