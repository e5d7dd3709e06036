"""The invariants of the tables: what holds in a warehouse at rest, whatever was loaded and in which order.

An invariant is a name, a sentence, and an expression of Spark SQL over the rows of its subject; as in a rule, NULL
counts as broken. All subjects whose tables are there are asked in one query.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from etl_lib.applying.daily_sales import daily_sales
from etl_lib.reading.datasets import DATASETS, EVENT_DATASETS
from etl_lib.tables.counting import Sampled, sample
from etl_lib.tables.ledger import APPLYING, DONE
from etl_lib.tables.open_runs import unfinished
from etl_lib.tables.schemas import (
    ALL_TABLES,
    DAILY_SALES,
    DIM_ORDER,
    DIM_PRODUCT,
    DIM_USER,
    ETL_RUNS,
    ETL_STAGE,
    FACT_SALES,
    LINE_AMOUNT,
    VALUE_PROP_FEATURES,
    Table,
)
from etl_lib.tables.values_frame import values_frame
from etl_lib.tables.warehouse import Warehouse


@dataclass(frozen=True)
class Invariant:
    """`check` is true for a good row among those for which `of` is true."""

    name: str
    says: str
    check: str
    of: str = "true"


@dataclass(frozen=True)
class Subject:
    """What some invariants speak of: `rows` makes it from the tables that it `needs`; `key` names a row to a person."""

    needs: tuple[Table, ...]
    rows: Callable[[Warehouse], DataFrame]
    key: Sequence[str]
    invariants: tuple[Invariant, ...]


def find_violations(warehouse: Warehouse, subjects: Sequence[Subject], samples: int) -> dict[str, Sampled]:
    """The rows that break the invariants of the subjects, with up to `samples` of their keys, by the invariant's name.

    Invariants that hold are left out. One query.
    """
    broken = reduce(DataFrame.unionByName, (_broken(warehouse, subject) for subject in subjects))
    return {name: rows for (name,), rows in sorted(sample(broken, ["name"], samples).items())}


def _broken(warehouse: Warehouse, subject: Subject) -> DataFrame:
    """One row for each row and invariant that it breaks: `name` of the invariant and `key` of the row."""

    def name_if_broken(invariant: Invariant) -> Column:
        holds = F.coalesce(F.expr(invariant.check).cast("boolean"), F.lit(False))
        return F.when(F.coalesce(F.expr(invariant.of), F.lit(False)) & ~holds, F.lit(invariant.name))

    key = F.concat_ws(" / ", *(F.coalesce(F.col(name).cast("string"), F.lit("NULL")) for name in subject.key))
    names = F.array_compact(F.array(*(name_if_broken(invariant) for invariant in subject.invariants)))
    return subject.rows(warehouse).select(key.alias("key"), F.explode(names).alias("name"))


def orders_and_lines(warehouse: Warehouse) -> DataFrame:
    """Every order of either table: `header`, its row of dim_order, and what fact_sales has of it, else NULL."""
    product = (F.col("qty") * F.col("unit_price")).cast(LINE_AMOUNT)
    ranges = (
        F.struct(F.min(name).alias("least"), F.max(name).alias("greatest")).alias(f"line_{name}")
        for name in ("order_date", "version_at", "run_id")
    )
    lines = (
        warehouse.read(FACT_SALES)
        .groupBy("order_id")
        .agg(
            F.count("*").alias("lines"),
            F.min("line_no").alias("first_line"),
            F.max("line_no").alias("last_line"),
            F.count_if(~F.col("line_amount").eqNullSafe(product)).alias("wrong_amounts"),
            *ranges,
        )
    )
    headers = warehouse.read(DIM_ORDER).select("order_id", F.struct("*").alias("header"))
    return headers.join(lines, "order_id", "full")


def _agrees(name: str, column: str) -> Invariant:
    return Invariant(
        name,
        f"{column} is the same in an order and in all of its lines",
        f"line_{column}.least = header.{column} AND line_{column}.greatest = header.{column}",
        of="header IS NOT NULL AND lines > 0",
    )


ORDERS = Subject(
    needs=(FACT_SALES, DIM_ORDER),
    rows=orders_and_lines,
    key=("order_id",),
    invariants=(
        Invariant("lines_have_their_order", "no line stands without its order in dim_order", "header IS NOT NULL"),
        Invariant(
            "lines_are_complete",
            "a live order has exactly line_count lines, numbered from 1",
            "coalesce(lines, 0) = header.line_count AND (lines IS NULL OR first_line = 1 AND last_line = lines)",
            of="NOT header.is_deleted",
        ),
        Invariant(
            "deleted_orders_have_no_lines",
            "a deleted order has no lines, and says so",
            "lines IS NULL AND header.line_count = 0",
            of="header.is_deleted",
        ),
        _agrees("order_dates_agree", "order_date"),
        _agrees("versions_agree", "version_at"),
        _agrees("runs_agree", "run_id"),
        Invariant(
            "orders_are_under_their_day",
            "order_date is the UTC date of created_at",
            "header.order_date = to_date(header.created_at)",
            of="header IS NOT NULL",
        ),
        Invariant(
            "line_amounts_reconcile",
            "line_amount is qty times unit_price, exactly",
            "wrong_amounts = 0",
            of="lines > 0",
        ),
    ),
)


def sales_by_definition(warehouse: Warehouse) -> DataFrame:
    """daily_sales as it is (`actual`) beside what its definition gives now (`expected`), by its key."""
    key, measures = DAILY_SALES.key, [name for name in DAILY_SALES.column_names if name not in DAILY_SALES.key]
    now = daily_sales(*(warehouse.read(table) for table in (FACT_SALES, DIM_ORDER, DIM_USER, DIM_PRODUCT)))
    expected = now.select(*key, F.struct(*measures).alias("expected"))
    actual = warehouse.read(DAILY_SALES).select(*key, F.struct(*measures).alias("actual"))
    return expected.join(actual, list(key), "full")


def _members(source: Table, table: Table, name: str) -> Subject:
    key = table.key[0]

    def members(warehouse: Warehouse) -> DataFrame:
        named = warehouse.read(source).select(key).where(f"{key} <> ''").distinct()
        return named.join(warehouse.read(table).select(key, F.lit(True).alias("is_known")), key, "left")

    says = f"every {key} of {source.name} is in {table.name}"
    return Subject((source, table), members, (key,), (Invariant(name, says, "is_known"),))


def _keys(table: Table) -> Subject:
    def counted(warehouse: Warehouse) -> DataFrame:
        return warehouse.read(table).groupBy(*table.key).agg(F.count("*").alias("times"))

    says = f"({', '.join(table.key)}) is unique in {table.name}"
    return Subject((table,), counted, table.key, (Invariant(f"{table.name}_key_is_unique", says, "times = 1"),))


def _in_metrics(path: str) -> Column:
    return F.get_json_object("metrics", f"$.{path}").cast("bigint")


def runs_as_counted(warehouse: Warehouse) -> DataFrame:
    """Every complete run that read records: `outcomes`, and `input`, the records that its metrics say were read."""
    events = reduce(Column.__add__, (_in_metrics(f"input_{dataset}") for dataset in EVENT_DATASETS))
    runs = warehouse.read(ETL_RUNS).where((F.col("status") == DONE) & (F.col("job") != "maintain"))
    return runs.select("run_id", "job", "outcomes", F.coalesce(_in_metrics("input_orders"), events).alias("input"))


def files_of_runs(warehouse: Warehouse) -> DataFrame:
    """The files by run and dataset: `records`, `read` by that run as its metrics say, and its `status`."""
    counts = [(F.lit(dataset), _in_metrics(f"datasets.{dataset}.records")) for dataset in DATASETS]
    read = F.create_map(*(column for pair in counts for column in pair))
    files = warehouse.read(ETL_RUNS).select("run_id", "status", read.alias("read"), F.explode("files").alias("file"))
    by = ("run_id", "status", "file.dataset", F.col("read")[F.col("file.dataset")].alias("read"))
    return files.groupBy(*by).agg(F.sum("file.records").alias("records"))


def staged_unfinished(warehouse: Warehouse) -> DataFrame:
    """The staged runs that were cut off."""
    return values_frame(warehouse.spark, [(manifest.run_id,) for manifest in unfinished(warehouse)], "run_id STRING")


_BY_DATE = (FACT_SALES, DIM_ORDER, DAILY_SALES)

APPLIED = (
    ORDERS,
    Subject(
        needs=(FACT_SALES, DIM_ORDER, DIM_USER, DIM_PRODUCT, DAILY_SALES),
        rows=sales_by_definition,
        key=DAILY_SALES.key,
        invariants=(
            Invariant("daily_sales_reconciles", "daily_sales is what its definition gives now", "actual <=> expected"),
        ),
    ),
    _members(DIM_ORDER, DIM_USER, "users_are_known"),
    _members(FACT_SALES, DIM_PRODUCT, "products_are_known"),
    *(_keys(table) for table in _BY_DATE),
)
"""What can be asked of the dates that a run has changed."""

SUBJECTS = (
    *APPLIED,
    *(_keys(table) for table in ALL_TABLES if table.key and table not in _BY_DATE),
    Subject(
        needs=(VALUE_PROP_FEATURES,),
        rows=lambda warehouse: warehouse.read(VALUE_PROP_FEATURES),
        key=("week", "day", "user_id", "value_prop"),
        invariants=(
            Invariant("weeks_are_mondays", "week is the Monday on or before day", "week = trunc(day, 'week')"),
            Invariant(
                "features_are_in_range",
                "clicked is 0 or 1, and no count is below 0",
                "clicked IN (0, 1) AND least(views_3w, clicks_3w, payments_3w) >= 0",
            ),
        ),
    ),
    Subject(
        needs=(ETL_RUNS,),
        rows=runs_as_counted,
        key=("run_id",),
        invariants=(
            Invariant(
                "outcomes_add_up",
                "the outcomes of a complete run add up to its input",
                "aggregate(map_values(outcomes), 0L, (sum, n) -> sum + n) = input",
                of="job <> 'quarantine' OR input IS NOT NULL",  # discarding reads no record
            ),
        ),
    ),
    Subject(
        needs=(ETL_RUNS,),
        rows=files_of_runs,
        key=("run_id", "dataset"),
        invariants=(
            Invariant("files_have_their_run", "only a run that is complete has files", f"status = '{DONE}'"),
            Invariant(
                "files_hold_what_was_read",
                "the files that a run loaded hold no more records than it read",
                "records <= read",
                of=f"status = '{DONE}'",
            ),
        ),
    ),
    Subject(
        needs=(ETL_STAGE, ETL_RUNS),
        rows=staged_unfinished,
        key=("run_id",),
        invariants=(
            Invariant(
                "no_run_is_unfinished", "no staged run was cut off: the next run of the orders job finishes it", "false"
            ),
        ),
    ),
    Subject(
        needs=(ETL_RUNS,),
        rows=lambda warehouse: warehouse.read(ETL_RUNS).where("job = 'maintain'"),
        key=("run_id",),
        invariants=(
            Invariant(
                "no_restore_is_unfinished",
                "no restore was cut off: the next run of any job finishes it",
                f"status <> '{APPLYING}'",
            ),
        ),
    ),
)

MEANINGS = {invariant.name: invariant.says for subject in SUBJECTS for invariant in subject.invariants}
"""What each invariant says, by its name."""
