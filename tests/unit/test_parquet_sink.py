"""Published Parquet files: exact, only touched dates anew, and whole for a reader whatever happens to the writer."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from etl_lib.process.errors import ConfigError
from etl_lib.process.session import NEEDED
from etl_lib.settings.sink_settings import ParquetSettings
from etl_lib.sinks.parquet import folder as parquet_folder
from etl_lib.sinks.parquet import sink as parquet
from etl_lib.sinks.parquet import staging as parquet_staging
from etl_lib.sinks.parquet.folder import FolderManifest, PublishedFile, PublishedFolder, PublishedTable
from etl_lib.sinks.parquet.sink import ParquetSink
from etl_lib.sinks.parquet.staging import SALES_WIDE
from etl_lib.sinks.relations import RELATIONS, Relation
from etl_lib.sinks.sink import Change, Changes, PublishRefusedError, Shown, SinkError
from etl_lib.tables.publishes import Publish
from etl_lib.tables.schemas import SALES_TABLES
from tests.aws import s3_bucket
from tests.frames import assert_same, frame

Row = tuple[Any, ...]
MAY = datetime(2024, 5, 1, tzinfo=UTC)
QUICK, SLOW = ("moving", "deleting"), ("staged", "moved", "swapped")
POINTS = (*QUICK, *(pytest.param(point, marks=pytest.mark.slow) for point in SLOW))
WIDE = SALES_WIDE.name


@dataclass(frozen=True)
class Shop:
    """The tables at one moment: orders as (day of May, user, skus), users by country, products by category."""

    orders: Mapping[str, tuple[int, str | None, Sequence[str]]]
    users: Mapping[str, str] = field(default_factory=dict)
    products: Mapping[str, str] = field(default_factory=dict)

    def rows(self) -> dict[str, list[Row]]:
        """The rows of all published tables, by name."""
        found: dict[str, list[Row]] = {table.name: [] for table in SALES_TABLES}
        arrival = (MAY, -(2**63), "file.jsonl", MAY, "r1")
        found["dim_user"] = [(key, None, at(1), country, False, *arrival) for key, country in self.users.items()]
        found["dim_product"] = [
            (key, "né 'ß'\n", category, Decimal("0.0001"), False, *arrival) for key, category in self.products.items()
        ]
        for key, (day, user, skus) in self.orders.items():
            header = (key, at(day).date(), at(day), at(day), user, None, "EUR", "web", None)
            found["dim_order"].append((*header, len(skus), not skus, 7, "file.jsonl", MAY, "r1"))
            found["fact_sales"] += [
                (key, number, at(day).date(), at(day), user, sku, number, *amounts(number), at(day), "r1")
                for number, sku in enumerate(skus, 1)
            ]
        for day in sorted({line[2] for line in found["fact_sales"]}):
            lines = [line for line in found["fact_sales"] if line[2] == day]
            sums = (len({line[0] for line in lines}), sum(line[6] for line in lines), sum(line[8] for line in lines))
            found["daily_sales"].append((day, "EUR", "all", "all", "all", *sums))
        return found

    def wide_rows(self) -> list[Row]:
        name, price = "né 'ß'\n", Decimal("0.0001")
        joined = []
        for order_id, number, day, created_at, user, sku, *sold in self.rows()["fact_sales"]:
            of_user = (user, self.users.get(user), at(1) if user in self.users else None)
            of_product = (sku, name, self.products[sku], price) if sku in self.products else (sku, None, None, None)
            joined.append((order_id, number, day, created_at, "web", None, *of_user, *of_product, *sold))
        return joined


def at(day: int) -> datetime:
    """The last microsecond of a day of May, UTC."""
    return MAY + timedelta(days=day, microseconds=-1)


def amounts(number: int) -> Row:
    """Price, amount and currency of a line: as large as the columns allow, and one without a currency."""
    price = Decimal("99999999999999.9999") if number == 1 else Decimal("0.1000")
    return price, price * number, None if number == 3 else "EUR"


BEFORE = Shop(
    {
        "stays": (1, "u1", ["A", "B", "C"]),
        "shrinks": (2, "u1", ["A", "B"]),
        "moves": (3, "u2", ["B"]),
        "goes": (4, None, ["A"]),
    },
    users={"u1": "DE", "u2": "FR"},
    products={"A": "tea", "B": "tea"},
)
AFTER = replace(
    BEFORE,
    orders={**BEFORE.orders, "shrinks": (2, "u1", ["A"]), "moves": (5, "u2", ["B"]), "goes": (4, None, [])},
)


def changes(spark: SparkSession, before: Shop | None, after: Shop, publish_id: str, previous: str | None) -> Changes:
    """What a publish brings to a sink that shows `before`; everything when that is None."""
    version = int(publish_id[1:])
    versions = {table.name: version for table in SALES_TABLES}
    publish = Publish(publish_id, previous, versions, MAY + timedelta(days=version), is_full=before is None)
    old, new = before and before.rows(), after.rows()
    relations = {each.name: change(spark, each, old and old[each.name], new[each.name]) for each in RELATIONS}
    return Changes(publish, relations)


def change(spark: SparkSession, relation: Relation, before: list[Row] | None, after: list[Row]) -> Change:
    columns = next(table.columns for table in SALES_TABLES if table.name == relation.name)
    snapshot = frame(spark, columns, *after)
    if before is None:
        return Change(relation, snapshot, None, None)
    names = relation.column_names
    touched = set(before) ^ set(after)
    keys = {row[names.index(relation.group)] for row in touched}
    dates = frozenset(row[names.index("order_date")] for row in touched) if "order_date" in names else frozenset()
    staged = frame(spark, f"{relation.group} {relation.group_column.type}", *((key,) for key in keys))
    return Change(relation, snapshot, staged, None if touched and "order_date" not in names else dates)


def sink(folder: Path) -> ParquetSink:
    return ParquetSink(ParquetSettings(path=str(folder)))


def read(folder: Path) -> dict[str, list[Row]]:
    """All rows by table, as a reader by the manifest finds them."""
    tables = json.loads((folder / "_manifest.json").read_text())["tables"]
    found: dict[str, list[Row]] = {}
    for name, table in tables.items():
        rows = [pq.ParquetFile(folder / file["path"]).read().to_pylist() for file in table["files"]]
        assert [len(each) for each in rows] == [file["rows"] for file in table["files"]]
        found[name] = sorted((tuple(row.values()) for each in rows for row in each), key=repr)
    return found


def expected(shop: Shop) -> dict[str, list[Row]]:
    return {name: sorted(rows, key=repr) for name, rows in {**shop.rows(), WIDE: shop.wide_rows()}.items()}


def files(folder: Path, table: str = "") -> set[str]:
    """What a reader by folder finds."""
    paths = (path.relative_to(folder) for path in (folder / table).rglob("*.parquet"))
    return {str(path) for path in paths if not any(part[0] in "_." for part in path.parts)}


def dates_of(paths: set[str]) -> set[str]:
    return {path.split("/")[1].removeprefix("order_date=") for path in paths}


@pytest.fixture(scope="module")
def first(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one publish; not to be changed."""
    folder = tmp_path_factory.mktemp("published") / "a b"
    sink(folder).publish(changes(spark, None, BEFORE, "p1", None))
    return folder


