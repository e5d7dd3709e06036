"""What a sink is: what a publish brings to it, what it shows, and how it fails."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from typing import ClassVar, Protocol

import pyarrow as pa
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame

from etl_lib.process.errors import LakehouseError, is_disk_full
from etl_lib.sinks.relations import Relation
from etl_lib.tables.merge import dates_literal
from etl_lib.tables.publishes import Publish


class SinkError(LakehouseError):
    """A sink could not do its part; what it shows is still what its last publish left."""


class PublishRefusedError(SinkError):
    """What is staged does not follow on what the sink shows: nothing was changed."""


@dataclass(frozen=True)
class Change:
    """One relation in a publish."""

    relation: Relation
    snapshot: DataFrame
    """The whole relation at the published version, in its declared columns."""
    keys: DataFrame | None
    """The groups with a row that came, changed or went: one row a value of `relation.group`; None for all groups."""
    dates: frozenset[date] | None
    """The values of order_date of such rows, before and now; None where all of the relation is to be written.

    So a relation without days has None when anything of it changed, and no dates when nothing did.
    """
    groups: int | None = None
    """How many keys there are; None for all groups."""

    @property
    def rows(self) -> DataFrame:
        """All rows that the changed groups have now."""
        if self.keys is None:
            return self.snapshot
        # Literal dates: open Delta skips files by nothing else.
        of_dates = self.snapshot if self.dates is None else self.snapshot.where(dates_literal("order_date", self.dates))
        return of_dates.join(self.keys, self.relation.group, "left_semi")


@dataclass(frozen=True)
class Changes:
    """All relations in a publish, by name, at versions that agree with each other."""

    publish: Publish
    relations: Mapping[str, Change]


@dataclass(frozen=True)
class Shown:
    """What a sink shows: its last publish, and the Delta versions that it was made of."""

    publish_id: str
    versions: Mapping[str, int]


class Sink(Protocol):
    """Where tables are published. SinkError for whatever it cannot do; then it shows what it showed before."""

    name: ClassVar[str]
    """The name in the configuration: parquet, postgres or redshift."""

    @property
    def address(self) -> str:
        """Where it is, without any secret: two sinks of one kind differ in it."""

    def shows(self) -> Shown | None:
        """The last publish, or None for a sink without any."""

    def publish(self, changes: Changes) -> Mapping[str, int]:
        """Show the changes, all at once; gives the rows written by relation. Again after an interruption: the same."""

    def row_counts(self) -> Mapping[str, int]:
        """The rows that it shows, by relation."""

    def sales_sums(self) -> list[tuple[object, ...]]:
        """(order_date, currency, row_count, units, line_amount) of fact_sales, by day and currency."""


@contextmanager
def sink_errors(what: str) -> Iterator[None]:
    """Errors of files and of Spark as SinkError; a full disk is told by the run, as elsewhere."""
    try:
        yield
    except (OSError, pa.ArrowException, PySparkException) as error:
        if is_disk_full(error):
            raise
        reason = (str(error).splitlines() or [""])[0]
        raise SinkError(f"{what}: {type(error).__name__}: {reason}") from error


def copy_manifest(files: Mapping[str, int]) -> str:
    """The manifest for a COPY of Parquet: S3 location to size in bytes; each file is mandatory."""
    entries = [
        {"url": location, "mandatory": True, "meta": {"content_length": size}}
        for location, size in sorted(files.items())
    ]
    return json.dumps({"entries": entries}, indent=2)
