"""A publish: which versions of the tables a sink shows afterwards; one row each in etl_publishes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from pyspark.sql import Row
from pyspark.sql import functions as F

from etl_lib.tables.schemas import ETL_PUBLISHES
from etl_lib.tables.warehouse import Warehouse

COMPLETE, DIFFERS = "complete", "differs"
"""What etl_publishes says of a publish; DIFFERS when the sink was held against the tables and differs; else FAILED."""


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


def publish_of(warehouse: Warehouse, sink: str, address: str, publish_id: str) -> Row | None:
    """The row (status, versions, started_micros) of a publish to this sink; None when the ledger has none."""
    is_it = (F.col("publish_id") == publish_id) & (F.col("sink") == sink) & (F.col("address") == address)
    started = F.unix_micros("started_at").alias("started_micros")
    rows = warehouse.read(ETL_PUBLISHES).where(is_it).select("status", "versions", started).collect()
    return rows[0] if rows else None
