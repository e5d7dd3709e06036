"""Services of AWS that tests talk to: moto's, over HTTP on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.request import urlopen

import boto3  # type: ignore[import-untyped, unused-ignore]
from moto.server import ThreadedMotoServer

REGION = "eu-central-1"
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "example",
    "AWS_REGION": REGION,
    "AWS_DEFAULT_REGION": REGION,
    "AWS_EC2_METADATA_DISABLED": "true",
}


@contextmanager
def aws_server() -> Iterator[str]:
    """The address of a server that speaks AWS's protocols and knows nothing yet.

    All servers of a process share what they keep, so it is forgotten first.
    """
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        endpoint = "http://{}:{}".format(*server.get_host_and_port())
        forget(endpoint)
        yield endpoint
    finally:
        server.stop()


def forget(endpoint: str) -> None:
    """What the server at this address keeps is gone."""
    with urlopen(f"{endpoint}/moto-api/reset", data=b""):  # noqa: S310 - the server of this test
        pass


@dataclass(frozen=True)
class Bucket:
    """One bucket, and the address of its server."""

    name: str
    endpoint: str
    client: Any

    @property
    def environment(self) -> dict[str, str]:
        """Of a process that is to find the bucket by AWS's standard chain."""
        return {**CREDENTIALS, "AWS_ENDPOINT_URL": self.endpoint}

    @property
    def spark(self) -> dict[str, str]:
        """The settings with which Spark's S3A finds the bucket."""
        return {"spark.hadoop.fs.s3a.endpoint": self.endpoint, "spark.hadoop.fs.s3a.path.style.access": "true"}

    def put(self, key: str, content: bytes) -> None:
        self.client.put_object(Bucket=self.name, Key=key, Body=content)

    def get(self, key: str) -> bytes:
        content: bytes = self.client.get_object(Bucket=self.name, Key=key)["Body"].read()
        return content

    def files(self, prefix: str = "") -> set[str]:
        """But for the empty objects that stand for folders."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix)
        keys = {found["Key"] for page in pages for found in page.get("Contents", ())}
        return {key for key in keys if not key.endswith("/")}


@contextmanager
def s3_bucket(name: str = "lake") -> Iterator[Bucket]:
    """An empty bucket on a server of its own."""
    with aws_server() as endpoint:
        client = boto3.client(
            "s3",
            endpoint_url=endpoint,
            region_name=REGION,
            aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        )
        client.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
        try:
            yield Bucket(name, endpoint, client)
        finally:
            client.close()
