"""Many small merges on one warehouse, then maintenance: is the last merge as fast as the first?

    .venv/bin/python bench/long_life.py --merges 100

Loads `--orders` orders over 30 days, then as many small batches as `--merges` says, each with corrections and new
orders of all days, in one session. Prints as a Markdown table the seconds of the orders job (mean of five runs after
three to warm up), the files of its tables and the most files of one partition: at first, after the merges, and after
`jobs/maintain.py compact`. Tables are in a temporary folder.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("SPARK_CONF_DIR", str(ROOT / "deploy" / "spark"))
os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")

from pyspark.sql import functions as F  # noqa: E402

from etl_lib.process.session import open_session  # noqa: E402
from etl_lib.settings.config import Settings  # noqa: E402
from etl_lib.settings.strict_model import load_settings  # noqa: E402
from etl_lib.tables.schemas import DAILY_SALES, DIM_ORDER, FACT_SALES  # noqa: E402
from etl_lib.tables.warehouse import Warehouse  # noqa: E402
from jobs import maintain, orders  # noqa: E402

SMALL_TABLES = {
    # The settings of the tests: with few rows, compiling a query costs more than running it.
    "spark.sql.shuffle.partitions": "2",
    "spark.databricks.delta.snapshotPartitions": "1",
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.sql.adaptive.enabled": "false",
    "spark.ui.enabled": "false",
}
DAYS = 30
PARTITIONED = (FACT_SALES, DIM_ORDER, DAILY_SALES)
WARM_UP, MEASURED = 3, 5


@dataclass(frozen=True)
class Life:
    """One warehouse, and the small batches that come to it."""

    folder: Path
    orders: int
    batch: int
    random: random.Random

    @property
    def options(self) -> list[str]:
        """The folders as options of the jobs."""
        empty = ("input.users=", "input.products=")
        places = (f"warehouse={self.folder / 'warehouse'}", f"output={self.folder / 'output'}")
        return [f"--set={setting}" for setting in (*places, f"input.orders={self.folder / 'landing'}", *empty)]

    def records(self, first: int, version: int) -> Iterator[dict[str, object]]:
        """The orders of one batch; a number that was there before makes a correction."""
        for number in range(first, first + self.batch) if version else range(self.orders):
            known = version and self.random.random() < 0.8  # noqa: PLR2004 - most of a batch are corrections
            at = self.random.randrange(self.orders) if known else number
            items = [{"sku": f"S{n}", "qty": n + 1, "price": 10 + n} for n in range(self.random.randint(1, 4))]
            yield {
                "order_id": f"o{at}", "user_id": f"u{at % 100}", "currency": "EUR", "items": items,
                "amount": sum((n + 1) * (10 + n) for n in range(len(items))), "metadata": {"source": "web"},
                "created_at": f"2024-05-{at % DAYS + 1:02}T12:00:00Z",
                "updated_at": f"2024-07-{1 + version // 1440:02}T{version // 60 % 24:02}:{version % 60:02}:00Z",
            }  # fmt: skip

    def load(self, version: int) -> float:
        """Land the next batch and run the job on it; gives its seconds."""
        lines = (json.dumps(record) for record in self.records(self.orders + version * self.batch, version))
        landing = self.folder / "landing" / f"{version:05}.jsonl"
        landing.parent.mkdir(exist_ok=True)
        landing.write_text("\n".join(lines) + "\n")
        started = time.perf_counter()
        self.carry_out(orders.main, self.options)
        return time.perf_counter() - started

    def carry_out(self, job: object, options: list[str]) -> None:
        """Run a job without what it tells; what it told when it fails."""
        told = io.StringIO()
        with redirect_stdout(told), redirect_stderr(told):
            code = job(options)  # type: ignore[operator]
        if code:
            sys.exit(told.getvalue())


def files(warehouse: Warehouse) -> tuple[int, int]:
    """The files of the partitioned tables, and the most that one partition has."""
    most, total = 0, 0
    for table in PARTITIONED:
        names = warehouse.read(table).groupBy("order_date").agg(F.count_distinct("_metadata.file_path").alias("files"))
        counts = [row["files"] for row in names.collect()]
        most, total = max(most, *counts), total + sum(counts)
    return total, most


def main() -> None:
    """Live through the merges and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--merges", type=int, default=100)
    parser.add_argument("--orders", type=int, default=20_000, help="orders of the first load")
    parser.add_argument("--batch", type=int, default=100, help="orders of each small batch")
    parser.add_argument("--seed", type=int, default=5)
    arguments = parser.parse_args()
    if arguments.merges < WARM_UP + 2 * MEASURED:
        parser.error(f"--merges {arguments.merges}: at least {WARM_UP + 2 * MEASURED}")
    with tempfile.TemporaryDirectory() as folder:
        life = Life(Path(folder), arguments.orders, arguments.batch, random.Random(arguments.seed))  # noqa: S311
        settings = load_settings(Settings, ROOT / "conf" / "local.yaml")
        warehouse = Warehouse(open_session({**settings.spark, **SMALL_TABLES}), str(life.folder / "warehouse"))
        life.load(0)
        rows = [("before the first merge", None, *files(warehouse))]
        seconds = []
        for version in range(1, arguments.merges + 1):
            seconds.append(life.load(version))
            print(f"{version}: {seconds[-1]:.1f} s", file=sys.stderr)
            if version == WARM_UP + MEASURED:
                rows.append(("the first merges", mean(seconds[WARM_UP:]), *files(warehouse)))
        rows.append(("the last merges", mean(seconds[-MEASURED:]), *files(warehouse)))
        started = time.perf_counter()
        life.carry_out(maintain.main, ["compact", *life.options])
        rows.append(("`maintain.py compact`", time.perf_counter() - started, *files(warehouse)))
        after = [life.load(arguments.merges + 1 + n) for n in range(MEASURED)]
        rows.append(("merges after maintenance", mean(after), *files(warehouse)))
        life.carry_out(maintain.main, ["check", *life.options])
    first, last = rows[1][1] or 0, rows[-1][1] or 0
    print(f"{arguments.merges} merges of {arguments.batch} orders into {arguments.orders:,}, {os.cpu_count()} cores\n")
    print("| when | seconds a run | files | most files of a partition |\n|---|--:|--:|--:|")
    for when, spent, total, most in rows:
        print(f"| {when} | {'' if spent is None else f'{spent:.1f}'} | {total} | {most} |")
    print(f"\nAfter maintenance a merge takes {last / first:.2f} times what the first ones took; the check passed.")


if __name__ == "__main__":
    main()
