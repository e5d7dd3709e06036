"""The SQL with which the published tables are created, changed and compared in PostgreSQL.

All timestamps are `timestamptz`, all decimals `numeric` of the declared precision: every value comes out as it went in.
"""

# ruff: noqa: S608 - names go through Namespace, values through parameters or literal()

from __future__ import annotations

from etl_lib.sinks.relations import RELATIONS, Column, Relation
from etl_lib.sinks.sql.statements import (
    STATE_GRAIN,
    STATE_TABLE,
    Namespace,
    Statement,
    check_that,
    delete_changed,
    keys_of_everything,
    literal,
    row_counts,
    rows_have_keys,
    sales_sums,
)
from etl_lib.tables.publishes import Publish

IDENTIFIER_BYTES = 63
LOCK_TIMEOUT_S = 300
"""How long a publish waits for another one that has the lock, in seconds."""

_TYPES = {
    "STRING": "text",
    "INT": "integer",
    "BIGINT": "bigint",
    "BOOLEAN": "boolean",
    "DATE": "date",
    "TIMESTAMP": "timestamp with time zone",
}
STATE_COLUMNS = {
    "is_current": "boolean NOT NULL PRIMARY KEY",
    "publish_id": "text NOT NULL",
    "versions": "jsonb NOT NULL",
    "published_at": "timestamp with time zone NOT NULL",
}


def namespace(schema: str) -> Namespace:
    """The quoted names of a schema, for whoever fills the staging tables. SchemaError when it cannot be one."""
    found = Namespace(schema, IDENTIFIER_BYTES)
    found.identifier(schema)
    return found


def create(schema: str) -> list[Statement]:
    """Create the schema, its tables, indexes and comments where they are not there yet.

    Existing tables stay as they are: `check_columns` tells first whether they can.
    """
    names = namespace(schema)
    statements = [
        # IF NOT EXISTS looks first and creates then: two at once would collide.
        Statement(
            "wait for others that create the schema",
            "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))",
            (f"publish {schema}",),
        ),
        Statement("create the schema", f"CREATE SCHEMA IF NOT EXISTS {names.identifier(schema)}"),
        _create_state(names),
    ]
    for relation in RELATIONS:
        statements += [_create_table(names, relation), _comment(names, relation.name, relation.grain)]
        statements += [_create_index(names, relation, column) for column in relation.indexes]
    return [*statements, _comment(names, STATE_TABLE, STATE_GRAIN)]


def staging(schema: str, publish_id: str) -> list[Statement]:
    """Create the staging tables of a publish, empty, also when an interrupted try has left some.

    For each relation `namespace(schema).rows(publish_id, relation)` and `.keys(publish_id, relation)`. They have no
    key, so that a task that wrote its rows twice does no harm: equal rows count once.
    """
    names = namespace(schema)
    statements = [drop_staging(schema, publish_id)]
    for relation in RELATIONS:
        columns = ",\n  ".join(_definition(names, column) for column in relation.columns)
        key = _definition(names, relation.group_column)
        statements += [
            Statement(
                f"create the staging table for {relation.name}",
                f"CREATE UNLOGGED TABLE {names.rows(publish_id, relation)} (\n  {columns}\n)",
            ),
            Statement(
                f"create the staging table for the changed keys of {relation.name}",
                f"CREATE UNLOGGED TABLE {names.keys(publish_id, relation)} (\n  {key}\n)",
            ),
        ]
    return statements


def drop_staging(schema: str, publish_id: str) -> Statement:
    """Drop the staging tables of a publish, as many as there are."""
    names = namespace(schema)
    return Statement("drop the staging tables", "DROP TABLE IF EXISTS\n  " + ",\n  ".join(_staged(names, publish_id)))


def apply(schema: str, publish: Publish, *, lock_timeout_s: int = LOCK_TIMEOUT_S) -> list[Statement]:
    """The one transaction of a publish: changed groups are replaced by what is staged, and the state says so.

    Refused when the sink does not show `publish.previous`, or this very publish already (then nothing changes).
    """
    names, staged = namespace(schema), publish.publish_id
    statements = [*_take_turn(names, publish, lock_timeout_s)]
    if publish.is_full:
        statements += [keys_of_everything(names, staged, relation) for relation in RELATIONS]
    statements += [
        Statement("take statistics of what is staged", "ANALYZE\n  " + ",\n  ".join(_staged(names, staged))),
        *(rows_have_keys(names, staged, relation) for relation in RELATIONS),
    ]
    for relation in RELATIONS:
        if relation.key == (relation.group,):
            statements += [_upsert(names, staged, relation), _delete_gone(names, staged, relation)]
        else:
            statements += [delete_changed(names, staged, relation), _insert(names, staged, relation)]
    return [*statements, _write_state(names, publish)]


