"""Time the orders job, a fresh process for each step, and print what was measured as a Markdown table.

    .venv/bin/python bench/run.py --scale 1 --driver-memory 4g

Steps: `session` (a job that only opens a session: the floor), `load`, `replay` (all files again), `recent`, `spread`
and `tiny` (see generate.py). Wall and CPU time and the peak memory are the whole process tree's (see measure.py).
Absolute times say little about another machine; compare them with `session` and with each other.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from measure import measure

ROOT = Path(__file__).resolve().parents[1]
STEPS = (("load", "load"), ("replay", "load"), ("recent", "recent"), ("spread", "spread"), ("tiny", "tiny"))
FLOOR = "from pyspark.sql import SparkSession\nSparkSession.builder.getOrCreate().range(1).collect()\n"


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
    rows = [("session", measure([*submit, str(floor)], log)[0], "")]
    for step, folder in STEPS:
        settings = (f"input.orders={data / folder}", "input.users=", "input.products=")
        options = [part for setting in settings for part in ("--set", setting)]
        options += ["--set", f"warehouse={tables / 'warehouse'}", "--set", f"output={tables / 'output'}", "--json"]
        options += ["--full"] if step == "replay" else []
        measured, output = measure([*submit, str(ROOT / "jobs/orders.py"), *options], log)
        told = ", ".join(f"{n:,} {name}" for name, n in json.loads(output)["outcomes"].items() if n)
        rows.append((step, measured, told))
        print(f"{step}: {measured.wall_s:.1f} s", file=sys.stderr)
    print(f"Scale {arguments.scale:g}, {os.cpu_count()} cores, heap {arguments.driver_memory}\n")
    print("| step | wall s | CPU s | peak MB | orders |\n|---|--:|--:|--:|---|")
    for step, measured, told in rows:
        print(f"| {step} | {measured.wall_s:.1f} | {measured.cpu_s:.1f} | {measured.peak_mb:,} | {told} |")


if __name__ == "__main__":
    main()