@pytest.fixture
def published(first: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(first, tmp_path / "a b"))


def test_all_tables_can_be_read_back_exactly_with_and_without_spark(spark: SparkSession, first: Path) -> None:
    assert read(first) == expected(BEFORE)
    assert sink(first).shows() == Shown("p1", {table.name: 1 for table in SALES_TABLES})
    lines = changes(spark, None, BEFORE, "p1", None).relations["fact_sales"].snapshot
    assert_same(spark.read.parquet(str(first / "fact_sales")).select(lines.columns), lines)
    assert files(first) == {file["path"] for name in tables(first) for file in tables(first)[name]["files"]}


def tables(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "_manifest.json").read_text())["tables"]
    return found


def test_a_file_has_what_copy_needs_all_columns_in_order_and_times_as_integers(first: Path) -> None:
    (path,) = (path for path in files(first, "fact_sales") if "2024-05-01" in path)
    with pq.ParquetFile(first / path) as file:
        schema, group = file.schema, file.metadata.row_group(0)
        assert file.schema_arrow.to_string(show_schema_metadata=False).splitlines() == [
            "order_id: string not null",
            "line_no: int32 not null",
            "order_date: date32[day] not null",
            "created_at: timestamp[us, tz=UTC] not null",
            "user_id: string",
            "sku: string not null",
            "qty: int32 not null",
            "unit_price: decimal128(18, 4)",
            "line_amount: decimal128(29, 4)",
            "currency: string",
            "version_at: timestamp[us, tz=UTC] not null",
            "run_id: string not null",
        ]
    assert {schema.column(at).physical_type for at in (3, 10)} == {"INT64"}
    assert {group.column(at).compression for at in range(group.num_columns)} == {"SNAPPY"}


