"""Time the orders job, a fresh process for each step, and print what was measured as a Markdown table.

    .venv/bin/python bench/run.py --scale 1 --driver-memory 4g

Steps: `session` (a job that only opens a session: the floor), `load`, `replay` (all files again), `recent`, `spread`
and `tiny` (see generate.py). Wall and CPU time and the peak memory of the process tree are the operating system's own.
Absolute times say little about another machine; compare them with `session` and with each other.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
STEPS = (("load", "load"), ("replay", "load"), ("recent", "recent"), ("spread", "spread"), ("tiny", "tiny"))
FLOOR = "from pyspark.sql import SparkSession\nSparkSession.builder.getOrCreate().range(1).collect()\n"


@dataclass(frozen=True)
class Measured:
    """One step: seconds of wall and CPU, peak resident memory of the largest process in MB, outcomes of the orders."""

    step: str
    wall_s: float
    cpu_s: float
    peak_mb: int
    told: str


def measure(step: str, command: list[str], log: Path) -> tuple[Measured, str]:
    """Run one command to its end; raises CalledProcessError when it fails."""
    started = time.monotonic()
    with log.open("ab") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors)
        assert process.stdout is not None  # noqa: S101
        output = process.stdout.read().decode()
        _, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - started
    if status:
        raise subprocess.CalledProcessError(os.waitstatus_to_exitcode(status), command, output)
    cpu = usage.ru_utime + usage.ru_stime
    return Measured(step, wall, cpu, usage.ru_maxrss // 1024, ""), output


def main() -> None:
    """Generate the data if it is not there, run the steps, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=0.1)
    parser.add_argument("--driver-memory", default="4g")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "bench", help="folder for data and tables")
    arguments = parser.parse_args()
    data = arguments.work / f"data-{arguments.scale:g}"
    tables = arguments.work / f"tables-{arguments.scale:g}"
    log = arguments.work / "run.log"
    if not data.exists():
        subprocess.run([sys.executable, ROOT / "bench/generate.py", data, "--scale", str(arguments.scale)], check=True)
    shutil.rmtree(tables, ignore_errors=True)
    floor = arguments.work / "floor.py"
    floor.write_text(FLOOR)
    submit = [str(ROOT / "spark-submit.sh"), "--driver-memory", arguments.driver_memory]
    rows = [measure("session", [*submit, str(floor)], log)[0]]
    for step, folder in STEPS:
        settings = (f"input.orders={data / folder}", "input.users=", "input.products=")
        options = [part for setting in settings for part in ("--set", setting)]
        options += ["--set", f"warehouse={tables / 'warehouse'}", "--set", f"output={tables / 'output'}", "--json"]
        options += ["--full"] if step == "replay" else []
        measured, output = measure(step, [*submit, str(ROOT / "jobs/orders.py"), *options], log)
        told = ", ".join(f"{n:,} {name}" for name, n in json.loads(output)["outcomes"].items() if n)
        rows.append(Measured(step, measured.wall_s, measured.cpu_s, measured.peak_mb, told))
        print(f"{step}: {measured.wall_s:.1f} s", file=sys.stderr)
    print(f"Scale {arguments.scale:g}, {os.cpu_count()} cores, heap {arguments.driver_memory}\n")
    print("| step | wall s | CPU s | peak MB | orders |\n|---|--:|--:|--:|---|")
    for row in rows:
        print(f"| {row.step} | {row.wall_s:.1f} | {row.cpu_s:.1f} | {row.peak_mb:,} | {row.told} |")


if __name__ == "__main__":
    main()
