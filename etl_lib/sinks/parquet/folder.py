"""The folder that Parquet files are published in: what is there, what comes in, what is removed. Needs no Spark."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import pyarrow.fs as pafs
from pydantic import ValidationError

from etl_lib.process.errors import SchemaError
from etl_lib.process.faults import reach
from etl_lib.process.lock import folder_lock
from etl_lib.process.output import located, read_bytes, write_bytes
from etl_lib.sinks.parquet.manifest import MANIFEST, Manifest, PublishedFile
from etl_lib.sinks.sink import PublishRefusedError, SinkError, copy_manifest

COPY_MANIFEST = "_copy_manifest.json"
LOCK = ".publish.lock"
STAGING = "_publishing"

_TOLD = 5
_WORKERS = 16
# No other writer gives names like these: a Delta table in this place is told from published files.
_OURS = re.compile(r"part-[A-Za-z0-9][A-Za-z0-9_.-]{0,35}\.\d{5}\.parquet")

Item = TypeVar("Item")
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Found:
    """What is in the folders of the tables: files with their bytes, and folders of dates; paths below the root."""

    files: Mapping[str, int]
    date_folders: frozenset[str]


class PublishedFolder:
    """A folder of published tables, on a local disk or an object store."""

    def __init__(self, root: str, tables: Sequence[str]) -> None:
        """`root` is an absolute path or a URI."""
        self.root = root.rstrip("/")
        self.tables = tables
        self._staging = f"{self.root}/{STAGING}"

    @contextmanager
    def held(self) -> Iterator[None]:
        """One publish at a time into a local folder; PublishRefusedError while another is under way.

        An object store has no such lock. Of two publishes there the one that swaps second is refused by `confirm`.
        """
        busy = PublishRefusedError(f"{self.root}: another publish is under way there; wait until it ends")
        with folder_lock(self.root, LOCK, lambda _: busy):
            yield

    def manifest(self) -> Manifest | None:
        """What is published, or None when nothing ever was."""
        path = f"{self.root}/{MANIFEST}"
        content = read_bytes(path)
        if content is None:
            return None
        try:
            return Manifest.model_validate_json(content)
        except ValidationError as error:
            fields = sorted({".".join(str(part) for part in detail["loc"]) for detail in error.errors()})
            raise SinkError(
                f"{path}: not the manifest of a publish ({', '.join(fields[:_TOLD]) or 'no JSON'}); delete this file, "
                "and the next publish writes everything anew"
            ) from None

    def found(self) -> Found:
        """What is in the folders of the tables. SinkError when there are files that no publish wrote."""
        files, folders, foreign = {}, set(), []
        for table, info in self._listed():
            path = info.path.removeprefix(self._inner(f"{self.root}/"))
            parts = path.split("/")
            if info.type == pafs.FileType.Directory and parts[-1].startswith("order_date="):
                folders.add(path)
            hidden = any(part[0] in "_." for part in parts[1:])
            if "_delta_log" in parts or not (hidden or info.type == pafs.FileType.Directory or _is_ours(path)):
                foreign.append(f"{table}/_delta_log" if "_delta_log" in parts else path)
            elif info.type == pafs.FileType.File and not hidden:
                files[path] = info.size
        if foreign:
            raise SinkError(
                f"{self.root}: there are files that no publish wrote: {told(sorted(set(foreign)))}; nothing was "
                "changed. Move them away, or publish into a folder of its own"
            )
        return Found(files, frozenset(folders))

    def _listed(self) -> Iterator[tuple[str, pafs.FileInfo]]:
        for table in self.tables:
            system, inner = located(f"{self.root}/{table}")
            for info in system.get_file_info(pafs.FileSelector(inner, allow_not_found=True, recursive=True)):
                yield table, info

    def staging(self, publish_id: str, table: str) -> str:
        """Where Spark writes the new files of a table, out of sight of readers."""
        return f"{self._staging}/{publish_id}/{table}"

    def move_in(self, files: Mapping[str, PublishedFile]) -> None:
        """Move staged files (as `pyarrow.fs` names them) to where readers look."""
        system, inner = located(self.root)
        for folder in {file.path.rpartition("/")[0] for file in files.values()}:
            system.create_dir(f"{inner}/{folder}", recursive=True)

        def move(staged: str) -> None:
            system.move(staged, f"{inner}/{files[staged].path}")
            reach("publish_parquet.moving")

        for_each(move, files)

    def confirm(self, current: Manifest | None, new: Iterable[PublishedFile]) -> Found:
        """What is there, if nobody else published since `current` was read; else PublishRefusedError."""
        found = self.found()
        lost = [file.path for file in new if found.files.get(file.path) != file.bytes]
        if self.manifest() != current or lost:
            raise PublishRefusedError(
                f"{self.root}: another publish came in between, and this one was given up; publish again"
            )
        return found

    def swap(self, manifest: Manifest) -> None:
        """Show what a manifest lists, from one moment to the next."""
        write_bytes(f"{self.root}/{MANIFEST}", manifest.model_dump_json(indent=1).encode())

    def settle(self, manifest: Manifest | None, found: Found) -> None:
        """Make everything beside the manifest what it says: manifests for COPY, and no files but the listed ones.

        The staging folder goes last: as long as it is there, something may be left to settle.
        """
        system, inner = located(self.root)
        listed = {file.path for file in manifest.files} if manifest else set()
        if manifest is not None and system.type_name == "s3":
            for_each(lambda table: self._write_copy_manifest(manifest, table), manifest.tables)
        self.remove(found.files.keys() - listed)
        empty = found.date_folders - {path.rpartition("/")[0] for path in listed}
        for_each(lambda folder: system.delete_dir(f"{inner}/{folder}"), sorted(empty))
        staging = self._inner(self._staging)
        if system.get_file_info(staging).type != pafs.FileType.NotFound:
            system.delete_dir(staging)

    def _write_copy_manifest(self, manifest: Manifest, table: str) -> None:
        """Beside the files of a table, for Redshift's `COPY ... FORMAT AS PARQUET MANIFEST`."""
        root = "s3://" + self._inner(self.root)
        text = copy_manifest({f"{root}/{file.path}": file.bytes for file in manifest.tables[table].files})
        write_bytes(f"{self.root}/{table}/{COPY_MANIFEST}", text.encode())

    def remove(self, paths: Iterable[str]) -> None:
        """Remove files, those that are gone already too."""
        system, inner = located(self.root)

        def delete(path: str) -> None:
            try:
                system.delete_file(f"{inner}/{path}")
            except FileNotFoundError:
                return
            reach("publish_parquet.deleting")

        for_each(delete, sorted(paths))

    def read_each(self, files: Sequence[PublishedFile], read: Callable[[str, pafs.FileSystem], Answer]) -> list[Answer]:
        """Read something of each file, several at a time. SinkError that names those that are not there."""
        if not files:
            return []
        system, inner = located(self.root)
        paths = [f"{inner}/{file.path}" for file in files]
        infos = system.get_file_info(paths)
        lost = [file.path for file, info in zip(files, infos, strict=True) if info.type != pafs.FileType.File]
        if lost:
            raise SinkError(
                f"{self.root}: published files are lost: {told(lost)}; the next publish writes their dates anew"
            )
        return for_each(lambda path: read(path, system), paths)

    def _inner(self, path: str) -> str:
        return str(located(self.root)[1]) + path.removeprefix(self.root)


def file_name(publish_id: str, number: int) -> str:
    """The name of a published file: no two publishes have one in common. SchemaError for an id that makes none."""
    name = f"part-{publish_id}.{number:05d}.parquet"
    if not _OURS.fullmatch(name):
        raise SchemaError(
            f"{publish_id!r} cannot be a publish id: files are named by it, so it has 1 to 36 letters, digits, dots, "
            "dashes and underscores"
        )
    return name


def _is_ours(path: str) -> bool:
    return _OURS.fullmatch(path.rpartition("/")[2]) is not None


def told(names: Sequence[str]) -> str:
    """The first few of some names, and how many more there are."""
    more = f" and {len(names) - _TOLD} more" if len(names) > _TOLD else ""
    return ", ".join(names[:_TOLD]) + more


def for_each(do: Callable[[Item], Answer], items: Iterable[Item]) -> list[Answer]:
    """Do something with each item, several at a time: on an object store most of it is waiting."""
    with ThreadPoolExecutor(_WORKERS) as pool:
        return list(pool.map(do, items))
