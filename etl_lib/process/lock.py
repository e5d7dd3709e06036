"""One run at a time on a local warehouse: Delta on a local disk cannot tell two writers apart and may lose a commit.

On an object store or a catalog Delta's own commits decide, and no lock is taken. The lock is the operating system's,
so one left by a dead process holds nobody up.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from etl_lib.process.errors import WarehouseBusyError

LOCK = ".lock"
HOLDER = ".lock.holder.json"


@contextmanager
def warehouse_lock(location: str, run_id: str, started_at: str, timeout_s: float) -> Iterator[None]:
    """Hold the warehouse while the block runs; WarehouseBusyError names who else holds it."""

    def busy(folder: Path) -> WarehouseBusyError:
        return WarehouseBusyError(f"{location}: another run holds the warehouse: {_identity_of(folder / HOLDER)}")

    with folder_lock(location, LOCK, busy, timeout_s) as folder:
        if folder is None:
            yield
            return
        holder = folder / HOLDER
        try:
            identity = {"run_id": run_id, "pid": os.getpid(), "host": socket.gethostname(), "since": started_at}
            written = folder / f"{HOLDER}.{os.getpid()}"
            written.write_text(json.dumps(identity), encoding="utf-8")
            written.replace(holder)  # whoever waits reads all of it or nothing
            yield
        finally:
            holder.unlink(missing_ok=True)


@contextmanager
def folder_lock(
    location: str, name: str, busy: Callable[[Path], Exception], timeout_s: float = 0
) -> Iterator[Path | None]:
    """Hold a local folder, which is made if there is none, while the block runs; raises `busy` when another holds it.

    Gives the folder, or None for an object store or a catalog, where there is no such lock.
    """
    folder = local_folder(location)
    if folder is None:
        yield None
        return
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / name, timeout=timeout_s)
    try:
        lock.acquire()
    except Timeout:
        raise busy(folder) from None
    try:
        yield folder
    finally:
        lock.release()


def local_folder(location: str) -> Path | None:
    """The folder on this machine's disk, or None for an object store or a catalog."""
    if location.startswith("/"):
        return Path(location)
    return Path("/" + location.removeprefix("file:").lstrip("/")) if location.startswith("file:") else None


@dataclass(frozen=True)
class Holder:
    """The run that holds a warehouse, or was killed while it did."""

    run_id: str
    pid: int
    host: str
    since: str
    is_dead: bool
    """Whether its process is known to be gone: that of another machine never is."""


def holder_of(location: str) -> Holder | None:
    """Who holds a local warehouse, by what the holder has left there; the lock itself is not touched."""
    folder = local_folder(location)
    try:
        run = json.loads((folder / HOLDER).read_text(encoding="utf-8")) if folder else None
        return Holder(**run, is_dead=run["host"] == socket.gethostname() and not _is_alive(run["pid"])) if run else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True


def _identity_of(holder: Path) -> str:
    try:
        run = json.loads(holder.read_text(encoding="utf-8"))
        return f"run {run['run_id']}, process {run['pid']} on {run['host']}, since {run['since']}"
    except (OSError, ValueError, KeyError):
        return f"the holder did not leave its name in {holder}"
