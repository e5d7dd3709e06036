"""The tables of one warehouse, found by path or by catalog name: one setting decides."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from pyspark.errors import AnalysisException
from pyspark.sql import Column, DataFrame, SparkSession, is_remote
from pyspark.sql.types import DataType, StructType

from etl_lib.process.errors import ConfigError, SchemaError
from etl_lib.process.lock import local_folder
from etl_lib.tables.commits import commit
from etl_lib.tables.schemas import Table, View

Answer = TypeVar("Answer")

_CATALOG = "catalog:"
_COMMIT = re.compile(r"[0-9]{20}\.json")
_ROWS = ("numOutputRows", "numDeletedRows", "numCopiedRows")
_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)?", re.ASCII)


@dataclass(frozen=True)
class Warehouse:
    """Where the tables are; makes, opens and asks them."""

    spark: SparkSession
    location: str
    collisions: Counter[str] = field(default_factory=Counter, compare=False)
    """How often a commit had to be tried again, by table."""
    commits: Counter[str] = field(default_factory=Counter, compare=False)
    """How many writes this process has made, by table."""
    grown: dict[str, int | None] = field(default_factory=dict, compare=False)
    """By how many rows they have changed a table, None where nobody knows."""

    def __post_init__(self) -> None:
        """Refuse a location that SQL cannot name: neither a path without `${` nor `catalog:` with a plain name."""
        if self.is_catalog and not _NAME.fullmatch(self.location.removeprefix(_CATALOG)):
            raise ConfigError(
                f"warehouse: {self.location!r} is not catalog:<catalog>.<schema> with plain names (letters, digits, _)"
            )
        if "${" in self.location:
            raise ConfigError(f"warehouse: Spark takes the ${{ in {self.location!r} for a variable: use another path")

    @property
    def is_catalog(self) -> bool:
        """Whether tables are found by name and not by path."""
        return self.location.startswith(_CATALOG)

    @property
    def is_locked(self) -> bool:
        """Whether a run has the warehouse to itself: on this machine's disk, not on an object store or in a catalog."""
        return local_folder(self.location) is not None

    def name(self, table: Table | View) -> str:
        """The table as SQL names it, quoted."""
        if self.is_catalog:
            parts = [*self.location.removeprefix(_CATALOG).split("."), table.name]
            return ".".join(f"`{part}`" for part in parts)
        path = f"{self.location.rstrip('/')}/{table.name}".replace("`", "``")
        return f"delta.`{path}`"

    def create(self, tables: Iterable[Table]) -> None:
        """Create the tables that are absent and the columns that may be NULL and are absent.

        Any other difference from the declared columns is told in a SchemaError, all of them together.
        """
        differences = [difference for found in self._each(self._create, tables) for difference in found]
        if differences:
            listed = "\n  ".join(differences)
            raise SchemaError(f"{self.location}: tables differ from their declared columns:\n  {listed}")

    def _each(self, ask: Callable[[Table], Answer], tables: Iterable[Table]) -> list[Answer]:
        """Ask something of each table, several at a time: most of it is waiting for Delta's log."""
        with ThreadPoolExecutor(4) as pool:
            return list(pool.map(ask, tables))

    def _create(self, table: Table) -> list[str]:
        """Create a table if it is absent; gives how it differs from its declared columns."""
        partitioned = f"PARTITIONED BY ({', '.join(table.partition)})" if table.partition else ""
        statement = f"""
            CREATE TABLE IF NOT EXISTS {self.name(table)} ({table.columns}) USING DELTA {partitioned}
            COMMENT "{table.grain}" TBLPROPERTIES ({table.properties})"""
        try:
            self.spark.sql(statement)
        except AnalysisException as error:
            if error.getCondition() != "DATA_SOURCE_NOT_FOUND":
                raise
            raise ConfigError(
                f"Spark {self.spark.version} has no Delta Lake on its class path: "
                "start the job with ./spark-submit.sh, or give the cluster the Delta for its Spark"
            ) from error
        found = self.read(table).schema
        if added := _absent_nullable(table.schema, found):
            self.spark.sql(f"ALTER TABLE {self.name(table)} ADD COLUMNS ({added})")
            found = self.read(table).schema
        return [f"{table.name}.{difference}" for difference in differences(table.schema, found)]

    def create_view(self, view: View) -> None:
        """Make a view known by name, in a catalog: a path has no place for one."""
        query = view.query.format(source=self.name(view.source))
        self.spark.sql(f'CREATE OR REPLACE VIEW {self.name(view)} COMMENT "{view.grain}" AS {query}')

    def read(self, table: Table | View, versions: Mapping[str, int] | None = None) -> DataFrame:
        """The table as it is now, or at its version among `versions` (by table name) if it has one there."""
        if isinstance(table, View):
            return self.spark.sql(table.query.format(source=self.name(table.source)))
        if versions is None or table.name not in versions:
            return self.spark.table(self.name(table))
        return self.spark.sql(f"SELECT * FROM {self.name(table)} VERSION AS OF {versions[table.name]:d}")  # noqa: S608

    def present(self, tables: Iterable[Table]) -> list[Table]:
        """Those of the tables that are there."""
        asked = list(tables)
        return [table for table, found in zip(asked, self._each(self.columns, asked), strict=True) if found is not None]

    def columns(self, table: Table) -> StructType | None:
        """The columns that the table has; None where it is not there."""
        try:
            return self.read(table).schema
        except AnalysisException as error:
            if error.getCondition() in {"PATH_NOT_FOUND", "TABLE_OR_VIEW_NOT_FOUND", "DELTA_TABLE_NOT_FOUND"}:
                return None
            raise

    def append(self, table: Table, rows: DataFrame) -> None:
        """Add rows to a table, in one commit."""
        self.commit(table, lambda: self._written(table, rows.writeTo(self.name(table)).append))

    def overwrite(self, table: Table, rows: DataFrame, where: Column) -> None:
        """Put `rows` in the place of those for which `where` holds, in one commit."""
        self.commit(table, lambda: self._written(table, lambda: rows.writeTo(self.name(table)).overwrite(where)))

    def remove(self, table: Table, where: Column) -> None:
        """Remove the rows for which `where` holds, in one commit."""
        self.overwrite(table, self.read(table).limit(0), where)

    def _written(self, table: Table, write: Callable[[], None]) -> int | None:
        """Do a write; gives by how many rows it has changed the table, where the log on this disk says so."""
        write()
        log = self._log(table)
        if log is None:
            return None
        try:
            with (log / f"{self._version_on_disk(table):020}.json").open(encoding="utf-8") as commit_of_it:
                told = json.loads(commit_of_it.readline())["commitInfo"]["operationMetrics"]
            added, deleted, copied = (int(told.get(name, 0)) for name in _ROWS)
        except (OSError, ValueError, KeyError, TypeError):  # nothing depends on it: the rows are counted
            return None
        return None if copied or _ROWS[0] not in told else added - deleted

    def commit(self, table: Table, write: Callable[[], object]) -> None:
        """Do a write that makes one commit to a table, again if it collides with another writer's.

        The write may give a number: by how many rows it has changed the table.
        """
        self.commits[table.name] += 1
        before = self.grown.get(table.name, 0)
        self.grown[table.name] = None
        grown = commit(write, table.name, self.collisions)
        self.grown[table.name] = before + grown if isinstance(grown, int) and before is not None else None

    def version(self, table: Table) -> int:
        """The Delta version that the table is at: that of the last commit in its log."""
        found = self._version_on_disk(table)
        return found if found is not None else self._version_told(table)

    def _version_on_disk(self, table: Table) -> int | None:
        """The version by the names in the log, on this machine's disk; None where Spark has to be asked."""
        try:
            names = os.listdir(log) if (log := self._log(table)) else []
        except OSError:
            return None
        return max((int(name[:20]) for name in names if _COMMIT.fullmatch(name)), default=None)

    def _log(self, table: Table) -> Path | None:
        """The log of a table on this machine's disk. A client of Spark Connect may see another disk than its server."""
        folder = local_folder(self.location)
        return None if folder is None or is_remote() else Path(folder) / table.name / "_delta_log"

    def _version_told(self, table: Table) -> int:
        return int(self.spark.sql(f"DESCRIBE HISTORY {self.name(table)} LIMIT 1").collect()[0]["version"])

    def versions_on_disk(self, tables: Iterable[Table]) -> dict[str, int]:
        """The versions that are known without asking Spark, by table name."""
        found = {table.name: self._version_on_disk(table) for table in tables}
        return {name: version for name, version in found.items() if version is not None}

    def versions(self, tables: Iterable[Table]) -> dict[str, int]:
        """The Delta version of each table by its name."""
        return self._by_name(self.version, tables)

    def rows(self, tables: Iterable[Table]) -> dict[str, int]:
        """How many rows each table has, by its name: Delta answers a plain count from its log, without a scan."""
        return self._by_name(lambda table: self.read(table).count(), tables)

    def _by_name(self, ask: Callable[[Table], Answer], tables: Iterable[Table]) -> dict[str, Answer]:
        asked = list(tables)
        return dict(zip((table.name for table in asked), self._each(ask, asked), strict=True))


def differences(declared: StructType, found: StructType) -> list[str]:
    """Columns that are missing or of another type; further columns are the user's own and welcome."""
    have = {field.name.lower(): field.dataType for field in found}
    return [
        f"{field.name}: declared {field.dataType.simpleString()}, found {_told(have.get(field.name.lower()))}"
        for field in declared
        if have.get(field.name.lower()) != field.dataType
    ]


def _absent_nullable(declared: StructType, found: StructType) -> str:
    """The columns that can be added to a table that has rows, as ALTER TABLE names them."""
    have = {field.name.lower() for field in found}
    absent = [field for field in declared if field.nullable and field.name.lower() not in have]
    return ", ".join(f"`{field.name}` {field.dataType.simpleString()}" for field in absent)


def _told(found: DataType | None) -> str:
    return "nothing" if found is None else found.simpleString()
