"""Is the work of the orders job spread over all cores, whatever the input looks like?

    .venv/bin/python bench/spread_of_work.py --scale 0.2
    .venv/bin/python bench/spread_of_work.py --scale 1 --inputs gzip
    .venv/bin/python bench/spread_of_work.py --cluster

Inputs: `even` (see generate.py), `one-day` (all orders on one day), `one-id` (a tenth of the records are versions of
one order), `small-files` (10,000 files), `gzip` (one file that Spark cannot split). Each is loaded in a process of its
own, and then comes again with `--full`. From Spark's event log come the stages of at least `--seconds` task time: their
tasks, and what part of the time the longest took. Writes spread.md to the folder for results.

`--cluster` runs on a standalone cluster of a master and two workers with a core each, all on this machine, and tells
for each stage on how many executors it ran.
"""

from __future__ import annotations

import argparse
import gzip
import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path

import event_log
import generate
from contest import ROOT, BenchmarkError, markdown, measured, submit, told

SMALL_FILES = 10_000
LOOPBACK = "127.0.0.1"


def one_day(orders: int) -> Iterator[generate.Order]:
    """All orders on one day."""
    for found in generate.load(orders):
        moved = {name: f"2024-03-01{found[name][10:]}" for name in ("created_at", "updated_at") if name in found}
        yield found | moved


def one_id(orders: int) -> Iterator[generate.Order]:
    """Every tenth record is one more version of the same order."""
    for number, found in enumerate(generate.load(orders)):
        if number % 10 == 0:
            yield found | {"order_id": "ORD-THE-ONE", "updated_at": found["created_at"]}
        yield found


def write_small_files(folder: Path, orders: int) -> None:
    """10,000 files of equal size."""
    folder.mkdir(parents=True)
    records = list(generate.load(orders))
    for at in range(SMALL_FILES):
        text = "".join(json.dumps(found) + "\n" for found in records[at::SMALL_FILES])
        (folder / f"{at:05}.jsonl").write_text(text, encoding="utf-8")


def write_gzip(folder: Path, orders: int) -> None:
    """One file; Spark cannot begin in its middle."""
    folder.mkdir(parents=True)
    with gzip.open(folder / "all.jsonl.gz", "wt", encoding="utf-8", compresslevel=1) as stream:
        for found in generate.load(orders):
            stream.write(json.dumps(found, separators=(",", ":")) + "\n")


INPUTS: dict[str, Callable[[Path, int], None]] = {
    "even": lambda folder, orders: generate.write(folder, generate.load(orders), generate.FILES),
    "one-day": lambda folder, orders: generate.write(folder, one_day(orders), generate.FILES),
    "one-id": lambda folder, orders: generate.write(folder, one_id(orders), generate.FILES),
    "small-files": write_small_files,
    "gzip": write_gzip,
}


@contextmanager
def standalone_cluster(log: Path) -> Iterator[str]:
    """A master and two workers with a core each, as processes on this machine; gives the master's URL."""
    spark_class = ROOT / ".venv/spark/bin/spark-class"
    with socket.socket() as free:
        free.bind((LOOPBACK, 0))
        port = str(free.getsockname()[1])
    master = f"spark://{LOOPBACK}:{port}"
    deploy = "org.apache.spark.deploy"
    commands = [[f"{deploy}.master.Master", "--host", LOOPBACK, "--port", port, "--webui-port", "0"]]
    commands += [[f"{deploy}.worker.Worker", "--cores", "1", "--memory", "3g", "--webui-port", "0", master]] * 2
    with ExitStack() as stack:
        errors = stack.enter_context(log.open("ab"))
        for command in commands:
            process = stack.enter_context(
                subprocess.Popen([spark_class, *command], stdout=errors, stderr=errors, cwd=log.parent)
            )
            stack.callback(process.kill)
            time.sleep(3)  # a worker asks again for a master that is not there yet
        yield master


def stages(name: str, events: Path, job_log: str, least_s: float) -> Iterator[str]:
    """The rows of one run."""
    steps = [entry for entry in map(_entry, job_log.splitlines()) if "seconds" in entry]
    ends = [(datetime.fromisoformat(entry["timestamp"]).timestamp() * 1000, entry["event"]) for entry in steps]
    for stage in event_log.stages(events):
        if sum(stage.seconds) >= least_s:
            step = next((step for end, step in ends if end >= stage.ended_ms), "end")
            spent = f"{sum(stage.seconds):.1f} | {max(stage.seconds):.1f} | {stage.longest_share:.0%}"
            yield f"{name} | {step} | {len(stage.seconds)} | {len(stage.executors)} | {spent}"


def _entry(line: str) -> dict[str, str]:
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def main() -> None:
    """Load each input, look at the stages, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=0.2)
    parser.add_argument("--inputs", default=",".join(INPUTS), help="some of %(default)s")
    parser.add_argument("--seconds", type=float, default=2.0, help="leave out stages of less task time")
    parser.add_argument("--driver-memory", default="4g")
    parser.add_argument("--cluster", action="store_true")
    parser.add_argument("--work", type=Path, default=ROOT / "build/bench")
    arguments = parser.parse_args()
    work: Path = arguments.work.resolve() / "spread"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    orders = int(generate.ORDERS_AT_SCALE_1 * arguments.scale)
    rows: list[str] = []
    with ExitStack() as stack:
        master = []
        if arguments.cluster:
            url = stack.enter_context(standalone_cluster(work / "cluster.log"))
            master = ["--master", url, "--executor-memory", "2g"]
        for name in arguments.inputs.split(","):
            if name not in INPUTS:
                parser.error(f"{name}: not one of {', '.join(INPUTS)}")
            INPUTS[name](work / name, orders)
            rows += _loaded(work, name, [*submit(arguments.driver_memory), *master], arguments.seconds)
            shutil.rmtree(work / name)
    table = markdown("input, run | step | tasks | executors | task s | longest s | its share", iter(rows))
    print(table)
    (work.parent / "spread.md").write_text(table + "\n")


def _loaded(work: Path, name: str, command: list[str | Path], least_s: float) -> Iterator[str]:
    places = (f"warehouse={work / 'tables' / name}", f"output={work / 'output' / name}", f"input.orders={work / name}")
    options = [part for value in (*places, "input.users=", "input.products=") for part in ("--set", value)]
    for run, more in (("load", []), ("replay", ["--full"])):
        events, log = work / "events" / f"{name}-{run}", work / f"{name}-{run}.log"
        try:
            found, _ = measured(
                f"{name}, {run}",
                [*command, *event_log.settings(events), ROOT / "jobs/orders.py", *options, "--json", *more],
                log,
            )
        except BenchmarkError as error:
            sys.exit(f"error: {error}")
        told(f"{name}, {run}", found)
        yield from stages(f"{name}, {run}", events, log.read_text(encoding="utf-8"), least_s)


if __name__ == "__main__":
    main()
