"""What the contests of this folder have in common: the peers' versions, what was measured as a table, a failure."""

from __future__ import annotations

import argparse
import importlib.util
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from pathlib import Path

from measure import Measured, measure

ROOT = Path(__file__).resolve().parents[1]
BENCH = Path(__file__).resolve().parent


class BenchmarkError(Exception):
    """A contestant fails, or answers otherwise than the others."""


def submit(driver_memory: str) -> list[str | Path]:
    """The command that a Spark job of this project or of a peer begins with."""
    return [ROOT / "spark-submit.sh", "--driver-memory", driver_memory]


def measured(contestant: str, command: Sequence[str | Path], log: Path) -> tuple[Measured, str]:
    """Measure a command and give what it printed; BenchmarkError when it fails."""
    try:
        return measure(command, log)
    except subprocess.CalledProcessError as error:
        raise BenchmarkError(f"{contestant} fails with exit code {error.returncode}; see {log}") from None


def made_once(folder: Path, make: Callable[[Path], Sequence[str | Path]]) -> Path:
    """A folder of data, made by a command if it is not there; one of a command that was interrupted does not count."""
    if not folder.exists():
        unfinished = folder.with_name(f"{folder.name}.unfinished")
        subprocess.run([sys.executable, *make(unfinished)], check=True)
        unfinished.rename(folder)
    return folder


def told(label: str, run: Measured) -> None:
    """Tell what was measured as soon as it is."""
    print(f"{label}: {run.wall_s:.1f} s, CPU {run.cpu_s:.1f} s, {run.peak_mb:,} MB", file=sys.stderr)


def wall(runs: Sequence[Measured]) -> float:
    """The median of the wall times."""
    return statistics.median(run.wall_s for run in runs)


def summary(runs: Sequence[Measured]) -> str:
    """The cells of a table: median and least wall time, median CPU time, the highest peak of memory."""
    least = min(run.wall_s for run in runs)
    cpu = statistics.median(run.cpu_s for run in runs)
    return f"{wall(runs):.1f} | {least:.1f} | {cpu:.1f} | {max(run.peak_mb for run in runs):,}"


SUMMARY = "wall s (median) | min | CPU s | peak MB"


def versions(names: Sequence[str]) -> str:
    """Of what takes part, as far as it is installed beside this Python."""
    found = {one.name.replace("_", "-"): one.version for one in metadata.distributions()}
    wanted = dict.fromkeys(("pyspark", "delta-spark", *names))
    there = [f"{name} {found[name]}" for name in wanted if name in found]
    return ", ".join([f"Python {platform.python_version()}", *there])


def require_installed(parser: argparse.ArgumentParser, names: Sequence[str]) -> None:
    """What is not installed is an error of the command line and not one after minutes."""
    if missing := [name for name in names if not importlib.util.find_spec(name)]:
        parser.error(
            f"{' and '.join(missing)} not installed beside {sys.executable}; "
            "`python -m pip install --require-hashes --no-deps -r requirements/bench.txt` brings them"
        )


def chosen(parser: argparse.ArgumentParser, given: str, known: Sequence[str]) -> list[str]:
    """Some of the known names, in the order in which they are known."""
    asked = given.split(",")
    if unknown := set(asked) - set(known):
        parser.error(f"{', '.join(sorted(unknown))}: not one of {', '.join(known)}")
    return [name for name in known if name in asked]


def markdown(header: str, rows: Iterator[str]) -> str:
    """A table whose first column is text and whose others are numbers."""
    columns = header.count("|") + 1
    return "\n".join([f"| {header} |", "|---|" + "--:|" * (columns - 1), *(f"| {row} |" for row in rows)])