def state(schema: str) -> Statement:
    """What the sink shows: one row (publish_id, versions as JSON text, published_at); none before the first publish."""
    return Statement(
        "read the state of the sink",
        f"SELECT publish_id, CAST(versions AS text), published_at FROM {namespace(schema).table(STATE_TABLE)}",
    )


def reconciliation(schema: str) -> tuple[Statement, Statement]:
    """(table_name, row_count) of all, and (order_date, currency, row_count, units, line_amount) of fact_sales."""
    names = namespace(schema)
    return row_counts(names), sales_sums(names)


def columns(schema: str) -> Statement:
    """The columns of the existing published tables: (table, column, type, is_required, is_key) in their order."""
    tables = [relation.name for relation in RELATIONS] + [STATE_TABLE]
    return Statement(
        "read the columns of the published tables",
        "SELECT t.relname, c.attname, format_type(c.atttypid, c.atttypmod), c.attnotnull, EXISTS (\n"
        "  SELECT 1 FROM pg_catalog.pg_index AS i\n"
        "  WHERE i.indrelid = t.oid AND i.indisprimary AND c.attnum = ANY (i.indkey)\n"
        ")\n"
        "FROM pg_catalog.pg_attribute AS c\n"
        "JOIN pg_catalog.pg_class AS t ON t.oid = c.attrelid\n"
        "JOIN pg_catalog.pg_namespace AS n ON n.oid = t.relnamespace\n"
        f"WHERE n.nspname = %s AND t.relname IN ({', '.join('%s' for _ in tables)})\n"
        "  AND c.attnum > 0 AND NOT c.attisdropped\n"
        "ORDER BY t.relname, c.attnum",
        (schema, *tables),
    )


def leftovers(schema: str) -> Statement:
    """The staging tables that are there, of whatever publish: (name)."""
    relations = "|".join(relation.name for relation in RELATIONS)
    return Statement(
        "list the staging tables",
        "SELECT tablename FROM pg_catalog.pg_tables WHERE schemaname = %s AND tablename ~ %s ORDER BY tablename",
        (schema, f"^stage_.+_({relations})(_keys)?$"),
    )


def is_required(relation: Relation, column: Column) -> bool:
    """Whether a column of a published table is NOT NULL."""
    return column.is_required or column.name in relation.key


def type_of(column: Column) -> str:
    """The type of a column in PostgreSQL's words."""
    return _TYPES.get(column.type) or column.type.replace("DECIMAL", "numeric")


def _definition(names: Namespace, column: Column) -> str:
    return f"{names.identifier(column.name)} {type_of(column)}{' NOT NULL' if column.is_required else ''}"


def _create_table(names: Namespace, relation: Relation) -> Statement:
    parts = [_definition(names, column) for column in relation.columns]
    parts.append(f"PRIMARY KEY ({names.names(relation.key)})")
    parts += [
        f"FOREIGN KEY ({names.identifier(key.column)}) REFERENCES {names.table(key.relation)} "
        f"({names.identifier(key.referenced)}) DEFERRABLE INITIALLY DEFERRED"
        for key in relation.foreign_keys
    ]
    body = ",\n  ".join(parts)
    return Statement(
        f"create the table {relation.name}",
        f"CREATE TABLE IF NOT EXISTS {names.table(relation.name)} (\n  {body}\n)",
    )


def _create_state(names: Namespace) -> Statement:
    return Statement(
        f"create the table {STATE_TABLE}",
        f"CREATE TABLE IF NOT EXISTS {names.table(STATE_TABLE)} (\n"
        "  is_current boolean PRIMARY KEY DEFAULT true CHECK (is_current),\n"
        "  publish_id text NOT NULL,\n  versions jsonb NOT NULL,\n  published_at timestamp with time zone NOT NULL\n)",
    )


def _create_index(names: Namespace, relation: Relation, column: str) -> Statement:
    index = names.identifier(f"{relation.name}_{column}_idx")
    return Statement(
        f"create an index on {relation.name}.{column}",
        f"CREATE INDEX IF NOT EXISTS {index} ON {names.table(relation.name)} ({names.identifier(column)})",
    )


