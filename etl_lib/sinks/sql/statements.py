"""What the SQL of all relational sinks has in common: statements, quoted names, checks.

A publish stages two tables a relation: the *rows* that are new or changed, and the *keys* of the groups that changed.
The sink then replaces these groups by the staged rows, in one transaction; a group without staged rows is deleted.
"""

# ruff: noqa: S608 - names go through Namespace, values through parameters or literal()

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from etl_lib.process.errors import SchemaError
from etl_lib.sinks.relations import RELATIONS, Relation

STATE_TABLE = "publish_state"

STATE_GRAIN = "the last publish: which versions of the tables of the lakehouse this schema shows"

_PUBLISH_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,35}")


@dataclass(frozen=True)
class Statement:
    """One SQL statement; `purpose` ends the sentence "could not ...". Parameters stand for `%s`, in their order."""

    purpose: str
    sql: str
    parameters: tuple[str, ...] = ()
    is_check: bool = False
    """Whether it does nothing but fail when the publish is to be refused."""


@dataclass(frozen=True)
class Namespace:
    """A schema of a database that allows identifiers of `max_bytes`; gives the quoted names in it."""

    schema: str
    max_bytes: int

    def identifier(self, name: str) -> str:
        """One quoted identifier. SchemaError when the database could not hold exactly this name."""
        size = len(name.encode("utf-8", errors="replace"))
        if not name or "\0" in name or size > self.max_bytes:
            raise SchemaError(
                f"{name!r} cannot be the name of a schema, table or column: one to {self.max_bytes} bytes are allowed "
                f"and no NUL, and this has {size} bytes; choose another name"
            )
        return '"' + name.replace('"', '""') + '"'

    def table(self, name: str) -> str:
        """A table of this schema."""
        return f"{self.identifier(self.schema)}.{self.identifier(name)}"

    def rows(self, publish_id: str, relation: Relation) -> str:
        """The staging table for the new and changed rows of a relation, with all of its columns."""
        return self.table(f"stage_{_checked(publish_id)}_{relation.name}")

    def keys(self, publish_id: str, relation: Relation) -> str:
        """The staging table for the groups of a relation that changed: one column, `relation.group`."""
        return self.table(f"stage_{_checked(publish_id)}_{relation.name}_keys")

    def names(self, columns: Iterable[str]) -> str:
        """Columns, quoted and separated by commas."""
        return ", ".join(self.identifier(column) for column in columns)


def _checked(publish_id: str) -> str:
    if not _PUBLISH_ID.fullmatch(publish_id):
        raise SchemaError(
            f"{publish_id!r} cannot be a publish id: staging tables are named by it, so it has 1 to 36 letters, "
            "digits, dots, dashes and underscores"
        )
    return publish_id


def literal(text: str) -> str:
    """A text as an SQL literal, for the few places that take no parameter (COMMENT, COPY, a batch of the Data API).

    SchemaError for a backslash, which some databases take for an escape and others do not, and for control characters.
    """
    if "\\" in text or not all(letter.isprintable() for letter in text):
        raise SchemaError(f"{text!r} cannot stand in an SQL statement: it has a backslash or a control character")
    return "'" + text.replace("'", "''") + "'"


def column_differences(declared: Mapping[str, Mapping[str, str]], found: Mapping[str, Mapping[str, str]]) -> list[str]:
    """What existing tables have otherwise than declared, one line each; both map table to column to its type.

    Declared tables that do not exist are no difference: they will be created.
    """
    differences = []
    for table in sorted(declared.keys() & found.keys()):
        wanted, existing = declared[table], found[table]
        for name in [*wanted, *(name for name in existing if name not in wanted)]:
            if name not in existing:
                differences.append(f"{table}.{name}: missing, expected {wanted[name]}")
            elif name not in wanted:
                differences.append(f"{table}.{name}: {existing[name]}, which nobody declared")
            elif existing[name] != wanted[name]:
                differences.append(f"{table}.{name}: {existing[name]}, expected {wanted[name]}")
    return differences


def refuse_differences(schema: str, differences: list[str]) -> None:
    """SchemaError with all differences, if there are any."""
    if differences:
        listed = "\n  ".join(differences)
        raise SchemaError(
            f"the schema {schema} has tables with other columns than the published ones, and nothing was written; "
            f"change or drop these tables, or publish into another schema:\n  {listed}"
        )


def check_that(condition: str, refusal: str, source: str) -> str:
    """A SELECT from `source` that fails when `condition` is not true, with the SQL text `refusal` in its message."""
    # A text that is no number is the one error that every SQL database raises without a procedural language.
    return f"SELECT CAST(CASE WHEN {condition} THEN '0' ELSE {refusal} END AS INTEGER)\nFROM {source}"


def keys_of_everything(namespace: Namespace, publish_id: str, relation: Relation) -> Statement:
    """Stage as changed every group that the sink shows or that is staged: what comes is then all there is."""
    group, keys = namespace.identifier(relation.group), namespace.keys(publish_id, relation)
    return Statement(
        f"mark all of {relation.name} as changed",
        f"INSERT INTO {keys} ({group})\n"
        f"SELECT {group} FROM {namespace.table(relation.name)}\n"
        f"UNION SELECT {group} FROM {namespace.rows(publish_id, relation)}",
    )


def rows_have_keys(namespace: Namespace, publish_id: str, relation: Relation) -> Statement:
    """Refuse staged rows of groups that are not staged as changed: they would be added to what is there."""
    group = namespace.identifier(relation.group)
    rows, keys = namespace.rows(publish_id, relation), namespace.keys(publish_id, relation)
    return Statement(
        f"publish {relation.name}: rows are staged whose {relation.group} is not staged as changed",
        check_that(
            "count(*) = 0",
            f"'{relation.name}: ' || CAST(count(*) AS VARCHAR(20)) || ' staged rows without their key'",
            f"{rows} AS staged\n"
            f"WHERE NOT EXISTS (SELECT 1 FROM {keys} AS changed WHERE changed.{group} = staged.{group})",
        ),
        is_check=True,
    )


def delete_changed(namespace: Namespace, publish_id: str, relation: Relation) -> Statement:
    """Delete the rows of all changed groups."""
    group, keys = namespace.identifier(relation.group), namespace.keys(publish_id, relation)
    return Statement(
        f"delete the changed rows of {relation.name}",
        f"DELETE FROM {namespace.table(relation.name)}\nWHERE {group} IN (SELECT {group} FROM {keys})",
    )


def drop_leftovers(namespace: Namespace, tables: Iterable[str]) -> list[Statement]:
    """Drop the staging tables that an interrupted publish has left."""
    return [Statement(f"drop {table}", f"DROP TABLE IF EXISTS {namespace.table(table)}") for table in tables]


def row_counts(namespace: Namespace) -> Statement:
    """How many rows each table has: (table_name, row_count) by name."""
    counts = [
        f"SELECT '{relation.name}' AS table_name, count(*) AS row_count FROM {namespace.table(relation.name)}"
        for relation in RELATIONS
    ]
    return Statement("count the rows of the published tables", "\nUNION ALL ".join(counts) + "\nORDER BY table_name")


def sales_sums(namespace: Namespace) -> Statement:
    """The sums of fact_sales: (order_date, currency, row_count, units, line_amount) by day and currency."""
    return Statement(
        "add up the published sales",
        'SELECT "order_date", "currency", count(*) AS row_count, sum("qty") AS units, '
        'sum("line_amount") AS line_amount\n'
        f"FROM {namespace.table('fact_sales')}\n"
        'GROUP BY "order_date", "currency"\nORDER BY "order_date", "currency"',
    )
