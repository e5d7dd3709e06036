"""Running the real jobs in the session of the tests, and reading what they left."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from etl_lib.reading.datasets import EVENT_DATASETS as DATASETS
from etl_lib.tables.schemas import DIM_ORDER, ETL_PULLS, FEATURE_TABLES, ORDER_TABLES, Table, View
from etl_lib.tables.warehouse import Warehouse
from jobs import maintain, orders, pull, quarantine, value_props

ON_CONNECT = os.environ.get("ORDERS_TEST_ON", "").startswith("connect")
"""Whether the session of the tests is a client of Spark Connect."""
BY_NAME = os.environ.get("ORDERS_TEST_ON") == "connect-by-name"
"""Whether the jobs find their tables by catalog name: the folder of a workplace is then the location of a schema."""


@dataclass
class Workplace:
    """The folders of one test: files arrive in `landing`, tables are in `warehouse`, the rest goes to `output`."""

    spark: SparkSession
    root: Path
    name: str = "warehouse"
    """The folder of the tables."""

    @property
    def landing(self) -> Path:
        return self.root / "landing"

    @property
    def output(self) -> Path:
        return self.root / "output"

    @property
    def tables(self) -> Warehouse:
        return Warehouse(self.spark, self.location)

    @property
    def location(self) -> str:
        """The setting `warehouse`."""
        folder = self.root / self.name
        return _schema_at(self.spark, folder) if BY_NAME else str(folder)

    def places(self) -> list[str]:
        """Where the tables and the output are, as options."""
        return ["--set", f"warehouse={self.location}", "--set", f"output={self.output}"]

    def maintain(self, task: str, *options: str) -> int:
        return maintain.main([task, *self.places(), *options])

    def metrics(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.output / "metrics.json").read_text(encoding="utf-8"))
        return found

    def read(self, table: Table | View) -> DataFrame:
        return self.tables.read(table)


@dataclass
class Job(Workplace):
    """The orders job over the folders of one test: orders, users.csv and products.csv in `landing`."""

    def options(self) -> list[str]:
        texts = {"orders": str(self.landing / "orders")}
        for name in ("users", "products"):
            path = self.landing / f"{name}.csv"
            texts[name] = str(path) if path.exists() else ""
        return [*self.places(), *(f"--set=input.{name}={text}" for name, text in texts.items())]

    def run(self, *options: str) -> int:
        return orders.main([*self.options(), *options])

    def quarantine(self, command: str, *options: str) -> int:
        return quarantine.main([command, *self.places(), *options])

    def versions(self) -> dict[str, int]:
        return self.tables.versions(ORDER_TABLES)

    def land(self, name: str, *records: object) -> Path:
        """A JSON Lines file of records, each a text as it is or a value to write as JSON."""
        path = self.landing / "orders" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{text}\n" for text in _texts(records)), encoding="utf-8")
        return path

    def read_keys(self) -> set[str]:
        return {row["order_id"] for row in self.read(DIM_ORDER).collect()}


@dataclass
class PullingJob:
    """The orders job and the pull job over one warehouse, with a source instead of a landing folder."""

    job: Job
    source: Sequence[str]
    """Settings."""

    @property
    def landing(self) -> Path:
        return self.job.root / "pulled"

    @property
    def options(self) -> list[str]:
        no_files = ("input.orders=", "input.users=", "input.products=")
        return [*self.job.places(), "--set", f"sources.landing={self.landing}", *no_files, *self.source]

    def run(self, *options: str) -> int:
        return orders.main([*self.options, *options])

    def pull(self, *options: str) -> int:
        return pull.main([*self.options, *options])

    def pulls(self, *columns: str) -> list[tuple[Any, ...]]:
        rows = self.job.read(ETL_PULLS).orderBy("started_at", "ended_at", "dataset").select(*columns)
        return [tuple(row) for row in rows.collect()]

    def landed(self, dataset: str) -> list[Path]:
        return sorted(path for path in self.landing.glob(f"{dataset}/*/*") if path.name[0] not in "_.")


@dataclass
class FeatureJob(Workplace):
    """The value-props job over the folders of one test: prints, taps and pays in `landing`, each a folder."""

    folder: str = "landing"

    @property
    def landing(self) -> Path:
        return self.root / self.folder

    def make_folders(self) -> None:
        for dataset in DATASETS:
            (self.landing / dataset).mkdir(parents=True, exist_ok=True)

    def options(self) -> list[str]:
        return [*self.places(), "--set", *(f"input.{name}={self.landing / name}" for name in DATASETS)]

    def run(self, *options: str) -> int:
        return value_props.main([*self.options(), *options])

    def versions(self) -> dict[str, int]:
        return self.tables.versions(FEATURE_TABLES)

    def land(self, dataset: str, *records: object, name: str = "part-1") -> Path:
        """A file of records, each a line as it is or a value to write as JSON."""
        path = self.landing / dataset / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"".join(text.encode() + b"\n" for text in _texts(records)))
        return path

    @property
    def final_csv(self) -> bytes:
        return (self.output / "value_props" / "final.csv").read_bytes()


def _schema_at(spark: SparkSession, folder: Path) -> str:
    """A schema whose tables are in `folder`, also those that were copied there."""
    schema = f"at_{sha256(str(folder).encode()).hexdigest()[:12]}"
    spark.sql(f"CREATE SCHEMA IF NOT EXISTS {schema} LOCATION '{folder}'")
    for log in folder.glob("*/_delta_log"):
        table = log.parent
        spark.sql(f"CREATE TABLE IF NOT EXISTS {schema}.{table.name} USING DELTA LOCATION '{table}'")
    return f"catalog:spark_catalog.{schema}"


def _texts(records: Iterable[object]) -> Iterable[str]:
    return (record if isinstance(record, str) else json.dumps(record) for record in records)
