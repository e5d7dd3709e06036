"""The new files of a publish: what has to be written, and how Spark writes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date
from functools import partial

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from etl_lib.process.concurrently import concurrently
from etl_lib.process.output import located
from etl_lib.sinks.parquet.folder import (
    FolderContents,
    FolderManifest,
    PublishedFile,
    PublishedFolder,
    PublishedTable,
    for_each,
)
from etl_lib.sinks.relations import RELATIONS, Relation, as_relation
from etl_lib.sinks.sink import Changes, SinkError
from etl_lib.tables.publishes import Publish
from etl_lib.tables.schemas import DIM_ORDER, DIM_PRODUCT, DIM_USER, FACT_SALES, LINE_AMOUNT, MONEY, Table

ROWS_PER_FILE = 5_000_000
"""A date with more has several files: an object store copies 5 GB at once, and not more."""

_FOLDER = "published_date"
_ARROW = {
    "STRING": "string",
    "INT": "int32",
    "BIGINT": "int64",
    "BOOLEAN": "bool",
    "DATE": "date32[day]",
    "TIMESTAMP": "timestamp[us, tz=UTC]",
}

SALES_WIDE = Table(
    name="sales_wide",
    grain="one line of the current version of an order, with the attributes of its order, user and product",
    key=("order_id", "line_no"),
    partition=("order_date",),
    columns=f"""
        order_id STRING NOT NULL, line_no INT NOT NULL, order_date DATE NOT NULL, created_at TIMESTAMP NOT NULL,
        source STRING, promo STRING, user_id STRING, country STRING, user_created_at TIMESTAMP, sku STRING NOT NULL,
        product_name STRING, category STRING, list_price {MONEY}, qty INT NOT NULL, unit_price {MONEY},
        line_amount {LINE_AMOUNT}, currency STRING, version_at TIMESTAMP NOT NULL, run_id STRING NOT NULL""",
)

WIDE = as_relation(SALES_WIDE, group="order_date")
"""Each sale with what analysts would otherwise join to it. The e-mail address of the user stays out: no question about
sales needs it, and a published file is copied on and on.
"""


@dataclass(frozen=True)
class Part:
    """What a publish writes of one table: the rows of some dates, which may have none any more, or all of it (None)."""

    relation: Relation
    rows: DataFrame
    dates: frozenset[date] | None


def changed_parts(changes: Changes, current: FolderManifest | None, contents: FolderContents) -> list[Part]:
    """What is to be written of each table, the wide one included.

    That is what changed, and besides it what `current` lists and is not there as it was written: a lost file comes
    back with the next publish. A table whose declared columns have changed is written anew.
    """
    snapshots = {name: change.snapshot for name, change in changes.relations.items()}
    written = []
    for relation in (*RELATIONS, WIDE):
        shown = current.tables.get(relation.name) if current else None
        dates: frozenset[date] | None = None
        if shown is not None and shown.columns == _columns_of(relation) and not changes.publish.is_full:
            dates = _wide_dates(changes) if relation is WIDE else changes.relations[relation.name].dates
            damaged = [file for file in shown.files if contents.files.get(file.path) != file.bytes]
            if damaged and dates is not None:
                of_damaged = {file.order_date for file in damaged if file.order_date}
                dates = dates | of_damaged if _is_by_date(relation) else None
        rows = _sales_wide(snapshots, dates) if relation is WIDE else snapshots[relation.name].where(_on_dates(dates))
        written.append(Part(relation, rows, dates))
    return written


def _wide_dates(changes: Changes) -> frozenset[date] | None:
    """The dates on which a line, its order, its user or its product changed; None for all."""
    lines, orders = changes.relations[FACT_SALES.name], changes.relations[DIM_ORDER.name]
    if lines.dates is None or orders.dates is None:
        return None
    dates = lines.dates | orders.dates
    for dimension in (changes.relations[DIM_USER.name], changes.relations[DIM_PRODUCT.name]):
        if dimension.keys is None:
            return None
        if dimension.dates is None:
            of_changed = lines.snapshot.join(dimension.keys, dimension.relation.group, "left_semi")
            dates |= {row["order_date"] for row in of_changed.select("order_date").distinct().collect()}
    return dates


def stage(folder: PublishedFolder, publish_id: str, parts: Sequence[Part]) -> dict[str, dict[str, PublishedFile]]:
    """Write the parts out of sight of readers: for each table the staged files, and what they will be when moved in.

    SinkError when a file does not have exactly the declared columns.
    """
    touched = [part for part in parts if part.dates is None or part.dates]
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
    if _is_by_date(relation):
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
            day = date.fromisoformat(path.split("/")[-2].partition("=")[2]) if _is_by_date(relation) else None
            folder = f"{relation.name}/order_date={day}" if day else relation.name
            name = f"{folder}/part-{publish_id}.{len(files):05d}.parquet"
            files[path] = PublishedFile(path=name, bytes=size, rows=footer.num_rows, order_date=day)
    return files


def _check_columns(relation: Relation, schema: pa.Schema) -> None:
    declared = [
        f"{column.name} {_ARROW.get(column.type) or column.type.replace('DECIMAL', 'decimal128').replace(',', ', ')}"
        for column in relation.columns
    ]
    written = [f"{field.name} {field.type}" for field in schema]
    if declared != written:
        wrong = [f"{has} instead of {wanted}" for has, wanted in zip(written, declared, strict=False) if has != wanted]
        raise SinkError(
            f"{relation.name}: Spark wrote {len(written)} columns where {len(declared)} are declared, "
            f"{', '.join(wrong) or 'the first of them right'}; check what the session sets for "
            "spark.sql.parquet.outputTimestampType and spark.sql.parquet.*"
        )


def _columns_of(relation: Relation) -> tuple[str, ...]:
    """The columns of a relation as the manifest has them."""
    return tuple(f"{column.name} {column.type}" for column in relation.columns)


def _is_by_date(relation: Relation) -> bool:
    """Whether the files of a relation are in a folder for each date."""
    return "order_date" in relation.column_names


def following(
    publish: Publish,
    current: FolderManifest | None,
    parts: Sequence[Part],
    staged: Mapping[str, Mapping[str, PublishedFile]],
) -> FolderManifest:
    """The manifest after a publish: staged files, by table, take the place of what each part is about."""
    tables, written = {}, {}
    for part in parts:
        name, dates = part.relation.name, part.dates
        shown = current.tables.get(name) if current else None
        kept = [file for file in shown.files if file.order_date not in dates] if shown and dates is not None else []
        new = staged.get(name, {}).values()
        tables[name] = PublishedTable(columns=_columns_of(part.relation), files=(*kept, *new))
        written[name] = sum(file.rows for file in new)
    return FolderManifest(
        publish_id=publish.publish_id,
        previous=publish.previous,
        versions=dict(publish.versions),
        published_at=publish.published_at.astimezone(UTC),
        written=written,
        tables=tables,
    )


def _on_dates(dates: frozenset[date] | None) -> Column:
    """Whether order_date is one of these; None for all. Literals: by nothing else does Delta skip files."""
    if not dates:
        return F.lit(dates is None)
    # One text: thousands of literals one by one would each be a call into the virtual machine.
    literals = ", ".join(f"DATE'{day}'" for day in sorted(dates))
    return F.expr(f"order_date IN ({literals})")


def _sales_wide(snapshots: Mapping[str, DataFrame], dates: frozenset[date] | None) -> DataFrame:
    """The wide lines of some dates (None: of all), as many as fact_sales has there, from the tables by name."""
    orders = snapshots[DIM_ORDER.name].where(_on_dates(dates)).select("order_id", "source", "promo")
    users = snapshots[DIM_USER.name].select("user_id", "country", F.col("created_at").alias("user_created_at"))
    products = snapshots[DIM_PRODUCT.name].select(
        "sku", F.col("name").alias("product_name"), "category", F.col("price").alias("list_price")
    )
    lines = snapshots[FACT_SALES.name].where(_on_dates(dates))
    joined = lines.join(orders, "order_id", "left").join(users, "user_id", "left").join(products, "sku", "left")
    return joined.select(SALES_WIDE.column_names)
