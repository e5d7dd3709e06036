"""Wall time, CPU time and peak memory of a command with all the processes that it starts, as the kernel tells them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SAMPLE_S = 0.5
ORPHANS_END_WITHIN_S = 10
PROC = Path("/proc")
PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True)
class Measured:
    """Seconds of wall and CPU, and peak resident memory in MB.

    The CPU time is that of all processes. The memory is the greatest sum over all processes that lived at the same
    time, looked at twice a second; a page that several of them share counts in parts, so once (Linux: `Pss`). It is
    never less than the peak of the largest process, and where there is no /proc it is that.
    """

    wall_s: float
    cpu_s: float
    peak_mb: int


def measure(command: Sequence[str | Path], log: Path) -> tuple[Measured, str]:
    """Run one command to its end; gives what it printed too, and raises CalledProcessError when it fails."""
    _adopt_orphans()
    with log.open("ab") as errors, _MemorySampler() as sampler:
        started = time.monotonic()
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors)
        assert process.stdout is not None  # noqa: S101
        with process.stdout:
            output = process.stdout.read().decode()
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.monotonic() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        usages = [usage, *_usages_of_orphans()]
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, output)
    cpu = sum(one.ru_utime + one.ru_stime for one in usages)
    largest = max(one.ru_maxrss for one in usages) * (1 if sys.platform == "darwin" else 1024)
    return Measured(wall, cpu, max(sampler.peak, largest) >> 20), output


def _adopt_orphans() -> None:
    # What outlives its parent becomes our child, so that its time and memory count; Spark's Python workers do.
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _usages_of_orphans() -> list[os.struct_rusage]:  # type: ignore[name-defined] # Linux and macOS
    """What the processes used that the command left behind; one that does not end soon is not waited for."""
    usages = []
    patience = time.monotonic() + ORPHANS_END_WITHIN_S
    with contextlib.suppress(ChildProcessError):  # none is left
        while time.monotonic() < patience:
            found, _, usage = os.wait4(-1, os.WNOHANG)
            if found:
                usages.append(usage)
            else:
                time.sleep(0.01)
    return usages


class _MemorySampler:
    """The greatest sum of the memory, in bytes, of this process's descendants while it is open."""

    def __init__(self) -> None:
        self.peak = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> _MemorySampler:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._ended.wait(SAMPLE_S):
            self.peak = max(self.peak, sum(map(_memory, _descendants(os.getpid()))))


def _descendants(ancestor: int) -> list[int]:
    """The processes that descend from this one."""
    children: dict[int, list[int]] = {}
    for stat in PROC.glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has just ended
            # A name, in parentheses, may hold anything. After it come the state and the parent.
            parent = int(stat.read_text(errors="replace").rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(stat.parent.name))
    found = list(children.get(ancestor, ()))
    for process in found:  # grows as it is walked
        found += children.get(process, ())
    return found


def _memory(process: int) -> int:
    """The bytes of memory that a process has, of a shared page its part."""
    with contextlib.suppress(OSError):  # it has just ended
        for line in (PROC / str(process) / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) << 10
    return 0
