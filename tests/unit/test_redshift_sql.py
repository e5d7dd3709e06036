"""The SQL of both dialects as text: every statement is as its golden file says, and what has no parameter is quoted.

After a change that is meant, `UPDATE_GOLDEN=1 pytest tests/unit/test_redshift_sql.py` writes the golden files anew;
read the difference in git before you commit it. What the statements do is tested in test_postgres_sql.py.
"""

from __future__ import annotations

import difflib
import json
import os
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from etl_lib.process.errors import SchemaError
from etl_lib.settings.sink_settings import RedshiftSettings
from etl_lib.sinks.relations import RELATIONS, as_relation
from etl_lib.sinks.sink import copy_manifest
from etl_lib.sinks.sql.postgres import PostgresSql
from etl_lib.sinks.sql.publish_sql import PublishSql
from etl_lib.sinks.sql.redshift import RedshiftSql, copy
from etl_lib.sinks.sql.redshift_client import MAX_BYTES, MAX_STATEMENTS
from etl_lib.sinks.sql.schema_sql import Statement, column_differences, literal
from etl_lib.tables.publishes import Publish
from etl_lib.tables.schemas import FACT_SALES, QUARANTINE, SALES_TABLES, Table

GOLDEN = Path(__file__).parents[1] / "golden"
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
VERSIONS = {"fact_sales": 7, "dim_order": 8}
PUBLISH = Publish("p2", "p1", VERSIONS, NOON)
FULL = Publish("p2", None, VERSIONS, NOON, is_full=True)
ROLE = "arn:aws:iam::123456789012:role/load"

Make = Callable[[PublishSql], Sequence[Statement]]
BOTH: dict[str, Make] = {
    "create": lambda sql: sql.create(),
    "staging": lambda sql: sql.staging("p2"),
    "apply": lambda sql: sql.apply(PUBLISH),
    "apply_full": lambda sql: sql.apply(FULL),
    "drop_staging": lambda sql: [sql.drop_staging("p2")],
    "state": lambda sql: [sql.state()],
    "columns": lambda sql: [sql.columns()],
    "leftovers": lambda sql: [sql.leftovers()],
    "reconciliation": lambda sql: [sql.row_counts(), sql.sales_sums()],
}
DIALECTS = pytest.mark.parametrize("dialect", [PostgresSql, RedshiftSql], ids=["postgres", "redshift"])


def assert_golden(name: str, text: str) -> None:
    """Compare with a golden file, to the letter; with UPDATE_GOLDEN=1 write it."""
    path = GOLDEN / name
    if os.environ.get("UPDATE_GOLDEN") == "1":
        path.write_text(text, encoding="utf-8")
    expected = path.read_text(encoding="utf-8") if path.exists() else ""
    changes = difflib.unified_diff(expected.splitlines(), text.splitlines(), f"golden/{name}", "now", lineterm="")
    assert text == expected, "\n".join([*changes, "", "if this is meant: UPDATE_GOLDEN=1, and look at git diff"])


def shown(statements: Sequence[Statement]) -> str:
    return "\n".join(f"-- {'check: ' if each.is_check else ''}{each.purpose}\n{each.sql};\n" for each in statements)


@DIALECTS
@pytest.mark.parametrize("name", BOTH)
def test_every_statement_is_as_its_golden_file_says(dialect: type[PublishSql], name: str) -> None:
    kind = dialect.__name__.removesuffix("Sql").lower()
    assert_golden(f"{kind}_{name}.sql", shown(BOTH[name](dialect("shop"))))


def test_copy_is_as_its_golden_file_says() -> None:
    table = RedshiftSql("shop").rows("p2", RELATIONS[0])
    chain = f"{ROLE},arn:aws-us-gov:iam::210987654321:role/path/other"
    assert_golden(
        "redshift_copy.sql",
        shown(
            [
                copy(table, "s3://a-bucket/p2/dim_user.manifest", ROLE),
                copy(table, "s3://a-bucket/p2/dim_user.manifest", chain),
                copy(table, "s3://a-bucket/it's.manifest", "default"),
            ]
        ),
    )