def _comment(names: Namespace, table: str, grain: str) -> Statement:
    return Statement(f"comment on {table}", f"COMMENT ON TABLE {names.table(table)} IS {literal(grain)}")


def _staged(names: Namespace, publish_id: str) -> list[str]:
    return [table for each in RELATIONS for table in (names.rows(publish_id, each), names.keys(publish_id, each))]


def _take_turn(names: Namespace, publish: Publish, lock_timeout_s: int) -> list[Statement]:
    state_table = names.table(STATE_TABLE)
    previous = publish.previous or ""
    return [
        # With an older snapshot than the lock the check would see the state before the last publish.
        Statement("begin the publish", "SET TRANSACTION ISOLATION LEVEL READ COMMITTED"),
        Statement(
            "limit the wait for the lock", "SELECT set_config('lock_timeout', %s, true)", (f"{lock_timeout_s}s",)
        ),
        # Readers go on; another publish, or anything else that writes here, waits until this one has ended.
        Statement("lock out other publishes", f"LOCK TABLE {state_table} IN SHARE ROW EXCLUSIVE MODE"),
        Statement(
            f"publish what follows on {previous or 'an empty sink'}, which is not what the sink shows: plan it again",
            check_that(
                "coalesce(publish_id, '') = CAST(%s AS text) "
                "OR (publish_id = CAST(%s AS text) AND versions = CAST(%s AS jsonb))",
                "'it shows the publish ' || coalesce(publish_id, '(none)')",
                f"(SELECT 1) AS always LEFT JOIN {state_table} ON true",
            ),
            (previous, publish.publish_id, publish.versions_json),
            is_check=True,
        ),
    ]


def _values(names: Namespace, relation: Relation) -> str:
    return ", ".join(
        f"NULLIF({names.identifier(column.name)}, '')" if column.is_empty_null else names.identifier(column.name)
        for column in relation.columns
    )


def _insert(names: Namespace, publish_id: str, relation: Relation) -> Statement:
    return Statement(
        f"insert the staged rows of {relation.name}",
        f"INSERT INTO {names.table(relation.name)} ({names.names(relation.column_names)})\n"
        f"SELECT DISTINCT {_values(names, relation)}\nFROM {names.rows(publish_id, relation)}",
    )


def _upsert(names: Namespace, publish_id: str, relation: Relation) -> Statement:
    others = [column for column in relation.column_names if column not in relation.key]
    taken = ", ".join(f"{names.identifier(column)} = excluded.{names.identifier(column)}" for column in others)
    existing = ", ".join(f"existing.{names.identifier(column)}" for column in others)
    excluded = ", ".join(f"excluded.{names.identifier(column)}" for column in others)
    return Statement(
        f"insert or update the staged rows of {relation.name}",
        f"INSERT INTO {names.table(relation.name)} AS existing ({names.names(relation.column_names)})\n"
        f"SELECT DISTINCT {_values(names, relation)}\nFROM {names.rows(publish_id, relation)}\n"
        f"ON CONFLICT ({names.names(relation.key)}) DO UPDATE SET {taken}\n"
        f"WHERE ({existing})\n  IS DISTINCT FROM ({excluded})",
    )


def _delete_gone(names: Namespace, publish_id: str, relation: Relation) -> Statement:
    key, rows = names.identifier(relation.group), names.rows(publish_id, relation)
    return Statement(
        f"delete what has gone from {relation.name}",
        f"DELETE FROM {names.table(relation.name)} AS existing\n"
        f"USING {names.keys(publish_id, relation)} AS changed\n"
        f"WHERE existing.{key} = changed.{key}\n"
        f"  AND NOT EXISTS (SELECT 1 FROM {rows} AS staged WHERE staged.{key} = existing.{key})",
    )


def _write_state(names: Namespace, publish: Publish) -> Statement:
    return Statement(
        "write the state of the sink",
        f"INSERT INTO {names.table(STATE_TABLE)} (publish_id, versions, published_at)\n"
        "VALUES (CAST(%s AS text), CAST(%s AS jsonb), CAST(%s AS timestamp with time zone))\n"
        "ON CONFLICT (is_current) DO UPDATE SET publish_id = excluded.publish_id, versions = excluded.versions, "
        "published_at = excluded.published_at",
        (publish.publish_id, publish.versions_json, publish.published_at.isoformat()),
    )
