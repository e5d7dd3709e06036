"""The Redshift sink: rows are staged as Parquet files on S3, loaded by COPY, and applied in one transaction.

Every batch of the Data API is one transaction in a session of its own, so staging tables are permanent.
"""

# ruff: noqa: S608 - names are quoted by identifier(), values by literal()

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import ClassVar

import pyarrow.fs as pafs
import pyarrow.parquet as pq
from pyspark.sql import DataFrame

from etl_lib.process.errors import SchemaError
from etl_lib.process.output import located, write_text
from etl_lib.settings.sink_settings import RedshiftSettings
from etl_lib.sinks.relations import Column, Relation
from etl_lib.sinks.sink import Changes, copy_manifest, sink_errors
from etl_lib.sinks.sql.publish_sql import PublishSql, check
from etl_lib.sinks.sql.redshift_client import RedshiftClient
from etl_lib.sinks.sql.schema_sql import STATE_TABLE, Statement, literal
from etl_lib.sinks.sql.sql_sink import SqlSink

ROWS_PER_FILE = 2_000_000
"""Files of some 100 MB: each slice of a cluster loads files of its own."""

_ROLE = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=.@/-]+(,arn:aws[a-z-]*:iam::\d{12}:role/[\w+=.@/-]+)*")
_PUBLISH_FOLDER = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{6}")

_STORAGE = {
    "fact_sales": ("DISTKEY (order_id)", "order_date, order_id"),
    "dim_order": ("DISTKEY (order_id)", "order_date, order_id"),
    "daily_sales": ("DISTSTYLE EVEN", "order_date, currency"),
    "dim_user": ("DISTSTYLE ALL", "user_id"),
    "dim_product": ("DISTSTYLE ALL", "sku"),
}
"""How the rows of each table are distributed, and by what they are sorted."""


class RedshiftSql(PublishSql):
    """The statements in Redshift's words.

    Keys are information for the planner, which Redshift does not enforce, so `apply` proves what it inserts.
    """

    identifier_bytes = 127
    # A shorter text would be a guess that fails a publish; a longer one no column can hold.
    types: ClassVar = {"STRING": "VARCHAR(65535)", "INT": "INTEGER", "TIMESTAMP": "TIMESTAMPTZ", "DECIMAL": "NUMERIC"}
    # COPY reads the times of Parquet as such without a zone, in UTC.
    staged_types: ClassVar = {"TIMESTAMP": "TIMESTAMP"}
    state_columns: ClassVar = {
        "publish_id": "VARCHAR(64)",
        "versions": "VARCHAR(65535)",
        "published_at": "TIMESTAMPTZ",
    }
    storage: ClassVar = {STATE_TABLE: "\nDISTSTYLE ALL"} | {
        name: f"\n{distribution}\nCOMPOUND SORTKEY ({sort_key})" for name, (distribution, sort_key) in _STORAGE.items()
    }
    # Beside the rows that it changes; a copy on every node would be wasted on what is read once.
    staged_storage: ClassVar = {
        name: f"\nBACKUP NO\n{distribution.replace('DISTSTYLE ALL', 'DISTSTYLE EVEN')}"
        for name, (distribution, _) in _STORAGE.items()
    }
    shows_versions = 'max("versions") = {}'

    def _is_schema(self, column: str) -> str:
        # Redshift folds quoted names too, unless it is told to keep their case.
        return f"lower({column}) = lower({literal(self.schema)})"

    def _lock(self) -> list[Statement]:
        # The first statement: what waits for it reads the state that the other publish has left.
        return [Statement("lock out other publishes", f"LOCK {self.table(STATE_TABLE)}")]

    def _checks(self, publish_id: str, relation: Relation) -> list[Statement]:
        """Refuse also a key that is staged twice."""
        key, rows = self.names(relation.key), self.rows(publish_id, relation)
        is_unique = check(
            f"publish {relation.name}: a key is staged twice",
            "count(*) = 0",
            f"'{relation.name}: ' || CAST(count(*) AS VARCHAR(20)) || ' keys are staged twice'",
            f"(SELECT {key} FROM {rows} GROUP BY {key} HAVING count(*) > 1) AS repeated",
        )
        return [*super()._checks(publish_id, relation), is_unique]

    def _value(self, column: Column) -> str:
        if column.type == "TIMESTAMP":
            return f"{self.identifier(column.name)} AT TIME ZONE 'UTC'"
        return super()._value(column)


