"""How statements are run in PostgreSQL: as one transaction, with errors that say what could not be done and why."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

from pg8000 import dbapi  # type: ignore[import-untyped]  # ships no types

from etl_lib.sinks.relations import RELATIONS, PublishRefusedError, SinkError
from etl_lib.sinks.sql.postgres_sql import STATE_COLUMNS, columns, is_required, type_of
from etl_lib.sinks.sql.statements import STATE_TABLE, Statement, column_differences, refuse_differences


def execute(connection: dbapi.Connection, statements: Iterable[Statement]) -> None:
    """Run statements as one transaction: all are committed, or none.

    PublishRefusedError when a check fails, SinkError for anything else. When the connection breaks, the transaction
    may have been committed or not: the same publish can be repeated, with the same id.
    """
    _refuse_unusable(connection)
    try:
        for statement in statements:
            _run(connection, statement)
        _run(connection, Statement("commit", "COMMIT"))
    except BaseException:
        with suppress(dbapi.Error, OSError):
            connection.rollback()
        raise


def query(connection: dbapi.Connection, statement: Statement) -> list[tuple[Any, ...]]:
    """The rows of one SELECT, read in a transaction of its own. SinkError when it fails."""
    _refuse_unusable(connection)
    try:
        return [tuple(row) for row in _run(connection, statement)]
    finally:
        with suppress(dbapi.Error, OSError):
            connection.rollback()


def check_columns(connection: dbapi.Connection, schema: str) -> None:
    """SchemaError with all differences when existing tables have other columns or keys than the published ones."""
    found: dict[str, dict[str, str]] = {}
    for table, column, kind, required, is_key in query(connection, columns(schema)):
        found.setdefault(table, {})[column] = _described(kind, is_required=required, is_key=is_key)
    declared = {
        relation.name: {
            column.name: _described(
                type_of(column), is_required=is_required(relation, column), is_key=column.name in relation.key
            )
            for column in relation.columns
        }
        for relation in RELATIONS
    }
    refuse_differences(schema, column_differences({**declared, STATE_TABLE: STATE_COLUMNS}, found))


def _refuse_unusable(connection: dbapi.Connection) -> None:
    if connection.autocommit or connection._in_transaction:  # the driver has no public word for the second
        raise SinkError(
            "the connection commits each statement or is in the midst of a transaction; give a publish a connection of "
            "its own, with autocommit off"
        )


def _run(connection: dbapi.Connection, statement: Statement) -> Sequence[Sequence[Any]]:
    cursor = connection.cursor()
    try:
        cursor.execute(statement.sql, statement.parameters)
        return list(cursor.fetchall()) if cursor.description else []
    except (dbapi.InterfaceError, OSError) as error:
        raise SinkError(
            f"could not {statement.purpose}: the connection to PostgreSQL broke: {error}. Whether the transaction was "
            "committed is not known; repeat the publish with the same id"
        ) from error
    except dbapi.Error as error:
        kind = PublishRefusedError if statement.is_check else SinkError
        raise kind(f"could not {statement.purpose}: {told(error)}\n{statement.sql}") from error


def told(error: dbapi.Error) -> str:
    """The server's message and code, with the key in question where it is about one; never a whole row."""
    fields = error.args[0] if error.args and isinstance(error.args[0], dict) else {"M": str(error)}
    detail = fields.get("D", "")
    about = f" {detail}" if detail.startswith("Key (") else ""
    return f"{fields.get('M')} (SQLSTATE {fields.get('C', 'unknown')}){about}"


def _described(kind: str, *, is_required: bool, is_key: bool) -> str:
    return kind + (" NOT NULL" if is_required else "") + (" PRIMARY KEY" if is_key else "")
