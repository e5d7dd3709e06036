"""What can go wrong, in few types, each with the exit code that a scheduler sees.

The codes are part of the contract: 0 done, 1 failed, 2 bad arguments or configuration, 3 quality gate,
5 another run holds the warehouse. What lies behind an error of Spark is told by its text, whatever its class: classic
Spark, py4j and Connect raise different ones.
"""

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
    "|Cannot time travel Delta table to version"  # Delta 4.0, which names no class of the error
)


class LakehouseError(Exception):
    """A failure whose message says what, where and what to do; it is shown without a stack trace."""

    exit_code = 1


class ConfigError(LakehouseError):
    """Arguments or configuration are wrong; no input was read."""

    exit_code = 2


class SchemaError(LakehouseError):
    """A table or a CSV header does not have the declared columns; the message lists every difference."""


class InputError(LakehouseError):
    """A landing file is no longer there as it was listed: no table was changed."""


class AccountingError(LakehouseError):
    """The outcomes of a run do not add up to the records that came in."""


class PlanError(LakehouseError):
    """A plan cannot be applied: it is unknown, already applied, or the tables have moved since."""


class QualityGateError(LakehouseError):
    """A rule with severity `fail` was broken, or too many records were rejected: no table was changed."""

    exit_code = 3


class WarehouseBusyError(LakehouseError):
    """Another run holds the warehouse."""

    exit_code = 5


class ConflictError(LakehouseError):
    """Other writers came first again and again: Delta refused every try of one commit."""


class DiskFullError(LakehouseError):
    """A disk has no space left: what was not committed is not in the tables."""


class InvariantError(LakehouseError):
    """Tables contradict each other or themselves; the message names every invariant that does not hold."""


class RestoreError(LakehouseError):
    """A run cannot be undone; no table was changed."""


class UnfinishedError(LakehouseError):
    """A run was cut off and is to be finished before this can be done."""


class UnhealthyError(LakehouseError):
    """A job is not as healthy as the configuration asks for."""


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
