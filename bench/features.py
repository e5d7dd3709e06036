"""Time jobs/value_props.py beside Polars and DuckDB, and print what was measured as a Markdown table.

    .venv/bin/python -m pip install --require-hashes --no-deps -r requirements/bench.txt
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
import json
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from contest import (
    BENCH,
    ROOT,
    SUMMARY,
    BenchmarkError,
    chosen,
    made_once,
    markdown,
    measured,
    require_installed,
    submit,
    summary,
    told,
    versions,
    wall,
)
from measure import Measured

# The floor writes the result of the job, so the job goes first.
CONTESTANTS = ("value_props", "floor", "polars", "duckdb")
PEERS = ("polars", "duckdb")
SEED = 7
HEADER = ("day", "user_id", "position", "value_prop", "clicked", "views_3w", "clicks_3w", "payments_3w", "amount_3w")
CENTS = Decimal("0.0001")


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
        """The data are made if they are not there."""
        self._out = work / f"out-{scale:g}"
        self._log = work / "features.log"
        self._submit = submit(driver_memory)
        options = ["--scale", str(scale), "--seed", str(SEED), "--dirt", "0"]
        self._data = made_once(
            work / f"data-{scale:g}", lambda folder: [BENCH / "generate_events.py", folder, *options]
        )

    def has_result(self) -> bool:
        """Whether the job has left the result that the floor writes."""
        return self._result.exists()

    def run(self, contestant: str) -> tuple[Measured, Answer | None]:
        """One run in an empty folder; the floor has no answer."""
        out = self._out / contestant
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        run, output = measured(contestant, self._command(contestant, out), self._log)
        if contestant == "floor":
            return run, None
        if contestant != "value_props":
            return run, answer_of(out / "final.csv")
        answer, said = answer_of(out / "output/value_props/final.csv"), json.loads(output)
        if (said["rows"], said["clicked_rows"]) != (answer.rows, answer.clicked):
            raise BenchmarkError(
                f"the summary of value_props tells of {said['rows']:,} rows, {said['clicked_rows']:,} of them clicked, "
                f"its file of {answer}"
            )
        return run, answer

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
            run, answer = benchmark.run(contestant)
            found[contestant].append(run)
            told(f"{at + 1}/{repeat} {contestant}{f'; {answer}' if answer else ''}", run)
            if answer is None:
                continue
            first = first or (contestant, answer)
            if answer != first[1]:
                raise BenchmarkError(f"{contestant} gives {answer}, but {first[0]} gives {first[1]}")
    return found


def rows(found: dict[str, list[Measured]]) -> Iterator[str]:
    """The rows of the Markdown table."""
    for contestant, runs in found.items():
        ratio = f"{wall(runs) / wall(found['floor']):.2f}" if "floor" in found else ""
        yield f"{contestant} | {summary(runs)} | {ratio}"


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
    arguments.contestants = chosen(parser, arguments.contestants, CONTESTANTS)
    require_installed(parser, [name for name in PEERS if name in arguments.contestants])
    return arguments


def main() -> None:
    """Generate the data if it is not there, let the contestants run, print the table."""
    arguments = parse_arguments()
    work = arguments.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    benchmark = Benchmark(work, arguments.scale, arguments.driver_memory)
    try:
        found = compete(benchmark, arguments.contestants, arguments.repeat)
    except BenchmarkError as error:
        sys.exit(f"error: {error}")
    print(
        f"Scale {arguments.scale:g}, {os.cpu_count()} cores, Spark's heap {arguments.driver_memory}, "
        f"repeats {arguments.repeat}; {versions(PEERS)}\n"
    )
    print(markdown(f"contestant | {SUMMARY} | of the floor", rows(found)))


if __name__ == "__main__":
    main()
