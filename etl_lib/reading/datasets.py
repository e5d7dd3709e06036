"""The datasets: one entry for each kind of input, with all that is known of it. Whatever goes over the input goes over
these entries and names no dataset.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from pyspark.sql import DataFrame, SparkSession

from etl_lib.reading.csv_files import read_csv_records
from etl_lib.reading.csv_lines import read_csv_lines
from etl_lib.reading.first_line import FirstLine
from etl_lib.reading.json_files import read_json_records
from etl_lib.reading.parsed_columns import PARSED_ORDER, PARSED_PAY, PARSED_PRODUCT, PARSED_USER, PARSED_VIEW
from etl_lib.reading.records import (
    ORDER_SHAPE,
    PAY_COLUMNS,
    PRODUCT_COLUMNS,
    USER_COLUMNS,
    VIEW_SHAPE,
    parse_orders,
    parse_pays,
    parse_products,
    parse_users,
    parse_views,
)
from etl_lib.reading.strict_json import JsonShape
from etl_lib.settings.config import Settings
from etl_lib.settings.rules import STRUCTURAL
from etl_lib.sources.landing import LandingFile
from etl_lib.tables.schemas import DIM_ORDER, DIM_PRODUCT, DIM_USER, ETL_EVENTS, ETL_STAGE, FACT_SALES, Table

_CSV_ALONE = ("malformed_csv", "wrong_column_count")
_CSV_RULES = ("not_utf8", "nul_in_text", "no_key", *_CSV_ALONE)
_LINES_RULES = tuple(name for name in STRUCTURAL if name not in {*_CSV_ALONE, "broken_array"})

Read = Callable[[SparkSession, Sequence[LandingFile], Mapping[str, FirstLine], Settings], DataFrame]
Parse = Callable[[DataFrame, Settings], DataFrame]


@dataclass(frozen=True)
class StagedId:
    """An id that records have: `ids` is SQL for it in a staged record, or for the array of them (`is_array`), `table`
    where those of the records before are; None where each run reads all records.
    """

    ids: str
    table: Table | None = None
    is_array: bool = False


@dataclass(frozen=True)
class Profiled:
    """A field that the profile of a batch describes: `value` is SQL for it in a staged record."""

    value: str
    kind: Literal["number", "time", "category", "id"]
    """Of a number also quantiles are told, of a category the most frequent values, of an id no value at all."""


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """One kind of input: how files become records, records typed columns, and these a table."""

    name: str
    read: Read
    """From files and their first lines to RECORD_COLUMNS, of CSV also `given STRUCT<columns>`."""
    parse: Parse
    """Adds the typed columns, `parse_error`, `unknown_fields`, `key`, `version_at` and `content_hash`."""
    parsed: str
    """The columns of a parsed record, as Spark DDL: what the rules of the configuration may speak of."""
    structural: Sequence[str]
    """The rules that parsing itself may find broken."""
    stage: Table = ETL_STAGE
    table: Table | None = None
    """The table with which the winners are compared; None where no record competes with another."""
    has_versions: bool = False
    """Whether a record has a version of its own; elsewhere the time of its file stands in."""
    is_limited: bool = True
    """Whether the share of rejected records is held against quality.max_rejected_share."""
    shape: JsonShape | None = None
    columns: Sequence[str] = ()
    """Of CSV."""
    values: Mapping[str, str] = field(default_factory=dict)
    """SQL for the staged value of each member that an accepted record may lack."""
    ids: Mapping[str, StagedId] = field(default_factory=dict)
    profiled: Mapping[str, Profiled] = field(default_factory=dict)
    named_by: str = ""
    """Of a dimension: SQL for the array of its keys that an applied order names."""
    member_rule: str = ""
    """Of a dimension: the rule that orders name only keys that it has."""

    @property
    def members(self) -> frozenset[str]:
        """The names that are declared: of columns, or of members of the JSON and of those within them."""
        if self.shape is None:
            return frozenset(self.columns)
        shape = self.shape
        return frozenset([*shape.leaves, *shape.booleans, *shape.objects, *shape.arrays])


def _profiled(prefix: str, **kinds: Literal["number", "time", "category", "id"]) -> dict[str, Profiled]:
    """Fields of a staged record, the name of each being that of its column."""
    return {name: Profiled(f"{prefix}{name}", kind) for name, kind in kinds.items()}


def _views(name: str) -> Dataset:
    return Dataset(
        name=name,
        read=lambda spark, files, first, _: read_json_records(spark, files, "lines", first),
        parse=lambda records, _: parse_views(records),
        parsed=PARSED_VIEW,
        structural=_LINES_RULES,
        stage=ETL_EVENTS,
        shape=VIEW_SHAPE,
        values={"event_data.position": "position"},
        ids={"user_id": StagedId("user_id")},
        profiled=_profiled("", day="time", user_id="id", value_prop="category", position="number"),
    )


_ENTRIES = (
    Dataset(
        name="orders",
        read=lambda spark, files, first, settings: read_json_records(spark, files, settings.layout, first),
        parse=lambda records, settings: parse_orders(records, settings.version_fields),
        parsed=PARSED_ORDER,
        structural=(*_LINES_RULES, "broken_array"),
        table=DIM_ORDER,
        has_versions=True,
        shape=ORDER_SHAPE,
        values={
            **{name: f"orders.{name}" for name in ("user_id", "amount", "currency")},
            **{f"metadata.{name}": f"orders.{name}" for name in ("source", "promo")},
            # a line has always a sku and a qty
            **{f"items.{name}": "get(orders.lines.qty, 0)" for name in ("sku", "qty")},
            "items.price": "get(array_compact(orders.lines.unit_price), 0)",
        },
        ids={
            "user_id": StagedId("orders.user_id", DIM_ORDER),
            "sku": StagedId("orders.lines.sku", FACT_SALES, is_array=True),
        },
        profiled=_profiled(
            "orders.",
            created_at="time",
            user_id="id",
            amount="number",
            currency="category",
            source="category",
            promo="category",
            line_count="number",
            is_deleted="category",
        ),
    ),
    Dataset(
        name="users",
        read=lambda spark, files, _first, _: read_csv_records(spark, files, USER_COLUMNS),
        parse=lambda records, _: parse_users(records),
        parsed=PARSED_USER,
        structural=_CSV_RULES,
        table=DIM_USER,
        is_limited=False,
        columns=USER_COLUMNS,
        ids={"user_id": StagedId("users.user_id", DIM_USER)},
        profiled=_profiled("users.", user_id="id", email="id", created_at="time", country="category"),
        named_by="array(user_id)",
        member_rule="user_known",
    ),
    Dataset(
        name="products",
        read=lambda spark, files, _first, _: read_csv_records(spark, files, PRODUCT_COLUMNS),
        parse=lambda records, _: parse_products(records),
        parsed=PARSED_PRODUCT,
        structural=_CSV_RULES,
        table=DIM_PRODUCT,
        is_limited=False,
        columns=PRODUCT_COLUMNS,
        ids={"sku": StagedId("products.sku", DIM_PRODUCT)},
        profiled=_profiled("products.", sku="id", name="id", category="category", price="number"),
        named_by="lines.sku",
        member_rule="sku_known",
    ),
    _views("prints"),
    _views("taps"),
    Dataset(
        name="pays",
        read=lambda spark, files, first, _: read_csv_lines(spark, files, first, PAY_COLUMNS),
        parse=lambda records, _: parse_pays(records),
        parsed=PARSED_PAY,
        structural=_CSV_RULES,
        stage=ETL_EVENTS,
        columns=PAY_COLUMNS,
        ids={"user_id": StagedId("user_id")},
        profiled=_profiled("", day="time", user_id="id", value_prop="category", amount="number"),
    ),
)

DATASETS = {entry.name: entry for entry in _ENTRIES}
"""All entries by name, in the order of every report."""


def staged_in(table: Table) -> list[Dataset]:
    """The datasets whose records are staged in a table, which are those of one job."""
    return [entry for entry in _ENTRIES if entry.stage is table]


ORDER_DATASETS, EVENT_DATASETS = (tuple(entry.name for entry in staged_in(table)) for table in (ETL_STAGE, ETL_EVENTS))
"""The datasets of the orders job, and those of the value-props job."""
