"""The SQL with which the published tables are created, loaded, changed and compared in Amazon Redshift.

Statements run in batches of the Data API, each of which is one transaction and takes no parameters: values stand in the
statements as literals. Staging tables are permanent, because every batch has a session of its own.
"""

# ruff: noqa: S608 - names go through Namespace, values through literal()

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC

from etl_lib.sinks.relations import RELATIONS, Column, Relation
from etl_lib.sinks.sql.statements import (
    STATE_GRAIN,
    STATE_TABLE,
    Namespace,
    Statement,
    check_that,
    column_differences,
    delete_changed,
    keys_of_everything,
    literal,
    refuse_differences,
    row_counts,
    rows_have_keys,
    sales_sums,
)
from etl_lib.tables.publishes import Publish

IDENTIFIER_BYTES = 127

_TYPES = {
    # A shorter limit would be a guess that fails a publish; a longer text than this no column can hold.
    "STRING": "VARCHAR(65535)",
    "INT": "INTEGER",
    "TIMESTAMP": "TIMESTAMPTZ",
}
_CATALOG_TYPES = {
    "VARCHAR(65535)": "character varying(65535)",
    "TIMESTAMPTZ": "timestamp with time zone",
}
_DISTRIBUTION = {
    "fact_sales": "DISTKEY (order_id)",
    "dim_order": "DISTKEY (order_id)",
    "daily_sales": "DISTSTYLE EVEN",
    "dim_user": "DISTSTYLE ALL",
    "dim_product": "DISTSTYLE ALL",
}
_SORT_KEYS = {
    "fact_sales": ("order_date", "order_id"),
    "dim_order": ("order_date", "order_id"),
    "daily_sales": ("order_date", "currency"),
    "dim_user": ("user_id",),
    "dim_product": ("sku",),
}
_STATE_COLUMNS = {
    "publish_id": "VARCHAR(64)",
    "versions": "VARCHAR(65535)",
    "published_at": "TIMESTAMPTZ",
}


def namespace(schema: str) -> Namespace:
    """The quoted names of a schema. SchemaError when it cannot be one."""
    found = Namespace(schema, IDENTIFIER_BYTES)
    found.identifier(schema)
    return found


def create(schema: str) -> list[Statement]:
    """Create the schema and its tables where they are not there yet; existing tables stay as they are.

    Keys are information for the planner: Redshift does not enforce them, so `apply` proves what it inserts.
    """
    names = namespace(schema)
    return [
        Statement("create the schema", f"CREATE SCHEMA IF NOT EXISTS {names.identifier(schema)}"),
        Statement(
            f"create the table {STATE_TABLE}",
            f"CREATE TABLE IF NOT EXISTS {names.table(STATE_TABLE)} (\n  "
            + ",\n  ".join(f'"{name}" {kind} NOT NULL' for name, kind in _STATE_COLUMNS.items())
            + "\n)\nDISTSTYLE ALL",
        ),
        *(_create_table(names, relation) for relation in RELATIONS),
        *(_comment(names, relation.name, relation.grain) for relation in RELATIONS),
        _comment(names, STATE_TABLE, STATE_GRAIN),
    ]


def staging(schema: str, publish_id: str) -> list[Statement]:
    """Create the staging tables of a publish, empty, also when an interrupted try has left some.

    Their timestamps have no zone and are in UTC: COPY reads those of Parquet as such.
    """
    names = namespace(schema)
    statements = [drop_staging(schema, publish_id)]
    for relation in RELATIONS:
        statements += [
            _create_staging(relation, names.rows(publish_id, relation), names, relation.columns),
            _create_staging(relation, names.keys(publish_id, relation), names, (relation.group_column,)),
        ]
    return statements


def drop_staging(schema: str, publish_id: str) -> Statement:
    """Drop the staging tables of a publish, as many as there are."""
    names = namespace(schema)
    tables = [table for each in RELATIONS for table in (names.rows(publish_id, each), names.keys(publish_id, each))]
    return Statement("drop the staging tables", "DROP TABLE IF EXISTS\n  " + ",\n  ".join(tables))


