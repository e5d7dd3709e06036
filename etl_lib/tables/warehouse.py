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

import structlog
from pyspark.errors import AnalysisException
from pyspark.sql import Column, DataFrame, SparkSession, is_remote
from pyspark.sql.types import StructType
from tenacity import (
    RetryCallState,
    RetryError,
    Retrying,
    retry_if_exception,
    stop_after_attempt,
    wait_random_exponential,
)

from etl_lib.process.errors import ConfigError, ConflictError, SchemaError, is_collision
from etl_lib.process.lock import local_folder
from etl_lib.tables.file_changes import FileChanges, file_changes
from etl_lib.tables.schemas import Table, View

log = structlog.get_logger(__name__)

Answer = TypeVar("Answer")

ATTEMPTS = 6
"""How often a write is tried that collides with another writer's each time."""
LONGEST_WAIT_S = 20

_CATALOG = "catalog:"
_COMMIT = re.compile(r"[0-9]{20}\.json")
_ROWS = {"WRITE": ("numOutputRows", "numDeletedRows"), "MERGE": ("numTargetRowsInserted", "numTargetRowsDeleted")}
"""Delta's names for the rows that a commit has added and removed, by its operation."""
_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)?", re.ASCII)


@dataclass(frozen=True)
class Warehouse:
    """Where the tables are; makes, opens, asks and changes them."""

    spark: SparkSession
    location: str
    collisions: Counter[str] = field(default_factory=Counter, compare=False)
    """How often a commit had to be tried again, by table."""
    written: set[str] = field(default_factory=set, compare=False)
    """The names of the tables that this process has written to."""
    before_commit: Callable[[], None] = field(default=lambda: None, compare=False)
    """Raises when this process may not write any more."""

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

        SchemaError for any other difference from the declared columns; it names all of them.
        """
        differing = [difference for of_table in self._ask(self._create, tables).values() for difference in of_table]
        if differing:
            listed = "\n  ".join(differing)
            raise SchemaError(f"{self.location}: tables differ from their declared columns:\n  {listed}")

    def _ask(self, question: Callable[[Table], Answer], tables: Iterable[Table]) -> dict[str, Answer]:
        """Ask something of each table, by its name; several at a time, as most of it is waiting for Delta's log."""
        asked = list(tables)
        with ThreadPoolExecutor(4) as pool:
            return dict(zip((table.name for table in asked), pool.map(question, asked), strict=True))

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
        actual = self.read(table).schema
        if added := _absent_nullable(table.schema, actual):
            self.spark.sql(f"ALTER TABLE {self.name(table)} ADD COLUMNS ({added})")
            actual = self.read(table).schema
        return [f"{table.name}.{difference}" for difference in differences(table.schema, actual)]

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
        columns = self._ask(self.columns, asked)
        return [table for table in asked if columns[table.name] is not None]

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
        self.commit(table, rows.writeTo(self.name(table)).append)

    def overwrite(self, table: Table, rows: DataFrame, where: Column) -> None:
        """Put `rows` in the place of those for which `where` holds, in one commit."""
        self.commit(table, lambda: rows.writeTo(self.name(table)).overwrite(where))

    def commit(self, table: Table, write: Callable[[], Answer]) -> Answer:
        """Do a write that makes one commit to a table, and give what it gave.

        Delta refuses a commit that another one has made invalid (optimistic concurrency). The same write is then done
        again on the new state of the table, up to ATTEMPTS times; ConflictError when all collided.
        """

        def warn(attempt: RetryCallState) -> None:
            self.collisions[table.name] += 1
            log.warning(
                "another writer came first, trying again",
                table=table.name,
                attempt=attempt.attempt_number,
                wait_s=round(attempt.upcoming_sleep, 1),
            )

        attempts = Retrying(
            retry=retry_if_exception(is_collision),
            stop=stop_after_attempt(ATTEMPTS),
            wait=wait_random_exponential(multiplier=0.5, max=LONGEST_WAIT_S),
            before_sleep=warn,
        )
        self.written.add(table.name)

        def write_if_allowed() -> Answer:
            self.before_commit()
            return write()

        try:
            return attempts(write_if_allowed)
        except RetryError as error:
            self.collisions[table.name] += 1
            raise ConflictError(
                f"{table.name}: another writer came first {ATTEMPTS} times in a row; nothing of this write is in the "
                "table. Find out what writes to it, and run the job again: it goes on where it stopped"
            ) from error.last_attempt.exception()

    def version(self, table: Table) -> int:
        """The Delta version that the table is at: that of the last commit in its log."""
        version = self._version_on_disk(table)
        return version if version is not None else self._version_in_history(table)

    def _version_on_disk(self, table: Table) -> int | None:
        """The version by the names in the log, on this machine's disk; None where Spark has to be asked."""
        try:
            names = os.listdir(folder) if (folder := self._log_folder(table)) else []
        except OSError:
            return None
        return max((int(name[:20]) for name in names if _COMMIT.fullmatch(name)), default=None)

    def _log_folder(self, table: Table) -> Path | None:
        """The log of a table on this machine's disk. A client of Spark Connect may see another disk than its server."""
        folder = local_folder(self.location)
        return None if folder is None or is_remote() else Path(folder) / table.name / "_delta_log"

    def _version_in_history(self, table: Table) -> int:
        return int(self.spark.sql(f"DESCRIBE HISTORY {self.name(table)} LIMIT 1").collect()[0]["version"])

    def rows_added(self, table: Table, before: int, after: int) -> int | None:
        """How many rows more a table has at a version than before; None where no log on this disk says so."""
        if (folder := self._log_folder(table)) is None or after < before:
            return None
        try:
            return sum(_rows_added(folder / f"{version:020}.json") for version in range(before + 1, after + 1))
        except (OSError, ValueError, KeyError, TypeError):  # nothing depends on it: the rows are counted
            return None

    def files_changed(self, table: Table, before: int, after: int) -> FileChanges | None:
        """Which data files a table has got and lost since a version; None where no log on this disk says so."""
        folder = self._log_folder(table)
        return None if folder is None else file_changes(folder, before, after)

    def versions_on_disk(self, tables: Iterable[Table]) -> dict[str, int]:
        """The versions that are known without asking Spark, by table name."""
        versions = {table.name: self._version_on_disk(table) for table in tables}
        return {name: version for name, version in versions.items() if version is not None}

    def versions(self, tables: Iterable[Table]) -> dict[str, int]:
        """The Delta version of each table by its name."""
        return self._ask(self.version, tables)

    def rows(self, tables: Iterable[Table]) -> dict[str, int]:
        """How many rows each table has, by its name: Delta answers a plain count from its log, without a scan."""
        return self._ask(lambda table: self.read(table).count(), tables)


