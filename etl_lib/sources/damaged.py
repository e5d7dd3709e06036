"""Landing files that cannot be read: which they are and why, and staging what is left without them.

Spark gives up at the first of them, with the trace of a task. Then all files are read for nothing but that, and each
that cannot be is named with one sentence. What could be read of one before it broke off is not taken either.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import chain
from typing import TypeVar
from urllib.parse import unquote

import structlog
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from etl_lib.process.errors import InputError, LakehouseError
from etl_lib.process.lock import local_folder
from etl_lib.process.spark_errors import is_disk_full
from etl_lib.run.run import Run
from etl_lib.sources.landing import LandingFile, read_text, vanished_file
from etl_lib.tables.ledger import SetAside, set_aside_files

log = structlog.get_logger(__name__)

Files = Mapping[str, Sequence[LandingFile]]
Batch = TypeVar("Batch")

_NAMED = re.compile(r"while reading file (.+?)\.\s+(?:SQLSTATE|File does not exist)")
_CAUSE = re.compile(r"^Caused by: (?P<kind>[\w.$]+)(?:: (?P<reason>.*))?$", re.MULTILINE)
_CAUSES = (
    ("Relative path in absolute URI", "Hadoop reads no file with a colon in its name; rename it"),
    ("Permission denied|AccessControl|AccessDenied", "this job may not read it; give its user the right to"),
    ("(?i)EOFException|unexpected end|truncated", "it ends too early, as if it was cut off; send it again"),
    ("(?i)not a gzip|header|magic|BZip2|Dictionary|Unknown frame", "it is not compressed as its name says; rename it"),
    ("(?i)crc|checksum|corrupt|invalid|zstd|gzip|bzip2", "it is broken and cannot be decompressed; send it again"),
)


def stage_readable(run: Run, files: Files, stage: Callable[[Files], Batch]) -> tuple[Batch, Files]:
    """What `stage` makes of the files that can be read, and those files.

    The others end the run with InputError, or are set aside and entered in the run's manifest, as `input.damaged` says.
    """
    try:
        return stage(files), files
    except LakehouseError:
        raise
    except Exception as error:
        # What Spark raises in a task has no type of its own in Python.
        if is_disk_full(error):  # which says nothing of the files
            raise
        every = list(chain(*files.values()))
        if (path := vanished_file(run.spark, every)) is not None:
            raise InputError(
                f"{path} is gone since it was listed; no table was changed: run the command again, it reads what is "
                "there"
            ) from error
        if not (damaged := damaged_files(run.spark, every)):
            raise
        if run.settings.input.damaged == "stop":
            told = "\n  ".join(f"{file.path}: {reason}" for file, reason in damaged.items())
            raise InputError(
                f"no table was changed, as these files cannot be read:\n  {told}\nOr set input.damaged to set_aside, "
                "and all others are loaded without them"
            ) from error
        for file, reason in damaged.items():
            log.warning("set aside", path=file.path, reason=reason)
        entries = [
            SetAside(dataset, **asdict(file), reason=damaged[file])
            for dataset, some in files.items()
            for file in some
            if file in damaged
        ]
        run.manifest = replace(run.manifest, set_aside=(*run.manifest.set_aside, *entries))
    left = {dataset: [file for file in some if file not in damaged] for dataset, some in files.items()}
    return stage_readable(run, left, stage)


def without_set_aside(run: Run, files: Mapping[str, list[LandingFile]]) -> dict[str, list[LandingFile]]:
    """The files but those that an earlier run has set aside as they are, which the manifest names anew.

    With `input.damaged: stop` they are tried again.
    """
    if run.settings.input.damaged == "stop":
        return dict(files)
    known = {(one.dataset, one.path, one.size, one.modified_at): one for one in set_aside_files(run.warehouse)}

    def entry(dataset: str, file: LandingFile) -> SetAside | None:
        return known.get((dataset, file.path, file.size, file.modified_at))

    waiting = [one for dataset, some in files.items() for file in some if (one := entry(dataset, file)) is not None]
    run.manifest = replace(run.manifest, set_aside=(*run.manifest.set_aside, *waiting))
    return {dataset: [file for file in some if entry(dataset, file) is None] for dataset, some in files.items()}


def damaged_files(spark: SparkSession, files: Sequence[LandingFile]) -> dict[LandingFile, str]:
    """The files that cannot be read to their end, each with why and what to do about it."""
    found: dict[LandingFile, str] = {}

    def look_at(group: list[LandingFile]) -> None:
        while group:
            try:
                lines = read_text(spark, group, whole=any(file.is_hidden for file in group))
                lines.where(F.length("raw") < 0).collect()  # reads all, and writes nothing to any disk
            except Exception as error:
                text = str(error)
                named = group[0] if len(group) == 1 else _named(text, group)
                if named is None:
                    look_at(group[: len(group) // 2])
                    group = group[len(group) // 2 :]
                    continue
                found[named] = _cause(text)
                group = [file for file in group if file != named]
            else:
                return

    look_at([file for file in files if not file.is_hidden])
    for file in files:
        if file.is_hidden:
            look_at([file])
    return found


def _named(text: str, group: Sequence[LandingFile]) -> LandingFile | None:
    """The file that Spark's error names."""
    if (named := _NAMED.search(text)) is None:
        return None
    paths = {_bare(file.path): file for file in group}
    return paths.get(_bare(named[1])) or paths.get(_bare(unquote(named[1])))


def _bare(path: str) -> str:
    return str(local_folder(path) or path)


def _cause(text: str) -> str:
    """Why, and what to do, from the innermost cause of an error of Java or else its first line."""
    causes = [f"{found['kind'].rpartition('.')[2]}: {found['reason'] or ''}" for found in _CAUSE.finditer(text)]
    cause = causes[-1] if causes else text.partition("\n")[0]
    for pattern, told in _CAUSES:
        if re.search(pattern, cause):
            return f"{told} ({cause})"
    return f"it cannot be read; look at it, and send it again ({cause})"
