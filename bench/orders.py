"""Time jobs/orders.py beside its peers on the same files, and write what was measured as a Markdown table and a plot.

    .venv/bin/python -m pip install --require-hashes --no-deps -r requirements/bench.txt
    .venv/bin/python bench/orders.py --scale 1 --repeat 3

Contestants: `orders` (the job), `plain` (Spark and Delta by hand, see orders_plain.py), `duckdb` and `polars` (with
delta-rs). Steps, one after the other into the same tables: `load`, `replay` (all its files again, for the job with
`--full`), `again` (the same command on the same files; only the job can tell that there is nothing to do), `recent`,
`spread` and `tiny` (see generate.py). Each step is a fresh process; the contestants take turns, and each repeat begins
with empty tables. After every step the tables of all contestants are compared, rows and a hash of their contents; an
answer that differs ends the benchmark with exit code 1. Wall and CPU time are medians, the memory is the highest peak;
all three are those of the whole process tree (see measure.py). `session`, a process that only opens Spark, is the
floor.

Absolute times say little about another machine; compare the contestants with each other.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
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

CONTESTANTS = ("orders", "plain", "duckdb", "polars")
PACKAGES = {"duckdb": ("duckdb", "deltalake"), "polars": ("polars", "deltalake")}
STEPS = {"load": "load", "replay": "load", "again": "load", "recent": "recent", "spread": "spread", "tiny": "tiny"}
"""The folder of the data that each step reads."""
FLOOR = "from pyspark.sql import SparkSession\nSparkSession.builder.getOrCreate().range(1).collect()\n"

Found = dict[tuple[str, str], list[Measured]]
"""What was measured of each step and contestant."""


class Benchmark:
    """The contestants at one scale."""

    def __init__(self, work: Path, scale: float, driver_memory: str) -> None:
        """The data are made if they are not there."""
        self._work = work
        self._tables = work / f"tables-{scale:g}"
        self._log = work / "orders.log"
        self._submit = submit(driver_memory)
        self._data = made_once(
            work / f"data-{scale:g}", lambda folder: [BENCH / "generate.py", folder, "--scale", str(scale)]
        )

    def begin(self) -> None:
        """Without any tables."""
        shutil.rmtree(self._tables, ignore_errors=True)

    def floor(self) -> Measured:
        """A session and nothing else."""
        script = self._work / "floor.py"
        script.write_text(FLOOR)
        return measured("session", [*self._submit, script], self._log)[0]

    def run(self, contestant: str, step: str) -> Measured:
        """One step of one contestant."""
        data, tables = self._data / STEPS[step], self._tables / contestant
        tables.mkdir(parents=True, exist_ok=True)
        return measured(f"{contestant}, {step}", self._command(contestant, step, data, tables), self._log)[0]

    def compare(self, contestants: Sequence[str]) -> str:
        """What the tables hold; BenchmarkError unless those of all contestants hold the same."""
        folders = [self._tables / contestant for contestant in contestants]
        _, output = measured("the comparison", [*self._submit, BENCH / "orders_answer.py", *folders], self._log)
        answers = json.loads(output.splitlines()[-1])
        first, *others = (answers[str(folder)] for folder in folders)
        for contestant, answer in zip(contestants[1:], others, strict=True):
            if answer != first:
                raise BenchmarkError(f"{contestant} gives {answer}, but {contestants[0]} gives {first}")
        return ", ".join(f"{table} {rows:,} rows, hash {total}" for table, (rows, total) in first.items())

    def _command(self, contestant: str, step: str, data: Path, tables: Path) -> list[str | Path]:
        if contestant == "plain":
            return [*self._submit, BENCH / "orders_plain.py", data, tables]
        if contestant != "orders":
            return [sys.executable, BENCH / f"orders_{contestant}.py", data, tables]
        settings = (f"input.orders={data}", "input.users=", "input.products=")
        options = [part for setting in settings for part in ("--set", setting)]
        options += ["--set", f"warehouse={tables}", "--set", f"output={tables}-output", "--json"]
        options += ["--full"] if step == "replay" else []
        return [*self._submit, ROOT / "jobs/orders.py", *options]


def compete(benchmark: Benchmark, contestants: Sequence[str], steps: Sequence[str], repeat: int) -> Found:
    """All measurements; BenchmarkError at the first answer that differs."""
    found: Found = {}
    for at in range(1, repeat + 1):
        benchmark.begin()
        found.setdefault(("session", "spark"), []).append(benchmark.floor())
        for step in steps:
            turn = contestants if at % 2 else contestants[::-1]
            for contestant in turn:
                run = benchmark.run(contestant, step)
                found.setdefault((step, contestant), []).append(run)
                told(f"{at}/{repeat} {step}, {contestant}", run)
            print(f"{at}/{repeat} {step}: {benchmark.compare(contestants)}", file=sys.stderr)
    return found


def ratio(found: Found, step: str, contestant: str) -> str:
    """The median wall time as a multiple of the hand-written job's in the same step."""
    plain = found.get((step, "plain"))
    return f"{wall(found[step, contestant]) / wall(plain):.2f}" if plain else ""