def test_only_touched_dates_are_written_a_moved_order_is_on_one_of_them_and_an_emptied_date_is_gone(
    spark: SparkSession, published: Path
) -> None:
    before = files(published)
    written = sink(published).publish(changes(spark, BEFORE, AFTER, "p2", "p1"))
    assert read(published) == expected(AFTER)
    orders = {"dim_order": 3, "fact_sales": 2, "daily_sales": 2, WIDE: 2}
    assert written == {"dim_user": 0, "dim_product": 0, **orders}
    after = files(published)
    for table, gone, new in (
        ("fact_sales", {"2024-05-02", "2024-05-03", "2024-05-04"}, {"2024-05-02", "2024-05-05"}),
        (WIDE, {"2024-05-02", "2024-05-03", "2024-05-04"}, {"2024-05-02", "2024-05-05"}),
        ("dim_order", {"2024-05-02", "2024-05-03", "2024-05-04"}, {"2024-05-02", "2024-05-04", "2024-05-05"}),
    ):
        of_table = {path for path in before | after if path.startswith(f"{table}/")}
        assert dates_of((before - after) & of_table) == gone
        assert dates_of((after - before) & of_table) == new
    assert not (published / "fact_sales" / "order_date=2024-05-04").exists()
    assert not (published / "_publishing").exists()
    assert {path for path in before - after if path.startswith("dim_user")} == set()


def test_a_changed_product_rewrites_itself_and_the_wide_lines_it_is_in(spark: SparkSession, published: Path) -> None:
    now = replace(BEFORE, products={"A": "tea", "B": "coffee"}, users={**BEFORE.users, "u3": "IT"})
    before = files(published)
    sink(published).publish(changes(spark, BEFORE, now, "p2", "p1"))
    assert read(published) == expected(now)
    new = files(published) - before
    assert {path.split("/")[0] for path in new} == {WIDE, "dim_product", "dim_user"}
    assert dates_of({path for path in new if path.startswith(WIDE)}) == {"2024-05-01", "2024-05-02", "2024-05-03"}


def test_nothing_changed_writes_no_file_and_the_same_publish_again_only_tidies_up(
    spark: SparkSession, published: Path
) -> None:
    before = files(published)
    nothing = changes(spark, BEFORE, BEFORE, "p2", "p1")
    assert set(sink(published).publish(nothing).values()) == {0}
    assert files(published) == before
    # As the death of this publish would have left them, after its manifest was there.
    (published / "dim_user" / "part-p1.00009.parquet").write_bytes(b"replaced")
    (published / "_publishing" / "p2").mkdir(parents=True)
    stamp = (published / "_manifest.json").stat().st_mtime_ns
    assert set(sink(published).publish(nothing).values()) == {0}
    assert (published / "_manifest.json").stat().st_mtime_ns == stamp
    assert files(published) == before
    assert not (published / "_publishing").exists()
    assert sink(published).shows() == Shown("p2", {table.name: 2 for table in SALES_TABLES})


def test_a_full_publish_replaces_everything_and_a_large_date_has_several_files(
    spark: SparkSession, published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet_staging, "ROWS_PER_FILE", 2)
    before = files(published)
    small = Shop({"only": (9, None, ["Z", "Y", "X"])})
    sink(published).publish(changes(spark, None, small, "p2", "p1"))
    assert read(published) == expected(small)
    assert files(published) & before == set()
    assert {path.name for path in (published / "fact_sales").iterdir()} == {"order_date=2024-05-09"}
    assert [file["rows"] for file in tables(published)["fact_sales"]["files"]] == [2, 1]


class Died(BaseException):
    """What a kill looks like from inside: no error, so that nothing is cleaned up."""


