"""Files for people and other systems beside the tables, on any file system that pyarrow knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pyarrow.fs as pafs

from etl_lib.process.errors import LakehouseError
from etl_lib.process.lock import local_folder

if TYPE_CHECKING:  # who reads or writes a file alone waits for no Spark
    from pyspark.sql import DataFrame


def write_text(path: str, text: str) -> None:
    """Write one text file, and its folder if there is none."""
    system, inner = located(path)
    system.create_dir(inner.rpartition("/")[0], recursive=True)
    with system.open_output_stream(inner) as stream:
        stream.write(text.encode())


def write_single_file(frame: DataFrame, path: str, kind: str, options: Mapping[str, str]) -> None:
    """Write a frame as one file with exactly this name, in the order of its rows, by one task.

    A reader finds the old file or the new one: it is written beside and moved (copied, on an object store).
    """
    folder, _, name = path.rpartition("/")
    beside = f"{folder}/_{name}.writing"
    frame.coalesce(1).write.format(kind).options(**options).mode("overwrite").save(beside)
    system, inner = located(beside)
    parts = [file.path for file in system.get_file_info(pafs.FileSelector(inner)) if file.base_name[:5] == "part-"]
    if len(parts) != 1:
        raise LakehouseError(f"{path}: expected one file in {beside}, found {len(parts)}; is this folder shared?")
    system.move(parts[0], located(path)[1])
    system.delete_dir(inner)


def located(path: str) -> tuple[pafs.FileSystem, str]:
    """The file system of a local path or URI, and the path in there."""
    if (local := local_folder(path)) is not None:
        return pafs.LocalFileSystem(), str(local)
    # pyarrow calls S3 by its own name
    system, inner = pafs.FileSystem.from_uri(path.replace("s3a://", "s3://", 1))
    return system, inner


def read_bytes(path: str) -> bytes | None:
    """A whole file, or None when there is none."""
    system, inner = located(path)
    try:
        with system.open_input_stream(inner) as stream:
            content: bytes = stream.read()
            return content
    except FileNotFoundError:
        return None


def names_in(folder: str) -> list[str]:
    """The names of what is in a folder; none when there is no such folder."""
    system, inner = located(folder)
    return [entry.base_name for entry in system.get_file_info(pafs.FileSelector(inner, allow_not_found=True))]


def write_bytes(path: str, content: bytes | bytearray) -> None:
    """Write one file, and its folder if there is none; a reader finds the old file or the new one."""
    system, inner = located(path)
    folder, _, name = inner.rpartition("/")
    system.create_dir(folder, recursive=True)
    beside = f"{folder}/_{name}.writing"
    try:
        with system.open_output_stream(beside) as stream:
            stream.write(content)
        system.move(beside, inner)
    except BaseException:
        if system.get_file_info(beside).type != pafs.FileType.NotFound:
            system.delete_file(beside)
        raise
