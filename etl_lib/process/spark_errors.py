"""What lies behind an error of Spark, whatever its class: classic Spark, py4j and Connect raise different ones."""

from __future__ import annotations

import errno
import re

_NO_SPACE = re.compile(
    "No space left on device|Disk quota exceeded|There is not enough space on the disk", re.IGNORECASE
)

# Of Delta's optimistic concurrency: another writer's commit made this one invalid.
_COLLIDED = re.compile(
    r"DELTA_(CONCURRENT_[A-Z_]+|METADATA_CHANGED|PROTOCOL_CHANGED)"
    r"|Concurrent(Append|DeleteRead|DeleteDelete|Transaction|Write)Exception"
)

# Of a version that is read again: Delta has no log of it any more, or a VACUUM has taken its files.
_MISSING_VERSION = re.compile(
    "DELTA_VERSION_NOT_FOUND|DELTA_(LOG_)?FILE_NOT_FOUND|DELTA_NO_RECREATABLE_HISTORY_FOUND|FILE_NOT_EXIST"
    "|FileNotFoundException|Not all files from version"
)


def is_disk_full(error: BaseException) -> bool:
    """Whether a disk without space lies behind an error."""
    while True:
        if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
            return True
        if _NO_SPACE.search(_text(error)):
            return True
        if error.__cause__ is None:
            return False
        error = error.__cause__


def is_collision(error: BaseException) -> bool:
    """Whether Delta refused a commit because of another writer's; nothing of it was written."""
    return bool(_COLLIDED.search(str(error)))


def is_missing_version(error: BaseException) -> bool:
    """Whether an old version of a table cannot be read because a part of it is no longer there."""
    return bool(_MISSING_VERSION.search(_text(error)))


def _text(error: BaseException) -> str:
    """The message with the trace of the virtual machine, which names the causes, where there is one."""
    trace = getattr(error, "getStackTrace", None)
    return f"{error}\n{trace() if trace is not None else ''}"