def dying_at(point: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def reach(reached: str) -> None:
        if reached == f"publish_parquet.{point}":
            raise Died

    monkeypatch.setattr(parquet, "reach", reach)
    monkeypatch.setattr(parquet_folder, "reach", reach)


@pytest.mark.parametrize("point", POINTS)
def test_after_a_death_at_any_point_readers_see_one_publish_and_the_next_converges(
    spark: SparkSession, published: Path, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    step = changes(spark, BEFORE, AFTER, "p2", "p1")
    # One at a time, so that a death leaves some files moved or deleted and others not.
    monkeypatch.setattr(parquet_folder, "_WORKERS", 1)
    with monkeypatch.context() as dying:
        dying_at(point, dying)
        with pytest.raises(Died):
            sink(published).publish(step)
    is_new = point in {"swapped", "deleting"}
    assert read(published) == expected(AFTER if is_new else BEFORE)
    assert sink(published).row_counts()["fact_sales"] == (5 if is_new else 7)
    later = replace(AFTER, orders={**AFTER.orders, "new": (4, "u1", ["A"])})
    shown, previous = (AFTER, "p2") if is_new else (BEFORE, "p1")
    sink(published).publish(changes(spark, shown, later, "p3", previous))
    assert read(published) == expected(later)
    assert files(published) == {file["path"] for table in tables(published).values() for file in table["files"]}
    assert not (published / "_publishing").exists()


def test_a_first_publish_that_died_leaves_nothing_to_the_next_one(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as dying:
        dying_at("moved", dying)
        with pytest.raises(Died):
            sink(tmp_path).publish(changes(spark, None, BEFORE, "p1", None))
    assert files(tmp_path) != set()
    assert sink(tmp_path).shows() is None
    assert sink(tmp_path).row_counts()["fact_sales"] == 0
    sink(tmp_path).publish(changes(spark, None, AFTER, "p2", None))
    assert read(tmp_path) == expected(AFTER)
    assert all(".p2." in path or "part-p2" in path for path in files(tmp_path))


def test_the_sums_and_counts_are_those_of_the_files(published: Path) -> None:
    shown = sink(published)
    assert shown.row_counts() == {name: len(rows) for name, rows in BEFORE.rows().items()}
    large = Decimal("99999999999999.9999")
    assert shown.sales_sums() == [
        (date(2024, 5, 1), None, 1, 3, Decimal("0.3000")),
        (date(2024, 5, 1), "EUR", 2, 3, large + Decimal("0.2000")),
        (date(2024, 5, 2), "EUR", 2, 3, large + Decimal("0.2000")),
        (date(2024, 5, 3), "EUR", 1, 1, large),
        (date(2024, 5, 4), "EUR", 1, 1, large),
    ]


def tampered(path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    """Put a file with other rows into the place of a published one, as its owner would not."""
    pq.write_table(change(pq.ParquetFile(path).read()), path)


def test_tampering_shows_and_the_next_publish_heals_it(spark: SparkSession, published: Path) -> None:
    (day_1,) = (path for path in files(published, "fact_sales") if "2024-05-01" in path)
    (day_3,) = (path for path in files(published, "fact_sales") if "2024-05-03" in path)
    zero = pa.array([Decimal("0.0000")], pa.decimal128(29, 4))
    tampered(published / day_3, lambda rows: rows.set_column(8, "line_amount", zero))
    assert sink(published).sales_sums()[3] == (date(2024, 5, 3), "EUR", 1, 1, Decimal("0.0000"))
    assert sink(published).row_counts()["fact_sales"] == 7

    tampered(published / day_1, lambda rows: rows.slice(1))
    with pytest.raises(SinkError, match="sales_wide has 7 rows and fact_sales 6"):
        sink(published).row_counts()

    os.remove(published / day_1)
    user = min(files(published, "dim_user"))
    (published / user).write_bytes(b"PAR1")
    with pytest.raises(SinkError, match=f"published files are lost: {day_1};"):
        sink(published).sales_sums()
    with pytest.raises(SinkError, match=r"could not count the published rows: .*[Pp]arquet"):
        sink(published).row_counts()

    sink(published).publish(changes(spark, BEFORE, BEFORE, "p2", "p1"))
    assert read(published) == expected(BEFORE)


def test_a_publish_that_does_not_follow_on_what_is_shown_is_refused(
    spark: SparkSession, published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (published / "_manifest.json").read_bytes(), files(published)
    shown = sink(published)
    with pytest.raises(PublishRefusedError, match="it shows the publish p1, and the changes follow on p0"):
        shown.publish(changes(spark, BEFORE, AFTER, "p2", "p0"))
    with pytest.raises(PublishRefusedError, match="follow on an empty sink"):
        shown.publish(changes(spark, None, AFTER, "p2", None))

    with PublishedFolder(str(published), ()).locked(), pytest.raises(PublishRefusedError, match="is under way"):
        shown.publish(changes(spark, BEFORE, AFTER, "p2", "p1"))
    assert ((published / "_manifest.json").read_bytes(), files(published)) == before

    # As on an object store, where nothing locks the other one out.
    other = before[0].replace(b'"publish_id": "p1"', b'"publish_id": "p9"').replace(b'p1",', b'p9",')

    def come_between(point: str) -> None:
        if point == "publish_parquet.moved":
            (published / "_manifest.json").write_bytes(other)

    monkeypatch.setattr(parquet, "reach", come_between)
    with pytest.raises(PublishRefusedError, match="another publish came in between"):
        shown.publish(changes(spark, BEFORE, AFTER, "p2", "p1"))
    assert ((published / "_manifest.json").read_bytes(), files(published)) == (other, before[1])


def test_a_folder_with_files_of_others_is_left_alone(spark: SparkSession, tmp_path: Path) -> None:
    delta, strange = tmp_path / "fact_sales" / "_delta_log", tmp_path / "dim_user" / "part-00000-1.snappy.parquet"
    for path in (delta / "0.json", strange):
        path.parent.mkdir(parents=True)
        path.write_text("{}")
    with pytest.raises(SinkError, match=r"wrote: dim_user/part-00000-1.snappy.parquet, fact_sales/_delta_log;"):
        sink(tmp_path).publish(changes(spark, None, BEFORE, "p1", None))
    found = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert found - {".publish.lock"} == {"fact_sales/_delta_log/0.json", "dim_user/part-00000-1.snappy.parquet"}


def test_a_broken_manifest_and_a_location_with_credentials_are_told(tmp_path: Path) -> None:
    (tmp_path / "_manifest.json").write_text('{"publish_id": 1}')
    with pytest.raises(SinkError, match=r"_manifest.json: not the manifest of a publish \(.*publish_id.*delete this"):
        sink(tmp_path).shows()
    with pytest.raises(ConfigError) as told:
        ParquetSink(ParquetSettings(path="s3a://key:canary@bucket/folder"))
    assert "canary" not in str(told.value)


def test_on_s3_beside_the_files_of_each_table_is_a_manifest_for_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    with s3_bucket() as bucket:
        for name, value in bucket.environment.items():
            monkeypatch.setenv(name, value)
        folder = PublishedFolder("s3a://lake/shop", ["dim_user", "fact_sales"])
        (new, kept, old) = (
            PublishedFile(path=f"fact_sales/order_date=2024-05-0{day}/part-{publish}.00000.parquet", bytes=3, rows=1)
            for day, publish in ((1, "p2"), (2, "p1"), (3, "p1"))
        )
        staged = f"lake/shop/_publishing/p2/{new.path}"
        for key in (staged, *(f"lake/shop/{file.path}" for file in (kept, old))):
            bucket.put(key.removeprefix("lake/"), b"abc")
        folder.move_in({staged: new})
        manifest = FolderManifest(
            publish_id="p2",
            previous=None,
            versions={},
            published_at=MAY,
            written={},
            tables={"fact_sales": PublishedTable(columns=(), files=(new, kept))},
        )
        contents = folder.confirm(None, [new])
        folder.swap(manifest)
        folder.settle(manifest, contents)
        assert folder.manifest() == manifest
        copy_manifest = "shop/fact_sales/_copy_manifest.json"
        files = {f"shop/{file.path}" for file in (new, kept)}
        assert bucket.files() == {"shop/_manifest.json", copy_manifest, *files}
        entries = json.loads(bucket.get(copy_manifest))["entries"]
        assert entries == [
            {"url": f"s3://lake/shop/{file.path}", "mandatory": True, "meta": {"content_length": 3}}
            for file in (new, kept)
        ]
        with pytest.raises(PublishRefusedError, match="came in between"):
            folder.confirm(manifest, [old])


def test_files_of_another_form_than_declared_are_not_published(spark: SparkSession, published: Path) -> None:
    setting = "spark.sql.parquet.outputTimestampType"
    spark.conf.set(setting, "INT96")  # as in a session that refuses what is needed
    try:
        with pytest.raises(
            SinkError, match=r"created_at timestamp\[ns\] instead of created_at timestamp\[us, tz=UTC\]"
        ):
            sink(published).publish(changes(spark, BEFORE, AFTER, "p2", "p1"))
    finally:
        spark.conf.set(setting, NEEDED[setting])
    assert read(published) == expected(BEFORE)
