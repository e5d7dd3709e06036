"""Time jobs/value_props.py beside Polars and DuckDB, and print what was measured as a Markdown table.

    .venv/bin/python -m pip install --require-hashes -r requirements/bench.txt
    .venv/bin/python bench/features.py --scale 1 --repeat 3

Contestants: `value_props` (the job, into an empty warehouse each time), `floor` (what no Spark job can do without, see
features_floor.py), and `polars` and `duckdb`, which do less (see features_polars.py and features_duckdb.py). Each run
is a fresh process, and the contestants take turns. Wall and CPU time are the medians of the repeats, the memory is the
highest of them; all three are those of the whole process tree (see measure.py). The data are clean
(generate_events.py), so all give the same answer; one that does not ends the benchmark with exit code 1. The files
count as cached: they have just been made or read.

Absolute times say little about another machine; compare them with `floor` and with each other.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import importlib.util
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from importlib import metadata
from pathlib import Path

from measure import Measured, measure

ROOT = Path(__file__).resolve().parents[1]
BENCH = Path(__file__).resolve().parent
# The floor writes the result of the job, so the job goes first.
CONTESTANTS = ("value_props", "floor", "polars", "duckdb")
SPARK = ("value_props", "floor")
PEERS = ("polars", "duckdb")
SEED = 7
HEADER = ("day", "user_id", "position", "value_prop", "clicked", "views_3w", "clicks_3w", "payments_3w", "amount_3w")
CENTS = Decimal("0.0001")


class BenchmarkError(Exception):
    """A contestant fails, or answers otherwise than the others."""


@dataclass(frozen=True)
class Answer:
    """What a final.csv says, whatever the order of its rows and the zeros behind an amount."""

    rows: int
    clicked: int
    digest: str

    def __str__(self) -> str:
        """For a message."""
        return f"{self.rows:,} rows, {self.clicked:,} of them clicked, SHA-256 {self.digest[:16]}"


def answer_of(path: Path) -> Answer:
    """Read a final.csv."""
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.reader(file)
        header = tuple(next(reader))
        if header != HEADER:
            raise BenchmarkError(f"{path}: the header is {','.join(header)}")
        rows = sorted([*row[:-1], str(Decimal(row[-1]).quantize(CENTS))] for row in reader)
    digest = hashlib.sha256("\n".join("\x1f".join(row) for row in rows).encode()).hexdigest()
    return Answer(len(rows), sum(row[HEADER.index("clicked")] == "1" for row in rows), digest)


class Benchmark:
    """The contestants at one scale."""

    def __init__(self, work: Path, scale: float, driver_memory: str) -> None:
        """Nothing is made or run yet."""
        self._data = work / f"data-{scale:g}"
        self._out = work / f"out-{scale:g}"
        self._log = work / "features.log"
        self._scale = scale
        self._submit = [str(ROOT / "spark-submit.sh"), "--driver-memory", driver_memory]

    def make_data(self) -> None:
        """The three files, if they are not there; files of a generator that was interrupted do not count."""
        if self._data.exists():
            return
        unfinished = self._data.with_name(f"{self._data.name}.unfinished")
        options = ["--scale", str(self._scale), "--seed", str(SEED), "--dirt", "0"]
        subprocess.run([sys.executable, BENCH / "generate_events.py", unfinished, *options], check=True)
        unfinished.rename(self._data)

    def has_result(self) -> bool:
        """Whether the job has left the result that the floor writes."""
        return self._result.exists()

    def run(self, contestant: str) -> tuple[Measured, Answer | None]:
        """One run in an empty folder; the floor has no answer."""
        out = self._out / contestant
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        try:
            measured, output = measure(self._command(contestant, out), self._log)
        except subprocess.CalledProcessError as error:
            raise BenchmarkError(f"{contestant} fails with exit code {error.returncode}; see {self._log}") from None
        if contestant == "floor":
            return measured, None
        if contestant != "value_props":
            return measured, answer_of(out / "final.csv")
        answer, told = answer_of(out / "output/value_props/final.csv"), json.loads(output)
        if (told["rows"], told["clicked_rows"]) != (answer.rows, answer.clicked):
            raise BenchmarkError(
                f"the summary of value_props tells of {told['rows']:,} rows, {told['clicked_rows']:,} of them clicked, "
                f"its file of {answer}"
            )
        return measured, answer

    @property
    def _result(self) -> Path:
        return self._out / "value_props/output/value_props/final.parquet"

    def _command(self, contestant: str, out: Path) -> Sequence[str | Path]:
        if contestant == "floor":
            return [*self._submit, BENCH / "features_floor.py", self._data, self._result, out]
        if contestant != "value_props":
            return [sys.executable, BENCH / f"features_{contestant}.py", self._data, out]
        settings = (
            f"input.prints={self._data}/prints.jsonl",
            f"input.taps={self._data}/taps.jsonl",
            f"input.pays={self._data}/pays.csv",
            f"warehouse={out}/warehouse",
            f"output={out}/output",
        )
        options = [part for setting in settings for part in ("--set", setting)]
        return [*self._submit, ROOT / "jobs/value_props.py", *options, "--json"]


def compete(benchmark: Benchmark, contestants: Sequence[str], repeat: int) -> dict[str, list[Measured]]:
    """The measurements of each contestant; BenchmarkError at the first answer that differs."""
    if "floor" in contestants and "value_props" not in contestants and not benchmark.has_result():
        print("value_props, once: the floor writes its result", file=sys.stderr)
        benchmark.run("value_props")
    found: dict[str, list[Measured]] = {contestant: [] for contestant in contestants}
    first: tuple[str, Answer] | None = None
    for at in range(repeat):
        for contestant in contestants:
            measured, answer = benchmark.run(contestant)
            found[contestant].append(measured)
            print(
                f"{at + 1}/{repeat} {contestant}: {measured.wall_s:.1f} s, CPU {measured.cpu_s:.1f} s, "
                f"{measured.peak_mb:,} MB{f'; {answer}' if answer else ''}",
                file=sys.stderr,
            )
            if answer is None:
                continue
            first = first or (contestant, answer)
            if answer != first[1]:
                raise BenchmarkError(f"{contestant} gives {answer}, but {first[0]} gives {first[1]}")
    return found


def table(found: dict[str, list[Measured]]) -> Iterator[str]:
    """The lines of the Markdown table."""
    yield "| contestant | wall s (median) | min | CPU s | peak MB | of the floor |\n|---|--:|--:|--:|--:|--:|"
    walls = {contestant: statistics.median(run.wall_s for run in runs) for contestant, runs in found.items()}
    for contestant, runs in found.items():
        shortest = min(run.wall_s for run in runs)
        cpu = statistics.median(run.cpu_s for run in runs)
        peak = max(run.peak_mb for run in runs)
        ratio = f"{walls[contestant] / walls['floor']:.2f}" if "floor" in walls else ""
        yield f"| {contestant} | {walls[contestant]:.1f} | {shortest:.1f} | {cpu:.1f} | {peak:,} | {ratio} |"


def versions() -> str:
    """Of what takes part, as far as it is installed beside this Python."""
    wanted = ("pyspark", "delta-spark", *PEERS)
    found = {one.name.replace("_", "-"): one.version for one in metadata.distributions()}
    told = [f"{name} {found[name]}" for name in wanted if name in found]
    return ", ".join([f"Python {platform.python_version()}", *told])


def parse_arguments() -> argparse.Namespace:
    """The command line; what is not installed is an error here and not after minutes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--driver-memory", default="2g", help="Spark's heap; the peers have all memory")
    parser.add_argument("--work", type=Path, default=ROOT / "build/bench-features", help="folder for data and tables")
    parser.add_argument("--contestants", default=",".join(CONTESTANTS), metavar="NAME,...", help="some of %(default)s")
    arguments = parser.parse_args()
    if arguments.repeat < 1:
        parser.error("--repeat is at least 1")
    chosen = arguments.contestants.split(",")
    if unknown := set(chosen) - set(CONTESTANTS):
        parser.error(f"no such contestant: {', '.join(sorted(unknown))}; there are {', '.join(CONTESTANTS)}")
    if missing := [name for name in PEERS if name in chosen and not importlib.util.find_spec(name)]:
        parser.error(
            f"{' and '.join(missing)} not installed beside {sys.executable}; "
            "`python -m pip install --require-hashes -r requirements/bench.txt` brings them"
        )
    arguments.contestants = [name for name in CONTESTANTS if name in chosen]
    return arguments


def main() -> None:
    """Generate the data if it is not there, let the contestants run, print the table."""
    arguments = parse_arguments()
    work = arguments.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    benchmark = Benchmark(work, arguments.scale, arguments.driver_memory)
    benchmark.make_data()
    try:
        found = compete(benchmark, arguments.contestants, arguments.repeat)
    except BenchmarkError as error:
        sys.exit(f"error: {error}")
    print(
        f"Scale {arguments.scale:g}, {os.cpu_count()} cores, Spark's heap {arguments.driver_memory}, "
        f"repeats {arguments.repeat}; {versions()}\n"
    )
    print("\n".join(table(found)))


if __name__ == "__main__":
    main()