def rows(found: Found) -> Iterator[str]:
    """The rows of the Markdown table."""
    for (step, contestant), runs in found.items():
        yield f"{step}, {contestant} | {summary(runs)} | {ratio(found, step, contestant)}"


def plot(found: Found, title: str, path: Path) -> None:
    """Wall seconds as bars, one group a step, on a logarithmic axis: the peers differ by orders of magnitude."""
    import matplotlib as mpl  # noqa: PLC0415 - takes a second, and only the end needs it

    mpl.use("svg")
    mpl.rcParams.update({"svg.hashsalt": "orders", "font.size": 9})
    from matplotlib import pyplot as plt  # noqa: PLC0415

    walls: Mapping[tuple[str, str], float] = {key: wall(runs) for key, runs in found.items()}
    steps = list(dict.fromkeys(step for step, _ in walls if step != "session"))
    contestants = list(dict.fromkeys(contestant for step, contestant in walls if step != "session"))
    figure, axes = plt.subplots(figsize=(8, 3.6), layout="constrained")
    width = 0.8 / len(contestants)
    for at, contestant in enumerate(contestants):
        places = [n + (at - (len(contestants) - 1) / 2) * width for n in range(len(steps))]
        bars = axes.bar(places, [walls[step, contestant] for step in steps], width, label=contestant)
        axes.bar_label(bars, fmt="%.3g", fontsize=7)
    axes.axhline(walls["session", "spark"], color="grey", linewidth=0.8, linestyle="--", label="bare session")
    axes.set(yscale="log", ylabel="seconds (log)", title=title)
    axes.set_xticks(range(len(steps)), steps)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(ncols=len(contestants) + 1, fontsize=8, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.08))
    figure.savefig(path, metadata={"Date": None})


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=0.1)
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--driver-memory", default="4g", help="Spark's heap; the peers without Spark have all memory")
    parser.add_argument("--work", type=Path, default=ROOT / "build/bench", help="folder for data, tables and results")
    parser.add_argument("--contestants", default=",".join(CONTESTANTS), metavar="NAME,...", help="some of %(default)s")
    parser.add_argument("--steps", default=",".join(STEPS), metavar="NAME,...", help="some of %(default)s")
    arguments = parser.parse_args()
    if arguments.repeat < 1:
        parser.error("--repeat is at least 1")
    arguments.contestants = chosen(parser, arguments.contestants, CONTESTANTS)
    arguments.steps = chosen(parser, arguments.steps, tuple(STEPS))
    needed = [package for name in arguments.contestants for package in PACKAGES.get(name, ())]
    require_installed(parser, [*dict.fromkeys(needed), "matplotlib"])
    return arguments


def main() -> None:
    """Let the contestants run, print the table, and leave it with the plot in the folder for results."""
    arguments = parse_arguments()
    work = arguments.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    benchmark = Benchmark(work, arguments.scale, arguments.driver_memory)
    try:
        found = compete(benchmark, arguments.contestants, arguments.steps, arguments.repeat)
    except BenchmarkError as error:
        sys.exit(f"error: {error}")
    took_part = versions([package for name in ("duckdb", "polars") for package in PACKAGES[name]])
    title = f"Scale {arguments.scale:g}, {os.cpu_count()} cores, heap {arguments.driver_memory}"
    told_all = f"{title}, repeats {arguments.repeat}; {took_part}\n\n"
    told_all += markdown(f"step, contestant | {SUMMARY} | of plain", rows(found))
    print(told_all)
    (work / f"orders-{arguments.scale:g}.md").write_text(told_all + "\n")
    plot(found, title, work / f"orders-{arguments.scale:g}.svg")


if __name__ == "__main__":
    main()
