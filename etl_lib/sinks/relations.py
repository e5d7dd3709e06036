"""The published tables as relations: flat columns, a key, what refers to what, and the groups that are replaced."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from etl_lib.process.errors import SchemaError
from etl_lib.tables.schemas import DAILY_SALES, DIM_ORDER, DIM_PRODUCT, DIM_USER, FACT_SALES, Table

_FLAT_TYPES = {"STRING", "INT", "BIGINT", "BOOLEAN", "DATE", "TIMESTAMP", "DECIMAL"}


@dataclass(frozen=True)
class Column:
    """A column: its type in Spark's words (`STRING`, `DECIMAL(18,4)`, ...)."""

    name: str
    type: str
    is_required: bool
    is_empty_null: bool
    """Whether an empty text is published as NULL, because it refers to nothing."""


@dataclass(frozen=True)
class Relation:
    """A published table. A publish replaces its rows by `group`: all rows of one value of that column, or none."""

    name: str
    grain: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    group: str
    foreign_keys: Mapping[str, str]
    """The relations of which a column holds the key, by column; it has its name there, too."""
    indexes: tuple[str, ...]
    """Columns that analysts search by and that do not lead the primary key."""

    @property
    def column_names(self) -> list[str]:
        """The columns in their declared order."""
        return [column.name for column in self.columns]

    @property
    def group_column(self) -> Column:
        """The column that the staged keys are values of."""
        return next(column for column in self.columns if column.name == self.group)


def as_relation(
    table: Table, *, group: str, foreign_keys: Mapping[str, str] | None = None, indexes: tuple[str, ...] = ()
) -> Relation:
    """A declared table with flat columns as a relation. SchemaError for a column that no relation can have."""
    columns = []
    for text in " ".join(table.columns.split()).split(", "):
        name, kind, constraint = (*text.split(" ", 2), "", "")[:3]
        if kind.partition("(")[0] not in _FLAT_TYPES or constraint not in ("", "NOT NULL"):
            raise SchemaError(f"{table.name}: the column {text!r} cannot be published; only flat types can")
        is_required = constraint == "NOT NULL"
        columns.append(Column(name, kind, is_required, is_empty_null=name == "user_id" and not is_required))
    return Relation(table.name, table.grain, tuple(columns), table.key, group, foreign_keys or {}, indexes)


RELATIONS = (
    as_relation(DIM_USER, group="user_id"),
    as_relation(DIM_PRODUCT, group="sku"),
    as_relation(
        DIM_ORDER,
        group="order_id",
        foreign_keys={"user_id": "dim_user"},
        indexes=("order_date", "user_id"),
    ),
    as_relation(
        FACT_SALES,
        group="order_id",
        foreign_keys={"order_id": "dim_order", "sku": "dim_product"},
        indexes=("order_date", "user_id", "sku"),
    ),
    as_relation(DAILY_SALES, group="order_date"),
)
"""All published tables; what is referred to comes before what refers to it."""
