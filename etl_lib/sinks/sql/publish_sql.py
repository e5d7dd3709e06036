"""The SQL of a publish: rows are staged, and then replace what the tables had, in one transaction.

A publish stages two tables a relation: the *rows* that are new or changed, and the *keys* of the groups that changed.
The sink then replaces these groups by the staged rows; a group without staged rows is deleted.
"""

# ruff: noqa: S608 - names are quoted by identifier(), values by literal()

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from datetime import UTC
from typing import ClassVar

from etl_lib.process.errors import SchemaError
from etl_lib.sinks.relations import RELATIONS, Column, Relation
from etl_lib.sinks.sql.schema_sql import STATE_TABLE, SchemaSql, Statement, count_rows, literal
from etl_lib.tables.publishes import Publish

_PUBLISH_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,35}")


class PublishSql(SchemaSql):
    """The statements of publishes into one schema."""

    staging_kind: ClassVar[str] = "TABLE"
    staged_types: ClassVar[Mapping[str, str]] = {}
    """The types of staging tables, where they are other ones."""
    staged_storage: ClassVar[Mapping[str, str]] = {}
    """How the staging tables of each relation are stored."""
    select: ClassVar[str] = "SELECT"
    """How staged rows are selected."""
    shows_versions: ClassVar[str]
    """Whether the state has some versions, which are filled in."""

    def rows(self, publish_id: str, relation: Relation) -> str:
        """The staging table for the new and changed rows of a relation, with all of its columns."""
        return self._staging_table(publish_id, relation.name)

    def keys(self, publish_id: str, relation: Relation) -> str:
        """The staging table for the groups of a relation that changed: one column, `relation.group`."""
        return self._staging_table(publish_id, f"{relation.name}_keys")

    def _staging_table(self, publish_id: str, name: str) -> str:
        if not _PUBLISH_ID.fullmatch(publish_id):
            raise SchemaError(
                f"{publish_id!r} cannot be a publish id: staging tables are named by it, so it has 1 to 36 letters, "
                "digits, dots, dashes and underscores"
            )
        return self.table(f"stage_{publish_id}_{name}")

    def staged(self, publish_id: str) -> list[str]:
        """All staging tables of a publish."""
        return [table for each in RELATIONS for table in (self.rows(publish_id, each), self.keys(publish_id, each))]

    def staging(self, publish_id: str, left: Iterable[str] = ()) -> list[Statement]:
        """Create the staging tables of a publish, empty, and drop those that others have left (names).

        They have no key: nothing is refused as long as rows are staged.
        """
        statements = [self.drop_staging(publish_id, left)]
        for relation in RELATIONS:
            for table, columns in (
                (self.rows(publish_id, relation), relation.columns),
                (self.keys(publish_id, relation), (relation.group_column,)),
            ):
                body = ",\n  ".join(
                    self._definition(column, self.staged_types.get(column.type) or self.type_of(column))
                    for column in columns
                )
                sql = f"CREATE {self.staging_kind} {table} (\n  {body}\n){self.staged_storage.get(relation.name, '')}"
                statements.append(Statement(f"create the staging table {table}", sql))
        return statements

    def drop_staging(self, publish_id: str, left: Iterable[str] = ()) -> Statement:
        """Drop the staging tables of a publish and those that others have left, as many as there are."""
        tables = dict.fromkeys([*self.staged(publish_id), *map(self.table, left)])
        return Statement("drop the staging tables", "DROP TABLE IF EXISTS\n  " + ",\n  ".join(tables))

    def leftovers(self) -> Statement:
        """The staging tables that are there, of whatever publish: (name)."""
        relations = "|".join(relation.name for relation in RELATIONS)
        return Statement(
            "list the staging tables",
            "SELECT tablename FROM pg_catalog.pg_tables\n"
            f"WHERE {self._is_schema('schemaname')} AND tablename ~ '^stage_.+_({relations})(_keys)?$'\n"
            "ORDER BY tablename",
        )

    def staged_row_counts(self, publish_id: str) -> Statement:
        """The staged rows of each relation: (table_name, row_count)."""
        return count_rows("count the staged rows", [(each.name, self.rows(publish_id, each)) for each in RELATIONS])

    def apply(self, publish: Publish) -> list[Statement]:
        """The one transaction of a publish: changed groups are replaced by what is staged, and the state says so.

        Refused when the sink does not show `publish.previous`, or this very publish already (then nothing changes).
        """
        staged, state = publish.publish_id, self.table(STATE_TABLE)
        statements = [*self._lock(), self._follow_on_what_is_shown(publish)]
        if publish.is_full:
            statements += [self._mark_all(staged, relation) for relation in RELATIONS]
        statements += self._prepare(staged)
        for relation in RELATIONS:
            statements += self._checks(staged, relation)
        for relation in RELATIONS:
            statements += self._replace(staged, relation)
        published_at = publish.published_at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f+00")
        values = ", ".join(map(literal, (staged, publish.versions_json, published_at)))
        insert = f'INSERT INTO {state} ("publish_id", "versions", "published_at")\nVALUES ({values})'
        return [
            *statements,
            Statement("forget the last publish", f"DELETE FROM {state}"),
            Statement("write the state of the sink", insert),
        ]

    @abstractmethod
    def _lock(self) -> list[Statement]:
        """Lock out other publishes; readers go on."""

    def _prepare(self, _publish_id: str) -> list[Statement]:
        """What is done with staged tables before they are read."""
        return []

    def _follow_on_what_is_shown(self, publish: Publish) -> Statement:
        """Refuse a publish of changes to anything else than what the sink shows."""
        previous, versions = publish.previous or "", literal(publish.versions_json)
        return check(
            f"publish what follows on {previous or 'an empty sink'}, which is not what the sink shows: plan it again",
            f"coalesce(max(\"publish_id\"), '') = {literal(previous)} "
            f'OR (max("publish_id") = {literal(publish.publish_id)} AND {self.shows_versions.format(versions)})',
            "'it shows the publish ' || coalesce(max(\"publish_id\"), '(none)')",
            self.table(STATE_TABLE),
        )

    def _mark_all(self, publish_id: str, relation: Relation) -> Statement:
        """Stage as changed every group that the sink shows or that is staged: what comes is then all there is."""
        group = self.identifier(relation.group)
        return Statement(
            f"mark all of {relation.name} as changed",
            f"INSERT INTO {self.keys(publish_id, relation)} ({group})\n"
            f"SELECT {group} FROM {self.table(relation.name)}\n"
            f"UNION SELECT {group} FROM {self.rows(publish_id, relation)}",
        )

    def _checks(self, publish_id: str, relation: Relation) -> list[Statement]:
        """Refuse staged rows of groups that are not staged as changed: they would be added to what is there."""
        group = self.identifier(relation.group)
        rows, keys = self.rows(publish_id, relation), self.keys(publish_id, relation)
        return [
            check(
                f"publish {relation.name}: rows are staged whose {relation.group} is not staged as changed",
                "count(*) = 0",
                f"'{relation.name}: ' || CAST(count(*) AS VARCHAR(20)) || ' staged rows without their key'",
                f"{rows} AS staged\n"
                f"WHERE NOT EXISTS (SELECT 1 FROM {keys} AS changed WHERE changed.{group} = staged.{group})",
            )
        ]

    def _replace(self, publish_id: str, relation: Relation) -> list[Statement]:
        """Replace the changed groups of a relation by their staged rows."""
        group, keys = self.identifier(relation.group), self.keys(publish_id, relation)
        delete = f"DELETE FROM {self.table(relation.name)}\nWHERE {group} IN (SELECT {group} FROM {keys})"
        return [
            Statement(f"delete the changed rows of {relation.name}", delete),
            Statement(f"insert the staged rows of {relation.name}", self._insert(publish_id, relation)),
        ]

    def _insert(self, publish_id: str, relation: Relation, alias: str = "") -> str:
        values = ", ".join(map(self._value, relation.columns))
        return (
            f"INSERT INTO {self.table(relation.name)}{alias} ({self.names(relation.column_names)})\n"
            f"{self.select} {values}\nFROM {self.rows(publish_id, relation)}"
        )

    def _value(self, column: Column) -> str:
        """What is published of a staged column."""
        name = self.identifier(column.name)
        return f"NULLIF({name}, '')" if column.is_empty_null else name


def check(purpose: str, condition: str, refusal: str, source: str) -> Statement:
    """A SELECT from `source` that fails when `condition` is not true, with the SQL text `refusal` in its message."""
    # A text that is no number is the one error that every SQL database raises without a procedural language.
    test = f"CAST(CASE WHEN {condition} THEN '0' ELSE {refusal} END AS INTEGER)"
    return Statement(purpose, f"SELECT {test}\nFROM {source}", is_check=True)