class RedshiftSink(SqlSink):
    """A schema of a Redshift database."""

    name = "redshift"

    def __init__(self, settings: RedshiftSettings) -> None:
        """Nothing is asked yet. ConfigError when the settings contradict each other or a client cannot be made."""
        super().__init__(RedshiftSql(settings.schema_name))
        # A role that COPY does not take is told before anything is staged.
        copy("no_table", _for_copy(settings.staging), settings.iam_role)
        self._settings = settings
        self._client = RedshiftClient(settings)

    @property
    def address(self) -> str:
        """The workgroup or cluster, the database and the schema."""
        settings = self._settings
        return f"{settings.workgroup or settings.cluster}/{settings.database} {settings.schema_name}"

    def publish(self, changes: Changes) -> Mapping[str, int]:
        """As every sink of SQL; the files of this publish and of such as were interrupted go."""
        self._remove_files()
        rows = super().publish(changes)
        self._remove_files()
        return rows

    def _connected(self) -> AbstractContextManager[RedshiftClient]:
        return nullcontext(self._client)

    def _stage(self, frame: DataFrame, place: str, table: str) -> list[Statement]:
        """Write a frame as files, and a manifest of those that have rows: a COPY of nothing is an error."""
        location = f"{self._settings.staging.rstrip('/')}/{place}"
        with sink_errors(f"could not stage {location}"):
            sizes = write_files(frame, location)
            if not sizes:
                return []
            manifest = f"{location}.manifest"
            write_text(manifest, copy_manifest({_for_copy(path): size for path, size in sizes.items()}))
        return [copy(table, _for_copy(manifest), self._settings.iam_role)]

    def _remove_files(self) -> None:
        with sink_errors(f"could not clear {self._settings.staging}"):
            system, inner = located(self._settings.staging)
            for info in system.get_file_info(pafs.FileSelector(inner, allow_not_found=True)):
                if info.type == pafs.FileType.Directory and _PUBLISH_FOLDER.fullmatch(info.base_name):
                    system.delete_dir(info.path)


def write_files(frame: DataFrame, location: str) -> dict[str, int]:
    """Write a frame as Parquet files for COPY, which goes by position: its columns alone, times as INT64 micros in UTC.

    Gives the size in bytes of each file with rows, by its location.
    """
    options: dict[str, str | int] = {"compression": "snappy", "maxRecordsPerFile": ROWS_PER_FILE}
    frame.write.options(**options).mode("overwrite").parquet(location)
    system, inner = located(location)
    infos = [info for info in system.get_file_info(pafs.FileSelector(inner)) if info.base_name.startswith("part-")]
    with_rows = [info for info in infos if pq.read_metadata(info.path, filesystem=system).num_rows]
    return {f"{location}/{info.base_name}": info.size for info in with_rows}


def _for_copy(location: str) -> str:
    """A location as COPY names it."""
    return location.replace("s3a://", "s3://", 1)


def copy(table: str, manifest: str, iam_role: str) -> Statement:
    """Load the Parquet files of a manifest, as `copy_manifest` writes it, into a staging table (a quoted name).

    COPY goes by position: the files have exactly the columns of the table, in its order. `iam_role` is the ARN of a
    role that the warehouse may assume, several with commas for a chain, or `default`. SchemaError for any other text.
    """
    if iam_role != "default" and not _ROLE.fullmatch(iam_role):
        raise SchemaError(f"{iam_role!r} is no IAM role: expected arn:aws:iam::<account>:role/<name>, or default")
    role = "default" if iam_role == "default" else literal(iam_role)
    sql = f"COPY {table}\nFROM {literal(manifest)}\nIAM_ROLE {role}\nFORMAT AS PARQUET\nMANIFEST"
    return Statement(f"load {table}", sql)
