"""The query command: runs one SQL file on the warehouse, whose tables it finds by their plain names."""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import structlog
from pyspark.errors import AnalysisException, PySparkException
from rich.table import Table as Grid

from etl_lib.commands.entry import read_settings
from etl_lib.process.errors import ConfigError, LakehouseError
from etl_lib.process.session import open_session
from etl_lib.process.streams import console_on
from etl_lib.settings.arguments import Parser
from etl_lib.tables.ledger import consistent_versions
from etl_lib.tables.schemas import ALL_TABLES, ETL_PUBLISHES, ETL_PULLS, ORDER_TABLES, SALES_TABLES, VIEWS, Table, View
from etl_lib.tables.warehouse import Warehouse

log = structlog.get_logger(__name__)

Answer = TypeVar("Answer")


def query(argv: Sequence[str]) -> None:
    """Read the command line, run the query that it names, and print what it finds."""
    arguments = parse_arguments(argv)
    settings = read_settings(arguments.config, arguments.overrides)
    sql = read_query(arguments.file)
    warehouse = Warehouse(open_session(settings.spark), settings.warehouse)
    try:
        register_tables(warehouse, sql, newest=arguments.newest)
        frame = warehouse.spark.sql(sql)
        columns, rows = frame.columns, frame.limit(arguments.rows + 1).collect()
    except AnalysisException as error:
        raise ConfigError(f"{arguments.file}: {_first_lines(error)}") from error
    except PySparkException as error:
        raise LakehouseError(f"{arguments.file}: {_first_lines(error)}") from error
    if len(rows) > arguments.rows:
        log.warning("there are more rows: --rows N shows up to N", shown=arguments.rows)
    show(arguments.shape, columns, rows[: arguments.rows])


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Read the command line; wrong arguments end with the usage and exit code 2."""
    parser = Parser("query", "Run one SQL file on the warehouse.", overrides_at_once=1)
    parser.add_argument("file", type=Path, help="the query, one SQL statement")
    parser.add_argument("--rows", type=int, default=100, metavar="N", help="print at most N rows (100)")
    parser.add_argument(
        "--newest",
        action="store_true",
        help="read the newest versions, which may disagree while a run is at work; else those of the last complete run",
    )
    shapes = parser.add_mutually_exclusive_group()
    shapes.add_argument("--json", action="store_const", dest="shape", const="json", help="a JSON object a line")
    shapes.add_argument("--csv", action="store_const", dest="shape", const="csv", help="CSV with a header")
    return parser.parse_args(argv)


def read_query(file: Path) -> str:
    """The text of the query; ConfigError when it cannot be read."""
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: {error}") from error


def register_tables(warehouse: Warehouse, sql: str, *, newest: bool = False) -> None:
    """Make the tables that `sql` mentions known by their plain names.

    Those that a run changes one after the other are read at the versions that the last complete run left.
    """
    named = [table for table in (*ALL_TABLES, *VIEWS) if table.name in sql.lower()]
    agreeing = [] if newest else [table for table in SALES_TABLES if table in named]
    versions = _made(warehouse, agreeing[0], partial(consistent_versions, warehouse, agreeing)) if agreeing else {}
    for table in named:
        rows = _made(warehouse, table, partial(warehouse.read, table, versions))
        rows.createOrReplaceTempView(table.name)


def _made(warehouse: Warehouse, table: Table | View, read: Callable[[], Answer]) -> Answer:
    try:
        return read()
    except AnalysisException as error:
        alone = {ETL_PULLS.name: "pull", ETL_PUBLISHES.name: "publish"}
        job = alone.get(table.name) or ("orders" if table in (*ORDER_TABLES, *VIEWS) else "value_props")
        raise LakehouseError(
            f"{warehouse.location} has no table {table.name}; jobs/{job}.py makes it: {_first_lines(error)}"
        ) from error


def show(shape: str | None, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print rows as a table, as JSON Lines (decimals and times as texts, so exact) or as CSV; NULL is empty."""
    if shape == "json":
        for row in rows:
            sys.stdout.write(json.dumps(dict(zip(columns, row, strict=True)), default=str, ensure_ascii=False) + "\n")
    elif shape == "csv":
        csv.writer(sys.stdout, lineterminator="\n").writerows([columns, *rows])
    else:
        grid = Grid(*columns)
        for row in rows:
            grid.add_row(*("" if value is None else str(value) for value in row))
        console_on(sys.stdout).print(grid, markup=False)


def _first_lines(error: Exception) -> str:
    """What an error says, without the query plan and the trace that Spark adds."""
    return str(error).partition(";\n'")[0].partition("\n\nJVM")[0].strip()
