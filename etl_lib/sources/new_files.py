"""Which landing files a run takes: new ones, and of those the ones that can be read.

By default a file is new when the ledger does not have its path, size and modification time. Spark gives up at the first
file that cannot be read, with the trace of a task. Then all files are read for nothing but that, and each that cannot
be is named with one sentence. What could be read of one before it broke off is not taken either.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial, reduce
from itertools import chain
from typing import TypeVar
from urllib.parse import unquote

import structlog
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from etl_lib.process.concurrently import concurrently
from etl_lib.process.errors import InputError, LakehouseError, is_disk_full
from etl_lib.process.lock import local_folder
from etl_lib.run.run import Run
from etl_lib.settings.arguments import Scope
from etl_lib.sources.landing import LandingFile, collected_by, landing_files, read_text, unread, vanished_file
from etl_lib.tables.history import known_versions, loaded_files, set_aside_files
from etl_lib.tables.ledger import SetAside
from etl_lib.tables.warehouse import Warehouse

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
    ("", "it cannot be read; look at it, and send it again"),
)
"""What to do about a cause, by the first pattern in it."""


def files_to_read(
    run: Run, scope: Scope, datasets: Sequence[str], *, waiting: bool = True
) -> dict[str, list[LandingFile]]:
    """The files of each dataset that this run reads; a dataset without any is left out.

    A full scope takes all. `--since` takes all but the order files whose recorded maximum of version_at is older. Those
    that were set aside are left `waiting` until they change. A location at which there is no file at all goes into the
    metrics.
    """
    locations = {name: location for name in datasets if (location := run.settings.landing_files(name)) is not None}

    def listed(dataset: str, location: str) -> DataFrame:
        return landing_files(run.spark, location, f"input.{dataset}").withColumn("dataset", F.lit(dataset))

    if not locations:
        return {}
    listings = concurrently(**{name: partial(listed, name, location) for name, location in locations.items()})
    listing = reduce(DataFrame.unionByName, listings.values())
    files = collected_by(_wanted(scope, listing, loaded_files(run.warehouse)), F.col("dataset"))
    # Where nothing is wanted, one file is looked for: there may be very many.
    without = [name for name in locations if name not in files and name not in run.settings.sources.pulled]
    firsts = [listings[name].select("dataset").limit(1) for name in without]
    some = {row["dataset"] for row in reduce(DataFrame.union, firsts).collect()} if firsts else set()
    run.metrics.unmatched = {name: locations[name] for name in without if name not in some}
    left = without_set_aside(run, files) if waiting else files
    return {dataset: left[dataset] for dataset in datasets if left.get(dataset)}


def _wanted(scope: Scope, files: DataFrame, loaded: DataFrame) -> DataFrame:
    if scope.full:
        return files
    if scope.marks_files:
        return unread(files, loaded)
    if scope.window.since is not None:
        is_older = F.col("max_version_at") < F.lit(scope.window.since).cast("timestamp")
        return unread(files, loaded.where((F.col("dataset") == "orders") & is_older))
    return files


def not_loaded(warehouse: Warehouse, files: Mapping[str, Sequence[LandingFile]]) -> dict[str, list[LandingFile]]:
    """Of the files of each dataset those that no complete run has loaded as they are."""
    known = known_versions(warehouse, list(files))
    return {
        dataset: [file for file in some if (dataset, file.path, file.size, file.modified_at) not in known]
        for dataset, some in files.items()
    }


def stage_readable(run: Run, files: Files, stage: Callable[[Files], Batch]) -> Batch:
    """What `stage` makes of the files that can be read.

    The others end the run with InputError, or are set aside and entered in the run's manifest, as `input.damaged` says.
    """
    try:
        return stage(files)
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
            lines = "\n  ".join(f"{file.path}: {reason}" for file, reason in damaged.items())
            raise InputError(
                f"no table was changed, as these files cannot be read:\n  {lines}\nOr set input.damaged to set_aside, "
                "and all others are loaded without them"
            ) from error
        for file, reason in damaged.items():
            log.warning("set aside", path=file.path, reason=reason)
    entries = {
        (dataset, file): SetAside(dataset, **asdict(file), reason=damaged[file])
        for dataset, some in files.items()
        for file in some
        if file in damaged
    }
    return stage_readable(run, _without(run, files, entries), stage)


def without_set_aside(run: Run, files: Files) -> dict[str, list[LandingFile]]:
    """The files but those that an earlier run has set aside as they are, which the manifest names anew.

    With `input.damaged: stop` they are tried again.
    """
    known = set_aside_files(run.warehouse) if run.settings.input.damaged == "set_aside" else []
    return _without(run, files, {(one.dataset, LandingFile(one.path, one.size, one.modified_at)): one for one in known})


def _without(
    run: Run, files: Files, entries: Mapping[tuple[str, LandingFile], SetAside]
) -> dict[str, list[LandingFile]]:
    """The files without those that have an entry, which goes into the run's manifest."""
    waiting = [entries[dataset, file] for dataset, some in files.items() for file in some if (dataset, file) in entries]
    run.manifest = replace(run.manifest, set_aside=(*run.manifest.set_aside, *waiting))
    return {dataset: [file for file in some if (dataset, file) not in entries] for dataset, some in files.items()}


def damaged_files(spark: SparkSession, files: Sequence[LandingFile]) -> dict[LandingFile, str]:
    """The files that cannot be read to their end, each with why and what to do about it."""
    damaged: dict[LandingFile, str] = {}
    groups = [[file for file in files if not file.is_hidden], *([file] for file in files if file.is_hidden)]
    while groups:
        if not (group := groups.pop()):
            continue
        try:
            lines = read_text(spark, group, whole=group[0].is_hidden)
            lines.where(F.length("raw") < 0).collect()  # reads all, and writes nothing to any disk
        except Exception as error:
            text = str(error)
            file = group[0] if len(group) == 1 else _named(text, group)
            if file is None:
                half = len(group) // 2
                groups += [group[:half], group[half:]]
            else:
                damaged[file] = _cause(text)
                groups.append([other for other in group if other != file])
    return {file: damaged[file] for file in files if file in damaged}


def _named(text: str, group: Sequence[LandingFile]) -> LandingFile | None:
    """The file of a group that Spark's error names."""
    if (match := _NAMED.search(text)) is None:
        return None
    paths = {_bare(file.path): file for file in group}
    return paths.get(_bare(match[1])) or paths.get(_bare(unquote(match[1])))


def _bare(path: str) -> str:
    return str(local_folder(path) or path)


def _cause(text: str) -> str:
    """Why, and what to do, from the innermost cause of an error of Java or else its first line."""
    causes = [f"{match['kind'].rpartition('.')[2]}: {match['reason'] or ''}" for match in _CAUSE.finditer(text)]
    cause = causes[-1] if causes else text.partition("\n")[0]
    advice = next(advice for pattern, advice in _CAUSES if re.search(pattern, cause))
    return f"{advice} ({cause})"
