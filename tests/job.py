"""Running the real orders job in the session of the tests, and reading what it left."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from etl_lib.schemas import ALL_TABLES, DIM_ORDER, Table
from etl_lib.warehouse import Warehouse
from jobs.orders import main


@dataclass
class Job:
    """The orders job over the folders of one test: orders, users.csv and products.csv in `landing`."""

    spark: SparkSession
    root: Path

    @property
    def landing(self) -> Path:
        return self.root / "landing"

    @property
    def tables(self) -> Warehouse:
        return Warehouse(self.spark, str(self.root / "warehouse"))

    def options(self) -> list[str]:
        settings = {"input.orders": self.landing / "orders"}
        settings |= {"warehouse": self.root / "warehouse", "output": self.root / "output"}
        for name in ("users", "products"):
            path = self.landing / f"{name}.csv"
            settings[f"input.{name}"] = path if path.exists() else Path()
        texts = {name: "" if value == Path() else str(value) for name, value in settings.items()}
        return [part for name, text in texts.items() for part in ("--set", f"{name}={text}")]

    def run(self, *options: str) -> int:
        return main([*self.options(), *options])

    def metrics(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.root / "output" / "metrics.json").read_text(encoding="utf-8"))
        return found

    def land(self, name: str, *records: object) -> Path:
        """A JSON Lines file of records, each a text as it is or a value to write as JSON."""
        path = self.landing / "orders" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        texts = (record if isinstance(record, str) else json.dumps(record) for record in records)
        path.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
        return path

    def read(self, table: Table) -> DataFrame:
        return self.tables.read(table)

    def versions(self) -> dict[str, int]:
        return self.tables.versions(ALL_TABLES)

    def read_keys(self) -> set[str]:
        return {row["order_id"] for row in self.read(DIM_ORDER).collect()}