def differences(declared: StructType, actual: StructType) -> list[str]:
    """Columns that are missing or of another type; further columns are the user's own and welcome."""
    types = {field.name.lower(): field.dataType for field in actual}
    pairs = [(field, types.get(field.name.lower())) for field in declared]
    return [
        f"{field.name}: declared {field.dataType.simpleString()}, found {other.simpleString() if other else 'nothing'}"
        for field, other in pairs
        if other != field.dataType
    ]


def _absent_nullable(declared: StructType, actual: StructType) -> str:
    """The columns that can be added to a table that has rows, as ALTER TABLE names them."""
    names = {field.name.lower() for field in actual}
    absent = [field for field in declared if field.nullable and field.name.lower() not in names]
    return ", ".join(f"`{field.name}` {field.dataType.simpleString()}" for field in absent)


def _rows_added(commit: Path) -> int:
    """How many rows a commit has added, less those that it removed; ValueError or KeyError when it does not say so."""
    with commit.open(encoding="utf-8") as lines:
        info = json.loads(lines.readline())["commitInfo"]
    metrics = info["operationMetrics"]
    if int(metrics.get("numCopiedRows", 0)):
        raise ValueError(f"{commit}: rows that were copied may be counted as added")
    added, removed = _ROWS[info["operation"]]
    is_append = info["operationParameters"].get("mode") == "Append"
    return int(metrics[added]) - (0 if is_append else int(metrics[removed]))