def test_every_golden_file_is_made_by_a_test() -> None:
    made = {f"{kind}_{name}.sql" for kind in ("postgres", "redshift") for name in BOTH}
    assert {path.name for path in GOLDEN.iterdir()} == made | {"redshift_copy.sql"}


def test_a_golden_file_that_differs_is_shown_with_the_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UPDATE_GOLDEN", raising=False)
    with pytest.raises(AssertionError, match=r"(?s)-DROP TABLE.*\+DROP nothing.*UPDATE_GOLDEN=1"):
        assert_golden("redshift_drop_staging.sql", "DROP nothing\n")


@pytest.mark.parametrize("name", ["create", "staging", "apply_full"])
def test_a_step_fits_in_one_batch_of_the_data_api_with_the_longest_names(name: str) -> None:
    sql, staged = RedshiftSql("s" * 127), "p" * 36
    versions = dict.fromkeys((table.name for table in SALES_TABLES), 2**63 - 1)
    steps = {
        "create": sql.create,
        "staging": lambda: sql.staging(staged),
        "apply_full": lambda: sql.apply(Publish(staged, staged, versions, NOON, is_full=True)),
    }
    statements = steps[name]()
    assert len(statements) <= MAX_STATEMENTS
    assert sum(len(each.sql.encode()) for each in statements) <= MAX_BYTES


def test_the_declared_tables_become_relations_with_all_their_columns() -> None:
    assert {each.name for each in RELATIONS} == {table.name for table in SALES_TABLES}
    for table in SALES_TABLES:
        [published] = [each for each in RELATIONS if each.name == table.name]
        parts = [f"{each.name} {each.type}{' NOT NULL' if each.is_required else ''}" for each in published.columns]
        assert ", ".join(parts) == " ".join(table.columns.split())
        assert (published.key, published.grain) == (table.key, table.grain)
        assert set(published.key) <= set(published.column_names)


def test_what_is_referred_to_comes_first_and_by_its_whole_key() -> None:
    seen: dict[str, tuple[str, ...]] = {}
    for each in RELATIONS:
        assert all(seen[referenced] == (column,) for column, referenced in each.foreign_keys.items())
        seen[each.name] = each.key


def test_no_index_repeats_what_leads_the_primary_key() -> None:
    assert [(each.name, each.indexes) for each in RELATIONS if each.key[0] in each.indexes] == []


@pytest.mark.parametrize("columns", ["tags ARRAY<STRING>", "at STRUCT<a: INT>", "a INT DEFAULT 1", ""])
def test_a_table_with_columns_that_are_not_flat_is_no_relation(columns: str) -> None:
    with pytest.raises(SchemaError, match=r"t: the column .* cannot be published"):
        as_relation(Table("t", "grain", columns, ("a",)), group="a")
    with pytest.raises(SchemaError, match="quarantine: the column 'reasons ARRAY<STRUCT<rule: STRING'"):
        as_relation(QUARANTINE, group="record_id")
    assert as_relation(FACT_SALES, group="order_id").group_column.type == "STRING"


@given(st.text(min_size=1).filter(lambda name: "\0" not in name and len(name.encode(errors="replace")) <= 63))
def test_an_identifier_is_quoted_so_that_it_can_be_read_back(name: str) -> None:
    quoted = PostgresSql("s").identifier(name)
    assert re.fullmatch(r'(?s)"(?:[^"]|"")*"', quoted)
    assert quoted[1:-1].replace('""', '"') == name