def leftovers(schema: str) -> Statement:
    """The staging tables that are there, of whatever publish: (name)."""
    relations = "|".join(relation.name for relation in RELATIONS)
    return Statement(
        "list the staging tables",
        "SELECT tablename FROM pg_catalog.pg_tables\n"
        f"WHERE lower(schemaname) = lower({literal(schema)}) AND tablename ~ '^stage_.+_({relations})(_keys)?$'\n"
        "ORDER BY tablename",
    )


def apply(schema: str, publish: Publish) -> list[Statement]:
    """The one transaction of a publish, as one batch: changed groups are replaced, and the state says so.

    Refused when the sink does not show `publish.previous`, or this very publish already (then nothing changes), and
    when a key is staged twice.
    """
    names, staged = namespace(schema), publish.publish_id
    statements = _take_turn(names, publish)
    if publish.is_full:
        statements += [keys_of_everything(names, staged, relation) for relation in RELATIONS]
    for relation in RELATIONS:
        statements += [rows_have_keys(names, staged, relation), _key_is_unique(names, staged, relation)]
    for relation in RELATIONS:
        statements += [delete_changed(names, staged, relation), _insert(names, staged, relation)]
    return [*statements, *_write_state(names, publish)]


def script(statements: Iterable[Statement]) -> str:
    """Statements as one transaction for a client that is not the Data API: BEGIN; ...; END."""
    return "BEGIN;\n\n" + "".join(f"-- {each.purpose}\n{each.sql};\n\n" for each in statements) + "END;\n"


def state(schema: str) -> Statement:
    """What the sink shows: one row (publish_id, versions as JSON text, published_at as text); none at first."""
    return Statement(
        "read the state of the sink",
        'SELECT "publish_id", "versions", CAST("published_at" AS VARCHAR(64))\n'
        f"FROM {namespace(schema).table(STATE_TABLE)}",
    )


def reconciliation(schema: str) -> tuple[Statement, Statement]:
    """(table_name, row_count) of all, and (order_date, currency, row_count, units, line_amount) of fact_sales."""
    names = namespace(schema)
    return row_counts(names), sales_sums(names)


def columns(schema: str) -> Statement:
    """The columns of the existing published tables: (table, column, type, is_required) in their order."""
    tables = ", ".join(literal(name) for name in [*(relation.name for relation in RELATIONS), STATE_TABLE])
    return Statement(
        "read the columns of the published tables",
        "SELECT t.relname, c.attname, format_type(c.atttypid, c.atttypmod), c.attnotnull\n"
        "FROM pg_catalog.pg_attribute AS c\n"
        "JOIN pg_catalog.pg_class AS t ON t.oid = c.attrelid\n"
        "JOIN pg_catalog.pg_namespace AS n ON n.oid = t.relnamespace\n"
        # Redshift folds quoted names too, unless it is told to keep their case.
        f"WHERE lower(n.nspname) = lower({literal(schema)}) AND t.relname IN ({tables})\n"
        "  AND c.attnum > 0 AND NOT c.attisdropped\n"
        "ORDER BY t.relname, c.attnum",
    )


def check_columns(schema: str, rows: Iterable[tuple[object, ...]]) -> None:
    """SchemaError with all differences when existing tables, as `columns` told them, are not as declared."""
    found: dict[str, dict[str, str]] = {}
    for table, column, kind, is_required in rows:
        found.setdefault(str(table), {})[str(column)] = f"{kind}{' NOT NULL' if is_required else ''}"
    declared = {
        relation.name: {
            column.name: _catalog_type(_type(column)) + (" NOT NULL" if column.is_required else "")
            for column in relation.columns
        }
        for relation in RELATIONS
    }
    declared[STATE_TABLE] = {name: f"{_catalog_type(kind)} NOT NULL" for name, kind in _STATE_COLUMNS.items()}
    refuse_differences(schema, column_differences(declared, found))


def _type(column: Column) -> str:
    return _TYPES.get(column.type) or column.type.replace("DECIMAL", "NUMERIC")


def _catalog_type(kind: str) -> str:
    """A type as the catalog spells it."""
    return _CATALOG_TYPES.get(kind) or kind.lower().replace("varchar", "character varying")


def _definition(names: Namespace, column: Column, kind: str) -> str:
    return f"{names.identifier(column.name)} {kind}{' NOT NULL' if column.is_required else ''}"


