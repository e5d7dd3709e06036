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

SAMPLE_S = 0.2
ORPHANS_END_WITHIN_S = 10
PROC = Path("/proc")
PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True)
class Measured:
    """Seconds of wall and CPU, and peak resident memory in MB.

    The CPU time is that of all processes. The memory is the greatest sum over all processes that lived at the same
    time, looked at every 0.2 s; pages that two of them share count twice. Each counts with the less of what it has and
    what it had one look before: a process that has just been forked off has its parent's memory for a moment, and a
    JVM forks to start the smallest command. It is never less than the peak of the largest process, and where there is
    no /proc it is that.
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
    """The greatest sum of resident memory, in bytes, of this process's descendants while it is open."""

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
        before: dict[int, int] = {}
        while not self._ended.wait(SAMPLE_S):
            now = _memory_of_descendants(os.getpid())
            self.peak = max(self.peak, sum(min(memory, before.get(process, 0)) for process, memory in now.items()))
            before = now


def _memory_of_descendants(ancestor: int) -> dict[int, int]:
    """The resident memory, in bytes, of each process that descends from this one."""
    children: dict[int, list[int]] = {}
    pages: dict[int, int] = {}
    for stat in PROC.glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has just ended
            # A name, in parentheses, may hold anything. After it come the state, the parent and, 22nd, resident pages.
            fields = stat.read_text(errors="replace").rpartition(")")[2].split()
            process = int(stat.parent.name)
            children.setdefault(int(fields[1]), []).append(process)
            pages[process] = int(fields[21])
    found: dict[int, int] = {}
    left = list(children.get(ancestor, ()))
    while left:
        process = left.pop()
        found[process] = pages[process] * os.sysconf("SC_PAGE_SIZE")
        left += children.get(process, ())
    return found