@pytest.mark.parametrize(
    ("name", "limit"), [("", 63), ("a\0b", 63), ("x" * 64, 63), ("ä" * 32, 63), ("x" * 128, 127)], ids=repr
)
def test_a_name_that_the_database_would_change_is_refused(name: str, limit: int) -> None:
    dialect: Any = {63: PostgresSql, 127: RedshiftSql}[limit]
    with pytest.raises(SchemaError, match=f"one to {limit} bytes are allowed"):
        dialect(name)
    assert dialect("x" * limit).identifier("ä" * (limit // 2))


@pytest.mark.parametrize("publish_id", ["", "a b", "a'b", 'a"b', "ä", "-a", "a" * 37, "a/b", "a\n"])
def test_a_publish_id_that_cannot_name_tables_is_refused(publish_id: str) -> None:
    with pytest.raises(SchemaError, match="cannot be a publish id"):
        PostgresSql("shop").staging(publish_id)


def test_staging_tables_have_names_that_postgres_does_not_cut() -> None:
    assert len(set(PostgresSql("shop").staged("a" * 36))) == 2 * len(RELATIONS)


@pytest.mark.parametrize(
    ("text", "quoted"),
    [("a", "'a'"), ("it's", "'it''s'"), ("''", "''''''"), ("%s ; --", "'%s ; --'"), ("é", "'é'")],
)
def test_a_literal_doubles_its_quotes(text: str, quoted: str) -> None:
    assert literal(text) == quoted


@pytest.mark.parametrize("text", ["a\\", "\\'; --", "a\nb", "\0", "\x1b", "\u202e"], ids=repr)
def test_a_text_that_databases_read_differently_is_no_literal(text: str) -> None:
    with pytest.raises(SchemaError, match="cannot stand in an SQL statement"):
        literal(text)


@given(st.text())
def test_a_literal_can_be_read_back_or_is_refused(text: str) -> None:
    try:
        quoted = literal(text)
    except SchemaError:
        assert "\\" in text or not text.isprintable()
    else:
        assert re.fullmatch(r"'(?:[^'\\]|'')*'", quoted)
        assert quoted[1:-1].replace("''", "'") == text


@pytest.mark.parametrize("location", ["", "s3://", "s3://bucket", "s3n://bucket/x", "s3://Bad_Bucket/x", " s3://b-b/x"])
def test_what_is_no_place_in_s3_is_refused(location: str) -> None:
    with pytest.raises(ValidationError, match="staging"):
        RedshiftSettings(database="d", staging=location)


@pytest.mark.parametrize("role", ["", "load", "DEFAULT", f"{ROLE}' KEY 'x", f"{ROLE},", "arn:aws:iam::1:role/x"])
def test_what_is_no_role_is_refused(role: str) -> None:
    with pytest.raises(SchemaError, match="is no IAM role"):
        copy("t", "s3://bucket/x", role)


def test_a_manifest_names_each_file_with_its_size() -> None:
    assert json.loads(copy_manifest({"s3://b/2.parquet": 20, "s3://b/1.parquet": 2**40})) == {
        "entries": [
            {"url": "s3://b/1.parquet", "mandatory": True, "meta": {"content_length": 2**40}},
            {"url": "s3://b/2.parquet", "mandatory": True, "meta": {"content_length": 20}},
        ]
    }


def test_the_time_of_a_publish_is_written_in_utc() -> None:
    local = datetime(2026, 3, 1, 12, 0, 0, 5, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    statement = RedshiftSql("shop").apply(Publish("p1", None, {}, local))[-1]
    assert "'2026-03-01 06:30:00.000005+00'" in statement.sql
    with pytest.raises(ValueError, match="has no time zone"):
        Publish("p1", None, {}, local.replace(tzinfo=None))


def test_tables_that_are_not_there_are_no_difference() -> None:
    declared = {"t": {"a": "integer", "b": "text"}, "u": {"a": "text"}}
    assert column_differences(declared, {"other": {"a": "x"}}) == []
    assert column_differences(declared, {"t": {"b": "text", "c": "date"}}) == [
        "t.a: missing, expected integer",
        "t.c: date, which nobody declared",
    ]