def _create_table(names: Namespace, relation: Relation) -> Statement:
    parts = [_definition(names, column, _type(column)) for column in relation.columns]
    parts.append(f"PRIMARY KEY ({names.names(relation.key)})")
    parts += [
        f"FOREIGN KEY ({names.identifier(key.column)}) REFERENCES {names.table(key.relation)} "
        f"({names.identifier(key.referenced)})"
        for key in relation.foreign_keys
    ]
    body = ",\n  ".join(parts)
    return Statement(
        f"create the table {relation.name}",
        f"CREATE TABLE IF NOT EXISTS {names.table(relation.name)} (\n  {body}\n)\n"
        f"{_DISTRIBUTION[relation.name]}\nCOMPOUND SORTKEY ({', '.join(_SORT_KEYS[relation.name])})",
    )


def _create_staging(relation: Relation, table: str, names: Namespace, columns: tuple[Column, ...]) -> Statement:
    body = ",\n  ".join(
        _definition(names, column, "TIMESTAMP" if column.type == "TIMESTAMP" else _type(column)) for column in columns
    )
    # Beside the rows that it changes; a copy on every node would be wasted on what is read once.
    beside = _DISTRIBUTION[relation.name].replace("DISTSTYLE ALL", "DISTSTYLE EVEN")
    return Statement(f"create the staging table {table}", f"CREATE TABLE {table} (\n  {body}\n)\nBACKUP NO\n{beside}")


def _comment(names: Namespace, table: str, grain: str) -> Statement:
    return Statement(f"comment on {table}", f"COMMENT ON TABLE {names.table(table)} IS {literal(grain)}")


def _take_turn(names: Namespace, publish: Publish) -> list[Statement]:
    state_table = names.table(STATE_TABLE)
    previous = publish.previous or ""
    return [
        # The first statement: what waits for it reads the state that the other publish has left.
        Statement("lock out other publishes", f"LOCK {state_table}"),
        Statement(
            f"publish what follows on {previous or 'an empty sink'}, which is not what the sink shows: plan it again",
            check_that(
                f"coalesce(max(\"publish_id\"), '') = {literal(previous)} "
                f'OR (max("publish_id") = {literal(publish.publish_id)} '
                f'AND max("versions") = {literal(publish.versions_json)})',
                "'it shows the publish ' || coalesce(max(\"publish_id\"), '(none)')",
                state_table,
            ),
            is_check=True,
        ),
    ]


def _key_is_unique(names: Namespace, publish_id: str, relation: Relation) -> Statement:
    key = names.names(relation.key)
    return Statement(
        f"publish {relation.name}: a key is staged twice",
        check_that(
            "count(*) = 0",
            f"'{relation.name}: ' || CAST(count(*) AS VARCHAR(20)) || ' keys are staged twice'",
            f"(SELECT {key} FROM {names.rows(publish_id, relation)} GROUP BY {key} HAVING count(*) > 1) AS repeated",
        ),
        is_check=True,
    )


def _insert(names: Namespace, publish_id: str, relation: Relation) -> Statement:
    values = ", ".join(_value(names, column) for column in relation.columns)
    return Statement(
        f"insert the staged rows of {relation.name}",
        f"INSERT INTO {names.table(relation.name)} ({names.names(relation.column_names)})\n"
        f"SELECT {values}\nFROM {names.rows(publish_id, relation)}",
    )


def _value(names: Namespace, column: Column) -> str:
    name = names.identifier(column.name)
    if column.type == "TIMESTAMP":
        return f"{name} AT TIME ZONE 'UTC'"
    return f"NULLIF({name}, '')" if column.is_empty_null else name


def _write_state(names: Namespace, publish: Publish) -> list[Statement]:
    table = names.table(STATE_TABLE)
    published_at = publish.published_at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f+00")
    values = ", ".join(map(literal, (publish.publish_id, publish.versions_json, published_at)))
    return [
        Statement("forget the last publish", f"DELETE FROM {table}"),
        Statement(
            "write the state of the sink",
            f"INSERT INTO {table} ({names.names(_STATE_COLUMNS)})\nVALUES ({values})",
        ),
    ]
