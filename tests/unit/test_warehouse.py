"""The tables of a warehouse: made, brought up to what is declared, or refused with all that differs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from etl_lib.process.errors import SchemaError
from etl_lib.tables.schemas import DIM_PRODUCT
from etl_lib.tables.values_frame import values_frame
from etl_lib.tables.warehouse import Warehouse


@pytest.fixture
def warehouse(spark: SparkSession, tmp_path: Path) -> Warehouse:
    return Warehouse(spark, str(tmp_path / "warehouse"))


def test_columns_that_an_earlier_release_did_not_have_are_added_and_the_rows_stay(warehouse: Warehouse) -> None:
    earlier = replace(DIM_PRODUCT, columns="sku STRING NOT NULL, name STRING, of_the_users_own INT")
    warehouse.create([earlier])
    warehouse.append(earlier, warehouse.spark.sql("SELECT 'S1' AS sku, 'one' AS name, 1 AS of_the_users_own"))
    later = replace(DIM_PRODUCT, columns="sku STRING NOT NULL, name STRING, price DECIMAL(18,4), place STRUCT<x: INT>")
    warehouse.create([later])
    assert dict(warehouse.read(later).dtypes) == {
        "sku": "string",
        "name": "string",
        "of_the_users_own": "int",
        "price": "decimal(18,4)",
        "place": "struct<x:int>",
    }
    assert [row.asDict() for row in warehouse.read(later).collect()] == [
        {"sku": "S1", "name": "one", "of_the_users_own": 1, "price": None, "place": None}
    ]
    version = warehouse.version(later)
    warehouse.create([later])
    assert warehouse.version(later) == version, "what is there is not added again"


def test_what_cannot_be_added_is_told_with_all_differences(warehouse: Warehouse) -> None:
    warehouse.create([replace(DIM_PRODUCT, columns="sku INT NOT NULL, name STRING")])
    with pytest.raises(SchemaError) as caught:
        warehouse.create([replace(DIM_PRODUCT, columns="sku STRING NOT NULL, name STRING, run_id STRING NOT NULL")])
    assert "dim_product.sku: declared string, found int" in str(caught.value)
    assert "dim_product.run_id: declared string, found nothing" in str(caught.value)
    assert dict(warehouse.read(DIM_PRODUCT).dtypes) == {"sku": "int", "name": "string"}


def test_every_reader_finds_times_to_the_microsecond_also_those_far_ahead(warehouse: Warehouse) -> None:
    table = replace(DIM_PRODUCT, columns="sku STRING NOT NULL, at TIMESTAMP")
    warehouse.create([table])
    moments = {"first": datetime(1900, 1, 1, tzinfo=UTC), "last": datetime(9999, 12, 31, 23, 59, 59, 999999, UTC)}
    for sku, moment in moments.items():
        warehouse.append(table, warehouse.spark.sql(f"SELECT '{sku}' AS sku, TIMESTAMP'{moment}' AS at"))
    found = pa.concat_tables(map(pq.read_table, Path(warehouse.location, table.name).glob("*.parquet")))
    assert found.schema.field("at").type == pa.timestamp("us", tz="UTC")
    assert {row["sku"]: row["at"] for row in found.to_pylist()} == moments


def test_rows_are_counted_by_table(warehouse: Warehouse) -> None:
    tables = [replace(DIM_PRODUCT, name=name, columns="sku STRING NOT NULL") for name in ("none", "three")]
    warehouse.create(tables)
    warehouse.append(tables[1], warehouse.spark.sql("SELECT explode(array('a', 'b', 'c')) AS sku"))
    assert warehouse.rows(tables) == {"none": 0, "three": 3}
    assert warehouse.rows([]) == {}


@pytest.mark.classic
def test_how_many_rows_a_write_has_added_is_what_the_log_says_or_unknown(warehouse: Warehouse) -> None:
    table = replace(DIM_PRODUCT, columns="sku STRING NOT NULL, day INT", partition=("day",), changes_in_place=False)
    warehouse.create([table])
    rows = values_frame(warehouse.spark, [("a", 1), ("b", 1), ("c", 2), ("d", 2), ("e", 2)], table.columns)
    name, sku, day = warehouse.name(table), F.col("sku"), F.col("day")
    writes: dict[str, Callable[[], object]] = {
        "rows appended": lambda: warehouse.append(table, rows),
        "a partition replaced": lambda: warehouse.overwrite(table, rows.where(sku == "a"), day == 1),
        "a row of a file replaced": lambda: warehouse.overwrite(table, rows.where(sku == "c"), sku == "c"),
        "a partition removed": lambda: warehouse.overwrite(table, rows.limit(0), day == 2),
        "rows put into an empty partition": lambda: warehouse.overwrite(table, rows.where(day == 2), day == 2),
        "all rows replaced": lambda: warehouse.overwrite(table, rows, F.lit(True)),
        "all rows replaced by SQL": lambda: warehouse.spark.sql(f"INSERT OVERWRITE {name} VALUES ('z', 1)"),  # noqa: S608
        "a row added by SQL": lambda: warehouse.spark.sql(f"INSERT INTO {name} VALUES ('y', 1)"),  # noqa: S608
        "a row deleted by SQL": lambda: warehouse.spark.sql(f"DELETE FROM {name} WHERE sku = 'y'"),  # noqa: S608
    }
    added, found = {}, {}
    for write, do in writes.items():
        version, count = warehouse.version(table), warehouse.read(table).count()
        do()
        added[write] = warehouse.read(table).count() - count
        found[write] = warehouse.rows_added(table, version, version + 1)
    unknown = {
        "a row of a file replaced",
        "a partition removed",
        "all rows replaced",
        "all rows replaced by SQL",
        "a row deleted by SQL",
    }
    assert found == {write: None if write in unknown else rows for write, rows in added.items()}
    assert warehouse.rows_added(table, 4, 5) == 3
    assert warehouse.rows_added(table, 0, 9) is None
    assert warehouse.rows_added(table, 9, 9) == 0
    assert Warehouse(warehouse.spark, "s3a://lake/tables").rows_added(table, 4, 5) is None


@pytest.mark.classic
def test_a_version_is_that_of_the_last_commit_on_this_disk_or_as_spark_tells_it(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = replace(DIM_PRODUCT, columns="sku STRING NOT NULL")
    warehouse.create([table])
    for _ in range(11):  # a checkpoint after ten commits, and what it has made needless may go
        warehouse.append(table, warehouse.spark.sql("SELECT 'S1' AS sku"))
    log = Path(warehouse.location) / DIM_PRODUCT.name / "_delta_log"
    (log / "00000000000000000003.00000000000000000099.compacted.json").touch()
    (log / ".00000000000000000012.json.tmp").touch()
    (log / "00000000000000000003.json").unlink()
    assert warehouse.version(DIM_PRODUCT) == Warehouse._version_in_history(warehouse, DIM_PRODUCT) == 11

    monkeypatch.setattr(Warehouse, "_version_in_history", lambda *_: 99)
    assert warehouse.version(DIM_PRODUCT) == 11
    elsewhere = (Warehouse(warehouse.spark, "s3a://lake/tables"), Warehouse(warehouse.spark, "catalog:main.shop"))
    assert [other.version(DIM_PRODUCT) for other in elsewhere] == [99, 99]
    assert Warehouse(warehouse.spark, f"{warehouse.location}/none").version(DIM_PRODUCT) == 99
    monkeypatch.setattr("etl_lib.tables.warehouse.is_remote", lambda: True)  # whose disk is not this one
    assert warehouse.version(DIM_PRODUCT) == 99
