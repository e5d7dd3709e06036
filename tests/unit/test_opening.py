"""How a run opens its warehouse: what is made, what is looked at again, and what is refused."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from secrets import token_hex

import pytest
from pyspark.sql import SparkSession

from etl_lib import RELEASE
from etl_lib.process.errors import SchemaError
from etl_lib.run.metrics import Metrics
from etl_lib.run.run import open_tables
from etl_lib.tables.ledger import Ledger, RunEntry, RunManifest, TableLeft, tables_left, write_run
from etl_lib.tables.schemas import DIM_PRODUCT, DIM_USER, ETL_RUNS, VIEWS, Table
from etl_lib.tables.warehouse import Warehouse

TABLES = (DIM_USER, DIM_PRODUCT, ETL_RUNS)
DONE_RUN = RunEntry(RunManifest("r", "orders", (), "2024-05-01T00:00:00Z", is_plan=False), "done", Metrics(), {}, {})


class Watched(Warehouse):
    """A warehouse that notes which tables it was asked to make."""

    def create(self, tables: object) -> None:
        asked = list(tables)  # type: ignore[call-overload]
        self.collisions.update(table.name for table in asked)
        super().create(asked)


@pytest.fixture(scope="module")
def made(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("opening")
    assert open_tables(Warehouse(spark, str(folder)), TABLES) == Ledger()
    return folder


@pytest.fixture
def warehouse(spark: SparkSession, made: Path, tmp_path: Path) -> Watched:
    return Watched(spark, str(shutil.copytree(made, tmp_path / "warehouse")))


def asked(warehouse: Watched) -> set[str]:
    """The tables that a run asks for, and no longer."""
    warehouse.collisions.clear()
    open_tables(warehouse, TABLES)
    return {*warehouse.collisions}


@pytest.mark.classic
def test_only_tables_that_are_not_as_a_run_left_them_are_asked(warehouse: Watched) -> None:
    assert asked(warehouse) == {"dim_user", "dim_product"}
    left = tables_left(warehouse, TABLES, {"dim_user": 0})
    assert left == {"dim_user": TableLeft(0, 0), "dim_product": TableLeft(0, None)}
    write_run(warehouse, replace(DONE_RUN, tables_left=left))
    assert asked(warehouse) == set()
    assert open_tables(warehouse, TABLES).tables == left
    warehouse.spark.sql(f"ALTER TABLE {warehouse.name(DIM_USER)} DROP CONSTRAINT IF EXISTS none")
    warehouse.spark.sql(f"COMMENT ON TABLE {warehouse.name(DIM_USER)} IS 'moved by somebody'")
    assert asked(warehouse) == {"dim_user"}
    shutil.rmtree(Path(warehouse.location, "dim_product"))
    assert asked(warehouse) == {"dim_user", "dim_product"}
    assert warehouse.read(DIM_PRODUCT).isEmpty()


def test_all_differences_are_told_together_those_of_the_ledger_too(warehouse: Watched) -> None:
    for table, column in ((DIM_USER, "email"), (ETL_RUNS, "schemas")):
        name = warehouse.name(table)
        warehouse.spark.sql(f"ALTER TABLE {name} SET TBLPROPERTIES ('delta.columnMapping.mode' = 'name')")
        warehouse.spark.sql(f"ALTER TABLE {name} RENAME COLUMN {column} TO other")
    other: Table = replace(DIM_USER, columns=DIM_USER.columns.replace("country STRING", "country INT"))
    with pytest.raises(SchemaError) as caught:
        open_tables(warehouse, (other, DIM_PRODUCT, ETL_RUNS))
    assert "dim_user.country: declared int, found string" in str(caught.value)
    assert "etl_runs.schemas: declared string, found nothing" in str(caught.value)


def test_the_warehouse_of_another_release_is_refused(warehouse: Watched) -> None:
    write_run(warehouse, DONE_RUN)
    warehouse.spark.sql(f"UPDATE {warehouse.name(ETL_RUNS)} SET release = '9.9'").collect()  # noqa: S608
    told = f"was written by release 9.9, and this is release {RELEASE}: work on it with that one, or set warehouse to"
    with pytest.raises(SchemaError, match=told):
        open_tables(warehouse, TABLES)
    with pytest.raises(SchemaError, match=told):  # a job without tables of its own looks, too
        open_tables(warehouse, ())


def test_a_warehouse_from_before_there_were_releases_is_refused(spark: SparkSession, tmp_path: Path) -> None:
    warehouse = Watched(spark, str(tmp_path))
    warehouse.create([replace(ETL_RUNS, columns="run_id STRING NOT NULL, status STRING NOT NULL")])
    with pytest.raises(SchemaError, match="was written by an earlier state of this project, and this is release"):
        open_tables(warehouse, TABLES)


@pytest.fixture
def schema(spark: SparkSession) -> Iterator[str]:
    name = f"opened_{token_hex(4)}"
    spark.sql(f"CREATE SCHEMA {name}")
    yield name
    spark.sql(f"DROP SCHEMA {name} CASCADE")


def test_a_catalog_has_the_views_by_name(spark: SparkSession, schema: str) -> None:
    warehouse = Warehouse(spark, f"catalog:spark_catalog.{schema}")
    open_tables(warehouse, [ETL_RUNS])
    write_run(warehouse, DONE_RUN)
    for view in VIEWS:
        found = spark.table(f"spark_catalog.{schema}.{view.name}")
        assert found.schema.names == warehouse.read(view).schema.names
        assert found.isEmpty()
    assert open_tables(warehouse, [ETL_RUNS]) == Ledger(
        {}, releases=frozenset({RELEASE}), last_metrics={"orders": "{}"}
    )
