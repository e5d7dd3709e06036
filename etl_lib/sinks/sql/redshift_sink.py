"""The Redshift sink: rows are staged as Parquet files on S3, loaded by COPY, and applied in one transaction."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

import pyarrow.fs as pafs
import pyarrow.parquet as pq
from pyspark.sql import DataFrame

from etl_lib.process.errors import SchemaError
from etl_lib.process.faults import reach
from etl_lib.process.output import located, write_text
from etl_lib.settings.sink_settings import RedshiftSettings
from etl_lib.sinks.changes import Change, Changes, Shown
from etl_lib.sinks.files import copy_manifest, sink_errors
from etl_lib.sinks.sql import redshift_sql as sql
from etl_lib.sinks.sql.redshift_client import Endpoint, Patience, RedshiftClient
from etl_lib.sinks.sql.statements import STATE_TABLE, Statement, drop_leftovers, literal

ROWS_PER_FILE = 2_000_000
"""Files of some 100 MB: each slice of a cluster loads files of its own."""

_ROLE = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=.@/-]+(,arn:aws[a-z-]*:iam::\d{12}:role/[\w+=.@/-]+)*")
_LOCATION = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/.+")
_PUBLISH_ID = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{6}")


class RedshiftSink:
    """A schema of a Redshift database; its tables are made by the first publish."""

    name = "redshift"

    def __init__(self, settings: RedshiftSettings, client: RedshiftClient | None = None) -> None:
        """Nothing is asked yet. ConfigError when the settings contradict each other or a client cannot be made."""
        sql.namespace(settings.schema_name)
        # A place or role that COPY does not take is told before anything is staged.
        copy("no_table", _for_copy(settings.staging), settings.iam_role)
        self._settings = settings
        self._client = client or RedshiftClient(
            Endpoint(
                settings.database,
                workgroup=settings.workgroup,
                cluster=settings.cluster,
                secret_arn=settings.secret_arn,
                db_user=settings.db_user,
                region=settings.region,
            ),
            patience=Patience(timeout_s=settings.timeout_s),
        )

    @property
    def address(self) -> str:
        """The workgroup or cluster, the database and the schema."""
        settings = self._settings
        return f"{settings.workgroup or settings.cluster}/{settings.database} {settings.schema_name}"

    def shows(self) -> Shown | None:
        """The last publish; asking makes nothing. SchemaError when the schema has other tables than the published."""
        schema = self._settings.schema_name
        existing = self._client.query(sql.columns(schema))
        sql.check_columns(schema, existing)
        if STATE_TABLE not in {table for table, *_ in existing}:
            return None
        found = self._client.query(sql.state(schema))
        return Shown(str(found[0][0]), json.loads(str(found[0][1]))) if found else None

    def publish(self, changes: Changes) -> Mapping[str, int]:
        """Show the changes, all at once; gives the rows that were staged of each relation.

        What an interrupted publish has left, tables and files, goes first: one publish at a time into a schema.
        """
        schema, publish_id = self._settings.schema_name, changes.publish.publish_id
        folder = f"{self._settings.staging.rstrip('/')}/{publish_id}"
        with sink_errors(f"could not clear {self._settings.staging}"):
            self._remove_files()
        sql.check_columns(schema, self._client.query(sql.columns(schema)))
        self._client.run(sql.create(schema))
        left = [str(name) for (name,) in self._client.query(sql.leftovers(schema))]
        self._client.run([*drop_leftovers(sql.namespace(schema), left), *sql.staging(schema, publish_id)])
        rows: dict[str, int] = {}
        copies: list[Statement] = []
        for change in changes.relations.values():
            rows[change.relation.name] = self._stage(change, publish_id, folder, copies)
        self._client.run(copies)
        reach("publish_redshift.staged")
        self._client.transact(sql.apply(schema, changes.publish))
        self._client.run([sql.drop_staging(schema, publish_id)])
        with sink_errors(f"could not clear {self._settings.staging}"):
            self._remove_files()
        return rows

    def row_counts(self) -> Mapping[str, int]:
        """The rows of each published table."""
        found = self._client.query(sql.reconciliation(self._settings.schema_name)[0])
        return {str(name): int(str(rows)) for name, rows in found}

    def sales_sums(self) -> list[tuple[object, ...]]:
        """The sums of fact_sales by day and currency; days and decimals are texts."""
        return [*self._client.query(sql.reconciliation(self._settings.schema_name)[1])]

    def _stage(self, change: Change, publish_id: str, folder: str, copies: list[Statement]) -> int:
        """Write the files of one relation and add the statements that load them; gives its rows."""
        if change.groups == 0:
            return 0
        names = sql.namespace(self._settings.schema_name)
        place = f"{folder}/{change.relation.name}"
        columns = change.relation.column_names
        rows = self._write(
            change.rows.select(*columns), f"{place}/rows", names.rows(publish_id, change.relation), copies
        )
        if change.keys is not None:
            group = change.relation.group
            self._write(change.keys.select(group), f"{place}/keys", names.keys(publish_id, change.relation), copies)
        return rows

    def _write(self, frame: DataFrame, location: str, table: str, copies: list[Statement]) -> int:
        """Write a frame as files, and a manifest of them that COPY reads; gives the rows."""
        with sink_errors(f"could not stage {location}"):
            files, rows = write_files(frame, location)
            if rows:
                manifest = f"{location}.manifest"
                write_text(manifest, copy_manifest({_for_copy(path): size for path, size in files.items()}))
                copies.append(copy(table, _for_copy(manifest), self._settings.iam_role, is_manifest=True))
        return rows

    def _remove_files(self) -> None:
        """Remove the files of this publish and of such as were interrupted."""
        system, inner = located(self._settings.staging)
        for info in system.get_file_info(pafs.FileSelector(inner, allow_not_found=True)):
            if info.type == pafs.FileType.Directory and _PUBLISH_ID.fullmatch(info.base_name):
                system.delete_dir(info.path)


def write_files(frame: DataFrame, location: str) -> tuple[dict[str, int], int]:
    """Write a frame as Parquet files for COPY, which goes by position: its columns alone, times as INT64 micros in UTC.

    Gives the size in bytes of each file with rows by its location, and the rows in all of them.
    """
    options: dict[str, str | int] = {"compression": "snappy", "maxRecordsPerFile": ROWS_PER_FILE}
    frame.write.options(**options).mode("overwrite").parquet(location)
    system, inner = located(location)
    infos = [info for info in system.get_file_info(pafs.FileSelector(inner)) if info.base_name.startswith("part-")]
    counted = {info.base_name: pq.read_metadata(info.path, filesystem=system).num_rows for info in infos}
    files = {f"{location}/{info.base_name}": info.size for info in infos if counted[info.base_name]}
    return files, sum(counted.values())


def _for_copy(location: str) -> str:
    """A location as COPY names it."""
    return location.replace("s3a://", "s3://", 1)


def copy(table: str, location: str, iam_role: str, *, is_manifest: bool = False) -> Statement:
    """Load Parquet files into a staging table (a quoted name, from `namespace`).

    `location` is an S3 prefix or, with `is_manifest`, a file as `copy_manifest` writes it. `iam_role` is the ARN of a
    role that the warehouse may assume, several with commas for a chain, or `default`. COPY goes by position: the files
    have exactly the columns of the table, in its order. Where nothing is staged there is nothing to COPY: a prefix
    without files is an error in Redshift. SchemaError for a location or a role that is none.
    """
    if not _LOCATION.fullmatch(location):
        raise SchemaError(f"{location!r} is no place to COPY from: expected s3://<bucket>/<prefix or manifest>")
    if iam_role != "default" and not _ROLE.fullmatch(iam_role):
        raise SchemaError(f"{iam_role!r} is no IAM role: expected arn:aws:iam::<account>:role/<name>, or default")
    role = "default" if iam_role == "default" else literal(iam_role)
    form = "FORMAT AS PARQUET" + ("\nMANIFEST" if is_manifest else "")
    return Statement(f"load {table}", f"COPY {table}\nFROM {literal(location)}\nIAM_ROLE {role}\n{form}")
