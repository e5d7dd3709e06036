"""The Parquet sink: the published tables as plain files by date, for COPY and for every reader of a lake.

    <path>/_manifest.json                                             the files that are published now, of all tables
    <path>/fact_sales/order_date=2024-05-01/part-<publish>.00000.parquet   likewise dim_order, daily_sales, sales_wide
    <path>/dim_user/part-<publish>.00000.parquet                      likewise dim_product
    <path>/<table>/_copy_manifest.json                                on S3: for Redshift's COPY ... MANIFEST

Spark writes into `<path>/_publishing`, which readers pass over, and the files are moved from there: the names that
Spark gives cannot be chosen, and its committer leaves torn files where it is killed. Then the manifest is replaced in
one step, and what it no longer lists is deleted. order_date is in the files, too: COPY reads nothing from paths.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import date
from typing import ClassVar

from pyarrow import acero

from etl_lib.process.faults import reach
from etl_lib.process.secrets import without_credentials
from etl_lib.settings.sink_settings import ParquetSettings
from etl_lib.sinks.parquet.folder import FolderContents, FolderManifest, PublishedFile, PublishedFolder, listed
from etl_lib.sinks.parquet.staging import WIDE, Part, changed_parts, following, stage
from etl_lib.sinks.relations import RELATIONS
from etl_lib.sinks.sink import Changes, PublishRefusedError, Shown, SinkError, sink_errors
from etl_lib.tables.publishes import Publish
from etl_lib.tables.schemas import FACT_SALES


class ParquetSink:
    """Published tables in a folder; they can be asked without Spark."""

    name: ClassVar[str] = "parquet"

    def __init__(self, settings: ParquetSettings) -> None:
        """ConfigError for a location with credentials in it."""
        path = settings.path if settings.path.startswith("/") else without_credentials(settings.path)
        self._folder = PublishedFolder(path, [relation.name for relation in (*RELATIONS, WIDE)])

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
        with sink_errors(f"{self.address}: could not publish"), self._folder.locked():
            current, contents = self._folder.manifest(), self._folder.contents()
            is_done = _is_done(current, changes.publish, self.address)
            # What an interruption has left goes first.
            self._folder.settle(current, contents)
            reach("publish_parquet.settled")
            if current is not None and is_done:
                return current.written
            manifest, contents = self._bring_in(changes.publish, current, changed_parts(changes, current, contents))
            self._folder.swap(manifest)
            reach("publish_parquet.swapped")
            self._folder.settle(manifest, contents)
            return manifest.written

    def _bring_in(
        self, publish: Publish, current: FolderManifest | None, parts: Sequence[Part]
    ) -> tuple[FolderManifest, FolderContents]:
        """Write and move in the new files; gives the manifest that is to list them, and what is there now."""
        staged = stage(self._folder, publish.publish_id, parts)
        manifest = following(publish, current, parts, staged)
        _check_lines(manifest)
        reach("publish_parquet.staged")
        new = {path: file for files in staged.values() for path, file in files.items()}
        try:
            self._folder.move_in(new)
            reach("publish_parquet.moved")
            return manifest, self._folder.confirm(current, new.values())
        except Exception:
            with suppress(OSError):  # the next publish tries again
                self._folder.remove(file.path for file in new.values())
            raise

    def row_counts(self) -> Mapping[str, int]:
        """The rows of each relation, counted in the files. SinkError for a lost file, or a wide table that differs."""
        with sink_errors(f"{self.address}: could not count the published rows"):
            manifest = self._folder.manifest()
            counts = dict.fromkeys((relation.name for relation in (*RELATIONS, WIDE)), 0)
            for name in counts:
                if files := _files(manifest, name):
                    counts[name] = self._folder.dataset(files).count_rows()
        wide, lines = counts.pop(WIDE.name), counts[FACT_SALES.name]
        if wide != lines:
            raise SinkError(
                f"{self.address}: {WIDE.name} has {wide} rows and {FACT_SALES.name} {lines}, of which it is made; "
                "publish all of it anew (--full)"
            )
        return counts

    def sales_sums(self) -> list[tuple[object, ...]]:
        """(order_date, currency, row_count, units, line_amount) of fact_sales, added up from the files."""
        keys = ["order_date", "currency"]
        sums = [
            ([], "hash_count_all", None, "row_count"),
            ("qty", "hash_sum", None, "units"),
            ("line_amount", "hash_sum", None, "line_amount"),
        ]
        with sink_errors(f"{self.address}: could not add up the published sales"):
            files = _files(self._folder.manifest(), FACT_SALES.name)
            if not files:
                return []
            lines = acero.ScanNodeOptions(self._folder.dataset(files), columns=[*keys, "qty", "line_amount"])
            steps = [
                acero.Declaration("scan", lines),
                acero.Declaration("aggregate", acero.AggregateNodeOptions(sums, keys)),
            ]
            rows = acero.Declaration.from_sequence(steps).to_table().to_pylist()
        return sorted((tuple(row.values()) for row in rows), key=lambda row: (row[0], row[1] or ""))


def _is_done(current: FolderManifest | None, publish: Publish, address: str) -> bool:
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


def _check_lines(manifest: FolderManifest) -> None:
    """SinkError unless the wide table has as many lines as fact_sales on every date."""
    wide, lines = (_rows_by_date(manifest, name) for name in (WIDE.name, FACT_SALES.name))
    wrong = sorted(str(day) for day in wide.keys() | lines.keys() if wide[day] != lines[day])
    if wrong:
        raise SinkError(
            f"{WIDE.name} would have other lines than {FACT_SALES.name} on {listed(wrong)}, and nothing was published; "
            "look for keys that stand twice in the dimensions, or publish all of it anew (--full)"
        )


def _rows_by_date(manifest: FolderManifest, table: str) -> Counter[date | None]:
    rows: Counter[date | None] = Counter()
    for file in manifest.tables[table].files:
        rows[file.order_date] += file.rows
    return rows


def _files(manifest: FolderManifest | None, table: str) -> Sequence[PublishedFile]:
    return manifest.tables[table].files if manifest is not None and table in manifest.tables else ()
