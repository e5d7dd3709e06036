"""The published tables as relations: flat columns, a key, what refers to what, and the groups that are replaced."""

from __future__ import annotations

import re
from dataclasses import dataclass

from etl_lib.process.errors import LakehouseError, SchemaError
from etl_lib.tables.schemas import DAILY_SALES, DIM_ORDER, DIM_PRODUCT, DIM_USER, FACT_SALES, Table

_COLUMN = re.compile(r"(?P<name>\w+)\s+(?P<type>[A-Z]+(?:\(\d+,\d+\))?)(?P<required>\s+NOT NULL)?")
_BETWEEN_COLUMNS = re.compile(r",(?![^(]*\))")


class SinkError(LakehouseError):
    """A sink could not do its part; what it shows is still what its last publish left."""


class PublishRefusedError(SinkError):
    """What is staged does not follow on what the sink shows: nothing was changed."""


@dataclass(frozen=True)
class Column:
    """A column: its type in Spark's words (`STRING`, `DECIMAL(18,4)`, ...)."""

    name: str
    type: str
    is_required: bool
    is_empty_null: bool = False
    """Whether an empty text is published as NULL, because it refers to nothing."""


@dataclass(frozen=True)
class ForeignKey:
    """A column that holds a key of another relation."""

    column: str
    relation: str
    referenced: str


@dataclass(frozen=True)
class Relation:
    """A published table. A publish replaces its rows by `group`: all rows of one value of that column, or none."""

    name: str
    grain: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    group: str
    foreign_keys: tuple[ForeignKey, ...] = ()
    indexes: tuple[str, ...] = ()
    """Columns that analysts search by and that do not lead the primary key."""

    @property
    def column_names(self) -> list[str]:
        """The columns in their declared order."""
        return [column.name for column in self.columns]

    @property
    def group_column(self) -> Column:
        """The column that the staged keys are values of."""
        return next(column for column in self.columns if column.name == self.group)


def relation(
    table: Table, *, group: str, foreign_keys: tuple[ForeignKey, ...] = (), indexes: tuple[str, ...] = ()
) -> Relation:
    """A declared table with flat columns as a relation. SchemaError for a column that no relation can have."""
    columns = []
    for text in _BETWEEN_COLUMNS.split(table.columns):
        found = _COLUMN.fullmatch(text.strip())
        if found is None:
            raise SchemaError(f"{table.name}: the column {text.strip()!r} cannot be published; only flat types can")
        is_required = found["required"] is not None
        is_reference = found["name"] == "user_id" and not is_required
        columns.append(Column(found["name"], found["type"], is_required, is_empty_null=is_reference))
    return Relation(table.name, table.grain, tuple(columns), table.key, group, foreign_keys, indexes)


RELATIONS = (
    relation(DIM_USER, group="user_id"),
    relation(DIM_PRODUCT, group="sku"),
    relation(
        DIM_ORDER,
        group="order_id",
        foreign_keys=(ForeignKey("user_id", "dim_user", "user_id"),),
        indexes=("order_date", "user_id"),
    ),
    relation(
        FACT_SALES,
        group="order_id",
        foreign_keys=(ForeignKey("order_id", "dim_order", "order_id"), ForeignKey("sku", "dim_product", "sku")),
        indexes=("order_date", "user_id", "sku"),
    ),
    relation(DAILY_SALES, group="order_date"),
)
"""All published tables; what is referred to comes before what refers to it."""
