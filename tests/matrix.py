"""The quick tests on other ground: `make matrix`, or `make matrix LANES='pair-4.0 connect'` for some of it.

A lane is a pair of Spark and Delta, a session of Spark Connect, or a version of Python. Each runs what `make test`
runs; the last lines are the table of docs/platforms.md.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
PAIRS = {"pair-4.0": "Spark 4.0.2 with Delta 4.0.1", "pair-4.2": "Spark 4.2.0 with Delta 4.4.0"}
CONNECT = {"connect": "Spark Connect, tables by path", "connect-by-name": "Spark Connect, tables by catalog name"}
PYTHONS = {f"python-3.{minor}": f"Python 3.{minor}" for minor in (11, 12, 13)}
LANES = {"default": "Spark 4.1.1 with Delta 4.2.0, in the tests' process", **PAIRS, **CONNECT, **PYTHONS}
"""What each lane is, as the docs say it."""
COUNTS = re.compile(r"^(?:=+ )?(?P<counts>\d[^=]*?) in [\d.]+s", re.MULTILINE)


def main(argv: Sequence[str]) -> int:
    """Run lanes one after the other; 1 if a test of one of them failed."""
    parser = argparse.ArgumentParser(prog="make matrix", description=__doc__)
    parser.add_argument("lanes", nargs="*", metavar="LANE", help=f"of {', '.join(LANES)}; default: all")
    parser.add_argument("--marked", default="", help="which tests, as pytest's -m takes it")
    parser.add_argument("--logs", type=Path, default=ROOT / "build" / "matrix", help="a folder for their output")
    told = parser.parse_args(argv)
    if unknown := set(told.lanes) - LANES.keys():
        parser.error(f"there is no lane {', '.join(sorted(unknown))}; there are: {', '.join(LANES)}")
    told.logs.mkdir(parents=True, exist_ok=True)
    rows, is_good = [], True
    for lane in told.lanes or LANES:
        begun = time.monotonic()
        code, counts = run_lane(lane, told.marked, told.logs / f"{lane}.log")
        minutes = (time.monotonic() - begun) / 60
        rows.append(f"| {LANES[lane]} | {counts} | {minutes:.0f} min | {datetime.now(UTC):%Y-%m-%d} |")
        sys.stdout.write(f"{rows[-1]}\n")
        sys.stdout.flush()
        is_good = is_good and code == 0
    sys.stdout.write("\n".join(["", "| lane | tests | time | when |", "|---|---|---|---|", *rows, ""]))
    return 0 if is_good else 1


def run_lane(lane: str, marked: str, log: Path) -> tuple[int, str]:
    """The exit code of pytest on one lane, and how many tests passed, failed and were left out."""
    with log.open("w", encoding="utf-8") as out:
        if lane in PYTHONS:
            code = _on_another_python(lane.removeprefix("python-"), marked, out.fileno())
        else:
            code = _pytest(ROOT, VENV / "bin" / "python", marked, _environment(lane), out.fileno())
    found = COUNTS.findall(log.read_text(encoding="utf-8"))
    return code, re.sub(r", \d+ (?:deselected|warnings?)", "", found[-1]) if found else f"none: see {log}"


def _environment(lane: str) -> dict[str, str]:
    """What makes the tests of this environment run on the ground of a lane."""
    if lane in PAIRS:
        pair = VENV / lane
        return {"SPARK_HOME": str(pair / "pyspark"), "PYTHONPATH": str(pair)}
    return {"ORDERS_TEST_ON": lane} if lane in CONNECT else {}


def _on_another_python(version: str, marked: str, out: int) -> int:
    """A clone of what is committed sets itself up with that Python, and runs its tests."""
    python = os.environ.get(f"ORDERS_PYTHON_{version.replace('.', '_')}") or shutil.which(f"python{version}")
    if python is None:
        os.write(out, f"there is no python{version} on the PATH, and ORDERS_PYTHON_... names none\n".encode())
        return 2
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "orders"
        subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True, stdout=out, stderr=out)
        set_up, environment = [clone / "deploy" / "setup.sh", "dev"], os.environ | {"ORDERS_PYTHON": python}
        if code := subprocess.run(set_up, env=environment, check=False, stdout=out, stderr=out).returncode:
            return code
        return _pytest(clone, clone / ".venv" / "bin" / "python", marked, {}, out)


def _pytest(project: Path, python: Path, marked: str, environment: dict[str, str], out: int) -> int:
    own = {"PYSPARK_PYTHON": str(python), "PYSPARK_DRIVER_PYTHON": str(python), "SPARK_LOCAL_IP": "127.0.0.1"}
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", marked]
    done = subprocess.run(
        command, cwd=project, env={**os.environ, **own, **environment}, stdout=out, stderr=out, check=False
    )
    return done.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
