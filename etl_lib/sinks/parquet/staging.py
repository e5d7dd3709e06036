"""The new files of a publish: what has to be written, and how Spark writes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from etl_lib.process.concurrently import concurrently
from etl_lib.process.output import located
from etl_lib.sinks.parquet.folder import Found, PublishedFolder, file_name, for_each
from etl_lib.sinks.parquet.manifest import Manifest, PublishedFile, columns_of, is_by_date
from etl_lib.sinks.relations import RELATIONS, Relation
from etl_lib.sinks.sales_wide import WIDE, dates_of, on_dates, sales_wide
from etl_lib.sinks.sink import Changes, SinkError
from etl_lib.tables.schemas import DIM_ORDER, DIM_PRODUCT, DIM_USER, FACT_SALES

ROWS_PER_FILE = 5_000_000
"""A date with more has several files: an object store copies 5 GB at once, and not more."""

_FOLDER = "published_date"
_ARROW = {
    "STRING": pa.string(),
    "INT": pa.int32(),
    "BIGINT": pa.int64(),
    "BOOLEAN": pa.bool_(),
    "DATE": pa.date32(),
    "TIMESTAMP": pa.timestamp("us", tz="UTC"),
}


@dataclass(frozen=True)
class Part:
    """What a publish writes of one table: the rows of some dates, which may have none any more, or all of it (None)."""

    relation: Relation
    rows: DataFrame
    dates: frozenset[date] | None

    @property
    def is_empty(self) -> bool:
        """Whether nothing of the table changes."""
        return self.dates is not None and not self.dates


def parts(changes: Changes, current: Manifest | None, found: Found) -> list[Part]:
    """What is to be written of each table, the wide one included.

    That is what changed, and besides it what `current` lists and is not there as it was written: a lost file comes
    back with the next publish. A table whose declared columns have changed is written anew.
    """
    snapshots = {name: change.snapshot for name, change in changes.relations.items()}
    changed = {} if changes.publish.is_full else {name: each.dates for name, each in changes.relations.items()}
    damaged = _damaged(current, found)
    written = []
    for relation in (*RELATIONS, WIDE):
        dates: frozenset[date] | None = None
        if not changes.publish.is_full and _is_shown(current, relation):
            dates = _wide_dates(changes, changed) if relation is WIDE else changed[relation.name]
        if dates is not None and (days := damaged[relation.name]):
            dates = dates | {day for day in days if day} if is_by_date(relation) else None
        rows = sales_wide(snapshots, dates) if relation is WIDE else snapshots[relation.name].where(on_dates(dates))
        written.append(Part(relation, rows, dates))
    return written


def _is_shown(current: Manifest | None, relation: Relation) -> bool:
    shown = current.tables.get(relation.name) if current else None
    return shown is not None and shown.columns == columns_of(relation)


def _damaged(current: Manifest | None, found: Found) -> Mapping[str, set[date | None]]:
    """The dates (None for a table without dates) of listed files that are not there as they were written, by table."""
    return {
        name: {file.order_date for file in table.files if found.files.get(file.path) != file.bytes}
        for name, table in (current.tables if current else {}).items()
    }


def _wide_dates(changes: Changes, changed: Mapping[str, frozenset[date] | None]) -> frozenset[date] | None:
    """The dates on which a line, its order, its user or its product changed; None for all."""
    lines, orders = changed[FACT_SALES.name], changed[DIM_ORDER.name]
    if lines is None or orders is None:
        return None
    dates = lines | orders
    for name in (DIM_USER.name, DIM_PRODUCT.name):
        dimension = changes.relations[name]
        if dimension.keys is None:
            return None
        if changed[name] is None:
            dates |= dates_of(changes.relations[FACT_SALES.name].snapshot, dimension.keys, dimension.relation.group)
    return dates


def stage(folder: PublishedFolder, publish_id: str, parts: Sequence[Part]) -> dict[str, dict[str, PublishedFile]]:
    """Write the parts out of sight of readers: for each table the staged files, and what they will be when moved in.

    SinkError when a file does not have exactly the declared columns.
    """
    touched = [part for part in parts if not part.is_empty]
    if not touched:
        return {}
    places = {part.relation.name: folder.staging(publish_id, part.relation.name) for part in touched}
    concurrently(**{part.relation.name: partial(_write, part, places[part.relation.name]) for part in touched})
    return {part.relation.name: _staged(part.relation, places[part.relation.name], publish_id) for part in touched}


def _write(part: Part, location: str) -> None:
    """Write one table, the rows of a date together and in the order of the key."""
    relation = part.relation
    rows = part.rows.select(relation.column_names)
    options = {"compression": "snappy", "maxRecordsPerFile": str(ROWS_PER_FILE)}
    if is_by_date(relation):
        # By a column of its own, as Spark leaves that by which it makes folders out of the files.
        dated = rows.withColumn(_FOLDER, F.col("order_date")).repartition(_FOLDER)
        sorted_rows = dated.sortWithinPartitions(_FOLDER, *relation.key)
        sorted_rows.write.options(**options).partitionBy(_FOLDER).mode("overwrite").parquet(location)
    else:
        sorted_rows = rows.hint("rebalance").sortWithinPartitions(*relation.key)
        sorted_rows.write.options(**options).mode("overwrite").parquet(location)


def _staged(relation: Relation, location: str, publish_id: str) -> dict[str, PublishedFile]:
    system, inner = located(location)
    infos = system.get_file_info(pafs.FileSelector(inner, recursive=True))
    names = sorted((info.path, info.size) for info in infos if info.base_name.startswith("part-"))
    footers = for_each(lambda named: pq.read_metadata(named[0], filesystem=system), names)
    files: dict[str, PublishedFile] = {}
    for (path, size), footer in zip(names, footers, strict=True):
        _check_columns(relation, footer.schema.to_arrow_schema())
        if footer.num_rows:
            day = date.fromisoformat(path.split("/")[-2].partition("=")[2]) if is_by_date(relation) else None
            inside = f"order_date={day}/" if day else ""
            name = f"{relation.name}/{inside}{file_name(publish_id, len(files))}"
            files[path] = PublishedFile(path=name, bytes=size, rows=footer.num_rows, order_date=day)
    return files


def _check_columns(relation: Relation, found: pa.Schema) -> None:
    declared = [f"{column.name} {_arrow(column.type)}" for column in relation.columns]
    written = [f"{field.name} {field.type}" for field in found]
    if declared != written:
        wrong = [f"{has} instead of {wanted}" for has, wanted in zip(written, declared, strict=False) if has != wanted]
        raise SinkError(
            f"{relation.name}: Spark wrote {len(written)} columns where {len(declared)} are declared, "
            f"{', '.join(wrong) or 'the first of them right'}; check what the session sets for "
            "spark.sql.parquet.outputTimestampType and spark.sql.parquet.*"
        )


def _arrow(kind: str) -> pa.DataType:
    if kind.startswith("DECIMAL("):
        precision, scale = map(int, kind[len("DECIMAL(") : -1].split(","))
        return pa.decimal128(precision, scale)
    return _ARROW[kind]
