"""The settings of the sinks. Nothing of Spark is imported here: every start reads them."""

from __future__ import annotations

import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError

from etl_lib.process.secrets import HIDDEN, BareUrl
from etl_lib.settings.jdbc_settings import JdbcSettings
from etl_lib.settings.strict_model import Location, Section

SinkName = Literal["parquet", "postgres", "redshift"]

_S3 = re.compile(r"s3a?://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/.+")


def _postgresql(url: str) -> str:
    parts = urlsplit(url.removeprefix("jdbc:"))
    is_whole = url.startswith("jdbc:postgresql://") and parts.hostname and len(parts.path) > 1 and "," not in url
    if not is_whole or parts.query or parts.fragment:
        raise PydanticCustomError(HIDDEN, "expected jdbc:postgresql://host:port/database, without parameters")
    return url


def _on_s3(location: str) -> str:
    if not _S3.fullmatch(location):
        raise ValueError("expected s3a://bucket/folder or s3://bucket/folder")
    return location


SchemaName = Annotated[str, StringConstraints(min_length=1)]


class ParquetSettings(Section):
    """Parquet files by date."""

    path: Location
    """The folder for the files of all tables."""


class PostgresSettings(JdbcSettings):
    """A schema in a PostgreSQL."""

    url: Annotated[BareUrl, AfterValidator(_postgresql)]
    """`jdbc:postgresql://host:5432/shop`: without credentials and parameters."""
    schema_name: SchemaName = "sales"
    """The schema that the tables are published into; it is made if there is none."""
    batch_size: Annotated[int, Field(ge=1)] = 10_000
    """Rows that a connection sends at a time."""

    @property
    def server(self) -> tuple[str, int, str]:
        """Host, port and database."""
        parts = urlsplit(self.url.removeprefix("jdbc:"))
        return str(parts.hostname), parts.port or 5432, parts.path.removeprefix("/")


class RedshiftSettings(Section):
    """A schema in an Amazon Redshift, which loads staged files from S3."""

    database: str
    staging: Annotated[Location, AfterValidator(_on_s3)]
    """The folder for the files of a publish that is under way, of this sink alone."""
    iam_role: str = "default"
    """The ARN of a role that Redshift may assume to read the staged files, or `default`."""
    workgroup: str | None = None
    """A serverless workgroup."""
    cluster: str | None = None
    """Or else a provisioned cluster."""
    secret_arn: str | None = None
    """Connect as the user of this secret in AWS Secrets Manager; the name of a secret, not its value."""
    db_user: str | None = None
    """With a cluster: connect as this user with a temporary password."""
    region: str | None = None
    schema_name: SchemaName = "sales"
    """The schema that the tables are published into; it is made if there is none."""
    timeout_s: Annotated[float, Field(gt=0)] = 3600
    """How long one batch of statements may take."""


class SinkSettings(Section):
    """Where each kind of sink is; the list `sinks` says which of them are published to."""

    parquet: ParquetSettings | None = None
    postgres: PostgresSettings | None = None
    redshift: RedshiftSettings | None = None
