"""The SQL of the published tables in a schema: how they are created, looked at and counted.

A dialect says what its database has otherwise, in a subclass.
"""

# ruff: noqa: S608 - names are quoted by identifier(), values by literal()

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from etl_lib.process.errors import SchemaError
from etl_lib.sinks.relations import RELATIONS, Column, Relation

STATE_TABLE = "publish_state"
STATE_GRAIN = "the last publish: which versions of the tables of the lakehouse this schema shows"


@dataclass(frozen=True)
class Statement:
    """One SQL statement; `purpose` ends the sentence "could not ..."."""

    purpose: str
    sql: str
    is_check: bool = False
    """Whether it does nothing but fail when the publish is to be refused."""


class SchemaSql(ABC):
    """The statements about the published tables of one schema."""

    identifier_bytes: ClassVar[int]
    types: ClassVar[Mapping[str, str]]
    """The types of the database, where they are called otherwise than in Spark."""
    state_columns: ClassVar[Mapping[str, str]]
    """The columns of the state with their types; all are NOT NULL."""
    state_constraints: ClassVar[Mapping[str, str]] = {}
    """What else its columns have: a primary key."""
    storage: ClassVar[Mapping[str, str]] = {}
    """How each published table is stored."""
    foreign_key_check: ClassVar[str] = ""
    """When foreign keys are checked."""
    is_key: ClassVar[str] = ""
    """A further column of `columns`, where the database enforces keys: whether a column is in the primary key."""

    def __init__(self, schema: str) -> None:
        """SchemaError when the database cannot have a schema of this name."""
        self.schema = schema
        self.identifier(schema)
        literal(schema)

    def identifier(self, name: str) -> str:
        """One quoted identifier. SchemaError when the database could not hold exactly this name."""
        size = len(name.encode("utf-8", errors="replace"))
        if not name or "\0" in name or size > self.identifier_bytes:
            raise SchemaError(
                f"{name!r} cannot be the name of a schema, table or column: one to {self.identifier_bytes} bytes are "
                f"allowed and no NUL, and this has {size} bytes; choose another name"
            )
        return '"' + name.replace('"', '""') + '"'

    def names(self, columns: Iterable[str]) -> str:
        """Columns, quoted and separated by commas."""
        return ", ".join(map(self.identifier, columns))

    def table(self, name: str) -> str:
        """The quoted name of a table of the schema."""
        return f"{self.identifier(self.schema)}.{self.identifier(name)}"

    def create(self) -> list[Statement]:
        """Create the schema, its tables and comments where they are not there yet; existing tables stay as they are."""
        state = [
            f"{self.identifier(name)} {kind} NOT NULL{self.state_constraints.get(name, '')}"
            for name, kind in self.state_columns.items()
        ]
        grains = [(relation.name, relation.grain) for relation in RELATIONS]
        return [
            Statement("create the schema", f"CREATE SCHEMA IF NOT EXISTS {self.identifier(self.schema)}"),
            self._create_table(STATE_TABLE, state),
            *(self._create_table(relation.name, self._definitions(relation)) for relation in RELATIONS),
            *(
                Statement(f"comment on {name}", f"COMMENT ON TABLE {self.table(name)} IS {literal(grain)}")
                for name, grain in [*grains, (STATE_TABLE, STATE_GRAIN)]
            ),
        ]

    def columns(self) -> Statement:
        """The columns of existing published tables, in their order: (table, column, type, is_required[, is_key])."""
        tables = ", ".join(literal(name) for name in [*(relation.name for relation in RELATIONS), STATE_TABLE])
        return Statement(
            "read the columns of the published tables",
            f"SELECT t.relname, c.attname, format_type(c.atttypid, c.atttypmod), c.attnotnull{self.is_key}\n"
            "FROM pg_catalog.pg_attribute AS c\n"
            "JOIN pg_catalog.pg_class AS t ON t.oid = c.attrelid\n"
            "JOIN pg_catalog.pg_namespace AS n ON n.oid = t.relnamespace\n"
            f"WHERE {self._is_schema('n.nspname')} AND t.relname IN ({tables})\n"
            "  AND c.attnum > 0 AND NOT c.attisdropped\n"
            "ORDER BY t.relname, c.attnum",
        )

    def check_columns(self, rows: Iterable[Sequence[object]]) -> None:
        """SchemaError with all differences when existing tables, as the rows of `columns` say, are not as declared."""
        existing: dict[str, dict[str, str]] = {}
        for table, column, kind, *flags in rows:
            existing.setdefault(str(table), {})[str(column)] = _described(str(kind), flags)
        declared = {
            relation.name: {
                column.name: _described(
                    self.type_of(column), [column.is_required, self.is_key and column.name in relation.key]
                )
                for column in relation.columns
            }
            for relation in RELATIONS
        }
        declared[STATE_TABLE] = {
            name: _described(kind, [True, name in self.state_constraints]) for name, kind in self.state_columns.items()
        }
        if differences := column_differences(declared, existing):
            listed = "\n  ".join(differences)
            raise SchemaError(
                f"the schema {self.schema} has tables with other columns than the published ones, and nothing was "
                f"written; change or drop these tables, or publish into another schema:\n  {listed}"
            )

    def state(self) -> Statement:
        """What the sink shows: one row (publish_id, versions as JSON text); none before the first publish."""
        return Statement(
            "read the state of the sink",
            f'SELECT "publish_id", CAST("versions" AS VARCHAR(65535))\nFROM {self.table(STATE_TABLE)}',
        )

    def row_counts(self) -> Statement:
        """The rows of each published table: (table_name, row_count)."""
        return count_rows(
            "count the rows of the published tables", [(each.name, self.table(each.name)) for each in RELATIONS]
        )

    def sales_sums(self) -> Statement:
        """The sums of fact_sales: (order_date, currency, row_count, units, line_amount) by day and currency."""
        return Statement(
            "add up the published sales",
            'SELECT "order_date", "currency", count(*) AS row_count, sum("qty") AS units, '
            'sum("line_amount") AS line_amount\n'
            f"FROM {self.table('fact_sales')}\n"
            'GROUP BY "order_date", "currency"\nORDER BY "order_date", "currency"',
        )

    def type_of(self, column: Column) -> str:
        """The type of a column in the words of the database."""
        kind, bracket, rest = column.type.partition("(")
        return self.types.get(kind, kind) + bracket + rest

    @abstractmethod
    def _is_schema(self, column: str) -> str:
        """Whether a column of the catalog names the schema."""

    def _definition(self, column: Column, kind: str) -> str:
        return f"{self.identifier(column.name)} {kind}{' NOT NULL' if column.is_required else ''}"

    def _definitions(self, relation: Relation) -> list[str]:
        return [
            *(self._definition(column, self.type_of(column)) for column in relation.columns),
            f"PRIMARY KEY ({self.names(relation.key)})",
            *(
                f"FOREIGN KEY ({self.identifier(column)}) REFERENCES {self.table(referenced)} "
                f"({self.identifier(column)}){self.foreign_key_check}"
                for column, referenced in relation.foreign_keys.items()
            ),
        ]

    def _create_table(self, name: str, definitions: Sequence[str]) -> Statement:
        body = ",\n  ".join(definitions)
        sql = f"CREATE TABLE IF NOT EXISTS {self.table(name)} (\n  {body}\n){self.storage.get(name, '')}"
        return Statement(f"create the table {name}", sql)


