"""The folder that Parquet files are published in: its manifest, what is there, what comes in, what is removed.

Needs no Spark.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Annotated, TypeVar

import pyarrow.dataset as pads
import pyarrow.fs as pafs
from pydantic import AwareDatetime, Field, ValidationError

from etl_lib.process.faults import reach
from etl_lib.process.lock import folder_lock
from etl_lib.process.output import located, read_bytes, write_bytes
from etl_lib.settings.strict_model import Section
from etl_lib.sinks.sink import PublishRefusedError, SinkError, copy_manifest

MANIFEST = "_manifest.json"
COPY_MANIFEST = "_copy_manifest.json"
LOCK = ".publish.lock"
STAGING = "_publishing"

_MOST_LISTED = 5
_WORKERS = 16
# No other writer gives names like these: a Delta table in this place is told from published files.
_OUR_FILE = re.compile(r"part-[A-Za-z0-9][A-Za-z0-9_.-]{0,35}\.\d{5}\.parquet")

Item = TypeVar("Item")
Answer = TypeVar("Answer")


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


class FolderManifest(Section):
    """Which files are published now, and nothing else is: all tables at Delta versions that agree with each other."""

    publish_id: str
    previous: str | None
    versions: dict[str, int]
    published_at: AwareDatetime
    written: dict[str, int]
    """The rows that this publish wrote, by table; the others were published before and are still current."""
    tables: dict[str, PublishedTable]

    @property
    def files(self) -> dict[str, PublishedFile]:
        """The files of all tables, by path."""
        return {file.path: file for table in self.tables.values() for file in table.files}


@dataclass(frozen=True)
class FolderContents:
    """What is in the folders of the tables: files with their bytes, and folders of dates; paths below the root."""

    files: Mapping[str, int]
    date_folders: frozenset[str]


class PublishedFolder:
    """A folder of published tables, on a local disk or an object store."""

    def __init__(self, root: str, tables: Sequence[str]) -> None:
        """`root` is an absolute path or a URI. Nothing is asked yet."""
        self.root = root.rstrip("/")
        self._tables = tables

    @cached_property
    def _place(self) -> tuple[pafs.FileSystem, str]:
        return located(self.root)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One publish at a time into a local folder; PublishRefusedError while another is under way.

        An object store has no such lock. Of two publishes there the one that swaps second is refused by `confirm`.
        """
        busy = PublishRefusedError(f"{self.root}: another publish is under way there; wait until it ends")
        with folder_lock(self.root, LOCK, lambda _: busy):
            yield

    def manifest(self) -> FolderManifest | None:
        """What is published, or None when nothing ever was. SinkError for a file that is no manifest."""
        path = f"{self.root}/{MANIFEST}"
        content = read_bytes(path)
        if content is None:
            return None
        try:
            return FolderManifest.model_validate_json(content)
        except ValidationError as error:
            fields = sorted({".".join(str(part) for part in detail["loc"]) for detail in error.errors()})
            raise SinkError(
                f"{path}: not the manifest of a publish ({', '.join(fields[:_MOST_LISTED]) or 'no JSON'}); delete this "
                "file, and the next publish writes everything anew"
            ) from None

    def contents(self) -> FolderContents:
        """What is in the folders of the tables. SinkError when there are files that no publish wrote."""
        system, root = self._place
        files, folders, foreign = {}, set(), set()
        for table in self._tables:
            for info in system.get_file_info(
                pafs.FileSelector(f"{root}/{table}", allow_not_found=True, recursive=True)
            ):
                path = info.path.removeprefix(f"{root}/")
                parts = path.split("/")
                if "_delta_log" in parts:
                    foreign.add(f"{table}/_delta_log")
                elif info.type == pafs.FileType.Directory:
                    if parts[-1].startswith("order_date="):
                        folders.add(path)
                elif not any(part[0] in "_." for part in parts[1:]):
                    files[path] = info.size
                    if not _OUR_FILE.fullmatch(parts[-1]):
                        foreign.add(path)
        if foreign:
            raise SinkError(
                f"{self.root}: there are files that no publish wrote: {listed(sorted(foreign))}; nothing was "
                "changed. Move them away, or publish into a folder of its own"
            )
        return FolderContents(files, frozenset(folders))

    def staging(self, publish_id: str, table: str) -> str:
        """Where Spark writes the new files of a table, out of sight of readers."""
        return f"{self.root}/{STAGING}/{publish_id}/{table}"

    def move_in(self, files: Mapping[str, PublishedFile]) -> None:
        """Move staged files (as `pyarrow.fs` names them) to where readers look."""
        system, root = self._place
        for folder in {file.path.rpartition("/")[0] for file in files.values()}:
            system.create_dir(f"{root}/{folder}", recursive=True)

        def move(staged: str) -> None:
            system.move(staged, f"{root}/{files[staged].path}")
            reach("publish_parquet.moving")

        for_each(move, files)

    def confirm(self, current: FolderManifest | None, new: Iterable[PublishedFile]) -> FolderContents:
        """What is there, if nobody else published since `current` was read; else PublishRefusedError."""
        contents = self.contents()
        is_whole = all(contents.files.get(file.path) == file.bytes for file in new)
        if self.manifest() != current or not is_whole:
            raise PublishRefusedError(
                f"{self.root}: another publish came in between, and this one was given up; publish again"
            )
        return contents

    def swap(self, manifest: FolderManifest) -> None:
        """Show what a manifest lists, from one moment to the next."""
        write_bytes(f"{self.root}/{MANIFEST}", manifest.model_dump_json(indent=1).encode())

    def settle(self, manifest: FolderManifest | None, contents: FolderContents) -> None:
        """Make everything beside the manifest what it says: manifests for COPY, and no files but the listed ones.

        The staging folder goes last: as long as it is there, something may be left to settle.
        """
        system, root = self._place
        published = manifest.files if manifest else {}

        def write_copy_manifest(table: tuple[str, PublishedTable]) -> None:
            """Beside the files of a table, for Redshift's `COPY ... FORMAT AS PARQUET MANIFEST`."""
            text = copy_manifest({f"s3://{root}/{file.path}": file.bytes for file in table[1].files})
            write_bytes(f"{self.root}/{table[0]}/{COPY_MANIFEST}", text.encode())

        if manifest is not None and system.type_name == "s3":
            for_each(write_copy_manifest, manifest.tables.items())
        self.remove(contents.files.keys() - published)
        empty = contents.date_folders - {path.rpartition("/")[0] for path in published}
        for_each(lambda folder: system.delete_dir(f"{root}/{folder}"), sorted(empty))
        if system.get_file_info(f"{root}/{STAGING}").type != pafs.FileType.NotFound:
            system.delete_dir(f"{root}/{STAGING}")

    def remove(self, paths: Iterable[str]) -> None:
        """Remove files, those that are gone already too."""
        system, root = self._place

        def delete(path: str) -> None:
            try:
                system.delete_file(f"{root}/{path}")
            except FileNotFoundError:
                return
            reach("publish_parquet.deleting")

        for_each(delete, sorted(paths))

    def dataset(self, files: Sequence[PublishedFile]) -> pads.Dataset:
        """Some published files, to be read. SinkError that names those that are not there."""
        system, root = self._place
        infos = system.get_file_info([f"{root}/{file.path}" for file in files])
        lost = [file.path for file, info in zip(files, infos, strict=True) if info.type != pafs.FileType.File]
        if lost:
            raise SinkError(
                f"{self.root}: published files are lost: {listed(lost)}; the next publish writes their dates anew"
            )
        return pads.dataset([info.path for info in infos], filesystem=system)


def listed(names: Sequence[str]) -> str:
    """The first few of some names, and how many more there are."""
    more = f" and {len(names) - _MOST_LISTED} more" if len(names) > _MOST_LISTED else ""
    return ", ".join(names[:_MOST_LISTED]) + more


def for_each(do: Callable[[Item], Answer], items: Iterable[Item]) -> list[Answer]:
    """Do something with each item, several at a time: on an object store most of it is waiting."""
    with ThreadPoolExecutor(_WORKERS) as pool:
        return list(pool.map(do, items))
