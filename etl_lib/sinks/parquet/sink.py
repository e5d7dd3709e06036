"""The Parquet sink: the published tables as plain files by date, for COPY and for every reader of a lake.

    <path>/_manifest.json                                             the files that are published now, of all tables
    <path>/fact_sales/order_date=2024-05-01/part-<publish>.00000.parquet   likewise dim_order, daily_sales, sales_wide
    <path>/dim_user/part-<publish>.00000.parquet                      likewise dim_product
    <path>/<table>/_copy_manifest.json                                on S3: for Redshift's COPY ... MANIFEST

A reader by the manifest sees one whole publish: files have names of their own publish, the manifest is replaced in one
step when all of them are there, and what it no longer lists is deleted after that. A reading that lasts longer than
until the next publish may miss a file; then read the manifest again. A reader by folder sees old and new files of a
date together while files are moved in and the old ones deleted; a publish that is killed then leaves it so until the
next one.

Spark writes into `<path>/_publishing`, which readers pass over, and the files are moved from there: the names that
Spark gives cannot be chosen, its committer leaves torn files where it is killed, and a file that is in its place must
be whole. On an object store a move is a copy within the store, which costs no traffic.

order_date stands in the path and in the files as well. COPY reads nothing from paths and goes by position, so that a
file needs all columns of its table, in their order. Spark and DuckDB take a column that is in both from the path, and
the value is the same. In Athena and Hive, declare it as the partition alone: files are read by name there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from etl_lib.process.faults import reach
from etl_lib.process.secrets import without_credentials
from etl_lib.settings.sink_settings import ParquetSettings
from etl_lib.sinks.parquet.folder import Found, PublishedFolder, told
from etl_lib.sinks.parquet.manifest import Manifest, PublishedFile, following
from etl_lib.sinks.parquet.staging import Part, parts, stage
from etl_lib.sinks.relations import RELATIONS
from etl_lib.sinks.sales_wide import WIDE
from etl_lib.sinks.sink import Changes, PublishRefusedError, Shown, SinkError, sink_errors
from etl_lib.tables.publishes import Publish
from etl_lib.tables.schemas import FACT_SALES

_SUMMED_BY = ["order_date", "currency"]
_SUMS = ["lines", "qty", "line_amount"]
_COLUMNS = [*_SUMMED_BY, "qty", "line_amount"]


class ParquetSink:
    """Published tables in a folder; they can be asked without Spark."""

    def __init__(self, settings: ParquetSettings) -> None:
        """ConfigError for a location with credentials in it."""
        path = settings.path if settings.path.startswith("/") else without_credentials(settings.path)
        self._folder = PublishedFolder(path, [relation.name for relation in (*RELATIONS, WIDE)])

    @property
    def name(self) -> str:
        """The name in the configuration."""
        return "parquet"

    @property
    def address(self) -> str:
        """The folder."""
        return self._folder.root

    def shows(self) -> Shown | None:
        """The last publish, or None for a folder without any."""
        with sink_errors(f"{self.address}: could not read what is published"):
            manifest = self._folder.manifest()
        return None if manifest is None else Shown(manifest.publish_id, manifest.versions)

    def publish(self, changes: Changes) -> Mapping[str, int]:
        """Show the changes, all at once; gives the rows written by table, `sales_wide` among them.

        PublishRefusedError when the folder shows another publish than the one that the changes were computed on, or
        when another publish is under way.
        """
        with sink_errors(f"{self.address}: could not publish"), self._folder.held():
            current = self._folder.manifest()
            found = self._folder.found()
            is_done = _is_done(current, changes.publish, self.address)
            # What an interruption has left goes first.
            self._folder.settle(current, found)
            reach("publish_parquet.settled")
            if current is not None and is_done:
                return current.written
            manifest, found = self._bring_in(changes.publish, current, parts(changes, current, found))
            self._folder.swap(manifest)
            reach("publish_parquet.swapped")
            self._folder.settle(manifest, found)
            return manifest.written

    def _bring_in(self, publish: Publish, current: Manifest | None, parts: Sequence[Part]) -> tuple[Manifest, Found]:
        """Write and move in the new files; gives the manifest that is to list them, and what is there now."""
        staged = stage(self._folder, publish.publish_id, parts)
        manifest = following(publish, current, [(part.relation, part.dates) for part in parts], staged)
        _check_lines(manifest)
        reach("publish_parquet.staged")
        new = [file for files in staged.values() for file in files.values()]
        try:
            self._folder.move_in({path: file for files in staged.values() for path, file in files.items()})
            reach("publish_parquet.moved")
            return manifest, self._folder.confirm(current, new)
        except Exception:
            with suppress(OSError):  # the next publish tries again
                self._folder.remove(file.path for file in new)
            raise

    def row_counts(self) -> Mapping[str, int]:
        """The rows of each relation, counted in the files. SinkError for a lost file, or a wide table that differs."""
        with sink_errors(f"{self.address}: could not count the published rows"):
            manifest = self._folder.manifest()
            counts = {
                relation.name: sum(self._folder.read_each(_files(manifest, relation.name), _rows))
                for relation in (*RELATIONS, WIDE)
            }
        wide, lines = counts.pop(WIDE.name), counts[FACT_SALES.name]
        if wide != lines:
            raise SinkError(
                f"{self.address}: {WIDE.name} has {wide} rows and {FACT_SALES.name} {lines}, of which it is made; "
                "publish all of it anew (--full)"
            )
        return counts

    def sales_sums(self) -> list[tuple[object, ...]]:
        """(order_date, currency, row_count, units, line_amount) of fact_sales, added up from the files."""
        with sink_errors(f"{self.address}: could not add up the published sales"):
            found = self._folder.read_each(_files(self._folder.manifest(), FACT_SALES.name), _sums)
        if not found:
            return []
        sums = pa.concat_tables(found).group_by(_SUMMED_BY).aggregate([(name, "sum") for name in _SUMS])
        rows = sums.select([*_SUMMED_BY, *(f"{name}_sum" for name in _SUMS)]).to_pylist()
        return sorted((tuple(row.values()) for row in rows), key=lambda row: (row[0], row[1] or ""))


def _is_done(current: Manifest | None, publish: Publish, address: str) -> bool:
    """Whether this very publish is shown already. PublishRefusedError when it does not follow on what is shown."""
    shown = None if current is None else current.publish_id
    if current is not None and shown == publish.publish_id and current.versions == dict(publish.versions):
        return True
    if shown != publish.previous:
        raise PublishRefusedError(
            f"{address}: it shows the publish {shown or '(none)'}, and the changes follow on "
            f"{publish.previous or 'an empty sink'}; nothing was changed, publish again"
        )
    return False


def _check_lines(manifest: Manifest) -> None:
    """SinkError unless the wide table has as many lines as fact_sales on every date."""
    wide, lines = manifest.tables[WIDE.name].rows, manifest.tables[FACT_SALES.name].rows
    wrong = sorted(str(day) for day in wide.keys() | lines.keys() if wide.get(day) != lines.get(day))
    if wrong:
        raise SinkError(
            f"{WIDE.name} would have other lines than {FACT_SALES.name} on {told(wrong)}, and nothing was published; "
            "look for keys that stand twice in the dimensions, or publish all of it anew (--full)"
        )


def _files(manifest: Manifest | None, table: str) -> Sequence[PublishedFile]:
    return manifest.tables[table].files if manifest is not None and table in manifest.tables else ()


def _rows(path: str, system: pafs.FileSystem) -> int:
    return int(pq.read_metadata(path, filesystem=system).num_rows)


def _sums(path: str, system: pafs.FileSystem) -> pa.Table:
    """The sums of one file, a row group at a time."""
    with pq.ParquetFile(path, filesystem=system) as file:
        groups = [_sums_of(file.read_row_group(at, _COLUMNS)) for at in range(file.num_row_groups)]
    return pa.concat_tables(groups)


def _sums_of(lines: pa.Table) -> pa.Table:
    counted = lines.append_column("lines", pa.repeat(pa.scalar(1, pa.int64()), lines.num_rows))
    sums = counted.group_by(_SUMMED_BY).aggregate([(name, "sum") for name in _SUMS])
    return sums.rename_columns([name.removesuffix("_sum") for name in sums.column_names])