def literal(text: str) -> str:
    """A text as an SQL literal: COMMENT, COPY and the batches of the Data API take no parameters.

    SchemaError for a backslash, which some databases take for an escape and others do not, and for control characters.
    """
    if "\\" in text or not all(letter.isprintable() for letter in text):
        raise SchemaError(f"{text!r} cannot stand in an SQL statement: it has a backslash or a control character")
    return "'" + text.replace("'", "''") + "'"


def count_rows(purpose: str, tables: Iterable[tuple[str, str]]) -> Statement:
    """Count the rows of tables: (table_name, row_count) by name. Gets each name with the quoted name of its table."""
    counts = [f"SELECT '{name}' AS table_name, count(*) AS row_count FROM {table}" for name, table in tables]
    return Statement(purpose, "\nUNION ALL ".join(counts) + "\nORDER BY table_name")


def column_differences(
    declared: Mapping[str, Mapping[str, str]], existing: Mapping[str, Mapping[str, str]]
) -> list[str]:
    """What existing tables have otherwise than declared, one line each; both map table to column to its type.

    Declared tables that do not exist are no difference: they will be created.
    """
    differences = []
    for table in sorted(declared.keys() & existing.keys()):
        wanted, has = declared[table], existing[table]
        for name in {**wanted, **has}:
            if name not in has:
                differences.append(f"{table}.{name}: missing, expected {wanted[name]}")
            elif name not in wanted:
                differences.append(f"{table}.{name}: {has[name]}, which nobody declared")
            elif has[name] != wanted[name]:
                differences.append(f"{table}.{name}: {has[name]}, expected {wanted[name]}")
    return differences


def _described(kind: str, flags: Sequence[object]) -> str:
    """A column as it is compared: its type as the catalog spells it, then whether it is required and in the key."""
    spelt = kind.lower().replace("varchar", "character varying").replace("timestamptz", "timestamp with time zone")
    return spelt + "".join(text for text, is_so in zip((" NOT NULL", " PRIMARY KEY"), flags) if is_so)  # noqa: B905
