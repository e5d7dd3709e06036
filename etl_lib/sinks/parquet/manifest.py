"""The manifest of published Parquet files: which files make up what is published now, and nothing else does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, date
from typing import Annotated

from pydantic import AwareDatetime, Field

from etl_lib.settings.strict_model import Section
from etl_lib.sinks.relations import Relation
from etl_lib.tables.publishes import Publish

MANIFEST = "_manifest.json"


class PublishedFile(Section):
    """One file: its path below the published folder, bytes and rows; all rows have its date, if files are by date."""

    path: str
    bytes: int
    rows: int
    order_date: date | None = None


class PublishedTable(Section):
    """One table: its columns in the order in which every file has them, as `name TYPE`, and its files."""

    columns: Annotated[tuple[str, ...], Field(strict=False)]
    files: Annotated[tuple[PublishedFile, ...], Field(strict=False)] = ()

    @property
    def rows(self) -> Mapping[date | None, int]:
        """The rows of each date; of no date where files are not by date."""
        counts: dict[date | None, int] = {}
        for file in self.files:
            counts[file.order_date] = counts.get(file.order_date, 0) + file.rows
        return counts


class Manifest(Section):
    """What one publish has left: all tables by name, at Delta versions that agree with each other."""

    publish_id: str
    previous: str | None
    versions: dict[str, int]
    published_at: AwareDatetime
    written: dict[str, int]
    """The rows that this publish wrote, by table; the others were published before and are still current."""
    tables: dict[str, PublishedTable]

    @property
    def files(self) -> list[PublishedFile]:
        """The files of all tables."""
        return [file for table in self.tables.values() for file in table.files]


def columns_of(relation: Relation) -> tuple[str, ...]:
    """The columns of a relation as the manifest tells them."""
    return tuple(f"{column.name} {column.type}" for column in relation.columns)


def is_by_date(relation: Relation) -> bool:
    """Whether the files of a relation are in a folder for each date."""
    return "order_date" in relation.column_names


def following(
    publish: Publish,
    current: Manifest | None,
    replaced: Iterable[tuple[Relation, frozenset[date] | None]],
    new: Mapping[str, Mapping[str, PublishedFile]],
) -> Manifest:
    """The manifest after a publish: of each relation these dates (None: all of it) are replaced by the `new` files."""
    added = {name: tuple(files.values()) for name, files in new.items()}
    tables = {
        relation.name: PublishedTable(
            columns=columns_of(relation),
            files=(*_kept(current, relation.name, dates), *added.get(relation.name, ())),
        )
        for relation, dates in replaced
    }
    return Manifest(
        publish_id=publish.publish_id,
        previous=publish.previous,
        versions=dict(publish.versions),
        published_at=publish.published_at.astimezone(UTC),
        written={name: sum(file.rows for file in added.get(name, ())) for name in tables},
        tables=tables,
    )


def _kept(current: Manifest | None, table: str, dates: frozenset[date] | None) -> tuple[PublishedFile, ...]:
    if current is None or dates is None or table not in current.tables:
        return ()
    return tuple(file for file in current.tables[table].files if file.order_date not in dates)
