"""The publishes of the ledger: which sink shows which versions of the tables, a row each in etl_publishes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from pyspark.sql import Row
from pyspark.sql import functions as F

from etl_lib.tables.ledger import append_values
from etl_lib.tables.schemas import ETL_PUBLISHES
from etl_lib.tables.warehouse import Warehouse

COMPLETE, DIFFERS = "complete", "differs"


@dataclass(frozen=True)
class Publish:
    """One publish: what it brings, and what the sink has to show before it."""

    publish_id: str
    previous: str | None
    """The publish on which the changes were computed; None for a sink that has none."""
    versions: Mapping[str, int]
    """The Delta versions of the tables that the sink shows afterwards."""
    published_at: datetime
    """With a time zone."""
    is_full: bool = False
    """Whether everything is staged: then what is not staged is deleted, whatever the staged keys say."""

    def __post_init__(self) -> None:
        """ValueError for a time without a zone."""
        if self.published_at.tzinfo is None:
            raise ValueError(f"published_at {self.published_at} has no time zone")

    @property
    def versions_json(self) -> str:
        """The versions as JSON in one spelling."""
        return json.dumps(dict(sorted(self.versions.items())), separators=(",", ":"))


@dataclass(frozen=True)
class PublishEntry:
    """What etl_publishes says of a publish; `status` is COMPLETE, DIFFERS (from the tables, when held against them)
    or FAILED.
    """

    publish: Publish
    run_id: str
    sink: str
    address: str
    status: str
    groups: Mapping[str, int]
    """The groups that it brought, by table; none of a full publish."""
    rows: Mapping[str, int]
    message: str | None
    ended_at: datetime


def write_publish(warehouse: Warehouse, entry: PublishEntry) -> None:
    """Append the one row of a publish."""
    publish = entry.publish
    row = (
        publish.publish_id,
        entry.run_id,
        entry.sink,
        entry.address,
        entry.status,
        publish.is_full,
        publish.previous,
        dict(publish.versions),
        dict(entry.groups),
        dict(entry.rows),
        entry.message,
        publish.published_at,
        entry.ended_at,
    )
    append_values(warehouse, ETL_PUBLISHES, [row])


def publish_of(warehouse: Warehouse, sink: str, address: str, publish_id: str) -> Row | None:
    """The row (status, versions, started_micros) of a publish to this sink; None when the ledger has none."""
    is_it = (F.col("publish_id") == publish_id) & (F.col("sink") == sink) & (F.col("address") == address)
    started = F.unix_micros("started_at").alias("started_micros")
    found = warehouse.read(ETL_PUBLISHES).where(is_it).select("status", "versions", started).collect()
    return found[0] if found else None
