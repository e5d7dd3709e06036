"""Does the cost of a run stay flat while the tables grow, and linear in its input?

    .venv/bin/python bench/growth.py --scale 1

Three questions, each answered by the orders job in processes of their own:

- a tiny batch into a table of `--scale` beside the same into one of scale 0.01 (median of `--repeat`, alternating,
  each into a copy of the loaded tables);
- a load of `--scale` beside a load of a quarter of it;
- `--days` daily runs in a row into one warehouse, each with a day's new orders and corrections of the day before.

Of each run what it read (files by table and their bytes, from Spark's event log) and what each of its MERGEs rewrote
(files removed, deletion vectors added, files added, from Delta's log). Writes growth.md and daily.csv to the folder for
results.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import statistics
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import event_log
import generate
from contest import BENCH, ROOT, BenchmarkError, made_once, markdown, measured, submit, told
from measure import Measured

SMALL = 0.01
DAILY_SCALE = 0.05
CORRECTED = 10
"""Every so manieth order of a day is corrected the day after."""
REWRITTEN = ("numTargetFilesRemoved", "numTargetDeletionVectorsAdded", "numTargetFilesAdded")


@dataclass(frozen=True)
class Run:
    """What one run took, read, and rewrote by table."""

    measured: Measured
    read: event_log.Reads
    merges: dict[str, tuple[int, ...]]


class Job:
    """The orders job over warehouses in one folder."""

    def __init__(self, work: Path, driver_memory: str) -> None:
        """Nothing of an earlier benchmark is taken over, but for the data."""
        self.work = work
        self._submit = submit(driver_memory)
        self._runs = 0
        for name in ("growth", "events"):
            shutil.rmtree(work / name, ignore_errors=True)

    def data(self, scale: float) -> Path:
        """The generated orders of one scale."""
        return made_once(
            self.work / f"data-{scale:g}", lambda folder: [BENCH / "generate.py", folder, "--scale", str(scale)]
        )

    def run(self, name: str, orders: Path, warehouse: str) -> Run:
        """One run of the job in a process of its own."""
        self._runs += 1
        events, tables = self.work / "events" / str(self._runs), self.work / "growth" / warehouse
        values = (f"warehouse={tables}", f"output={tables}-output", f"input.orders={orders}")
        places = [part for value in (*values, "input.users=", "input.products=") for part in ("--set", value)]
        command = [*self._submit, *event_log.settings(events), ROOT / "jobs/orders.py", *places, "--json"]
        old = set(tables.glob("*/_delta_log/*.json"))
        found, _ = measured(name, command, self.work / "growth.log")
        told(name, found)
        return Run(found, event_log.reads(events), dict(_merges(tables, old)))

    def copied(self, warehouse: str) -> str:
        """A copy of a warehouse, in place of the copy before it."""
        copy = f"{warehouse}-copy"
        shutil.rmtree(self.work / "growth" / copy, ignore_errors=True)
        shutil.copytree(self.work / "growth" / warehouse, self.work / "growth" / copy)
        return copy


def _merges(tables: Path, old: set[Path]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """The MERGEs since then: by table the files removed, the deletion vectors added and the files added."""
    for commit in sorted(set(tables.glob("*/_delta_log/*.json")) - old):
        for line in commit.read_text(encoding="utf-8").splitlines():
            info = json.loads(line).get("commitInfo", {})
            if info.get("operation") == "MERGE":
                yield commit.parents[1].name, tuple(int(info["operationMetrics"][name]) for name in REWRITTEN)


def daily_orders(day: int, orders: int) -> Iterator[generate.Order]:
    """The new orders of one day after all days of the load, and corrections of the day before."""
    a_day = orders // generate.DAYS
    first = orders + day * a_day
    yield from (generate.order(number, orders) for number in range(first, first + a_day))
    yield from (
        generate.corrected(generate.order(number, orders), 1) for number in range(first - a_day, first, CORRECTED)
    )


def of_tables(job: Job, scale: float, repeat: int) -> Iterator[str]:
    """A tiny batch into a small and into a large table."""
    for one in (SMALL, scale):
        job.run(f"load {one:g}", job.data(one) / "load", f"of-{one:g}")
    runs: dict[float, list[Run]] = {SMALL: [], scale: []}
    for at in range(repeat):
        for one in (SMALL, scale) if at % 2 == 0 else (scale, SMALL):
            runs[one].append(job.run(f"tiny into {one:g}", job.data(one) / "tiny", job.copied(f"of-{one:g}")))
    small = _wall(runs[SMALL])
    for one, found in runs.items():
        yield f"tiny into scale {one:g} | {_row(found)} | {_wall(found) / small:.2f}"


def of_input(job: Job, scale: float) -> Iterator[str]:
    """A load, and a load of four times as much."""
    quarter, whole = (job.run(f"load {one:g}", job.data(one) / "load", f"in-{one:g}") for one in (scale / 4, scale))
    for name, found in ((f"load {scale / 4:g}", quarter), (f"load {scale:g}", whole)):
        yield f"{name} | {_row([found])} | {found.measured.wall_s / quarter.measured.wall_s:.2f}"


def of_days(job: Job, days: int) -> Iterator[str]:
    """Daily runs in a row; all of them also as CSV."""
    orders = int(generate.ORDERS_AT_SCALE_1 * DAILY_SCALE)
    landing = job.work / "growth" / "landing"
    generate.write(landing / "first", generate.load(orders))
    job.run("first load", landing / "*", "daily")
    runs = []
    for day in range(days):
        generate.write(landing / f"day-{day:02}", daily_orders(day, orders))
        runs.append(job.run(f"day {day + 1}", landing / "*", "daily"))
    with (job.work / "daily.csv").open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(("day", "wall_s", "cpu_s", "bytes_of_files", "files_read"))
        for day, run in enumerate(runs, 1):
            took = (round(run.measured.wall_s, 1), round(run.measured.cpu_s, 1))
            table.writerow((day, *took, run.read.bytes.total(), run.read.files.total()))
    third = runs[2].measured.wall_s
    for day in (3, days // 2, days):
        run = runs[day - 1]
        yield f"day {day} of {days} | {_row([run])} | {run.measured.wall_s / third:.2f}"


def _wall(runs: Sequence[Run]) -> float:
    return statistics.median(run.measured.wall_s for run in runs)


def _row(runs: Sequence[Run]) -> str:
    cpu = statistics.median(run.measured.cpu_s for run in runs)
    last = runs[-1]
    files = " ".join(f"{table} {count}" for table, count in sorted(last.read.files.items()) if count)
    merges = " ".join(f"{table} {'/'.join(map(str, counts))}" for table, counts in sorted(last.merges.items()))
    return f"{_wall(runs):.1f} | {cpu:.1f} | {last.read.bytes.total() / 1e6:.1f} | {files} | {merges}"


HEADER = "run | wall s | CPU s | MB of files | files read | MERGE: files removed/deletion vectors/files added | ratio"
QUESTIONS = ("tables", "input", "days")


def main() -> None:
    """Ask the questions and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--driver-memory", default="4g")
    parser.add_argument("--work", type=Path, default=ROOT / "build/bench")
    parser.add_argument("--questions", default=",".join(QUESTIONS), help="some of %(default)s")
    arguments = parser.parse_args()
    if arguments.days < 3:  # noqa: PLR2004 - the last is compared with the third
        parser.error("--days is at least 3")
    work = arguments.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    job = Job(work, arguments.driver_memory)
    rows: list[str] = []
    try:
        for question in arguments.questions.split(","):
            if question == "tables":
                rows += of_tables(job, arguments.scale, arguments.repeat)
            elif question == "input":
                rows += of_input(job, arguments.scale)
            elif question == "days":
                rows += of_days(job, arguments.days)
            else:
                parser.error(f"{question}: not one of {', '.join(QUESTIONS)}")
    except BenchmarkError as error:
        sys.exit(f"error: {error}")
    table = markdown(HEADER, iter(rows))
    print(table)
    (work / "growth.md").write_text(table + "\n")


if __name__ == "__main__":
    main()
