"""Times are what their texts say in UTC, wherever and whenever the job runs; what is ahead of the clock is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from etl_lib.deciding.judge import judge
from etl_lib.reading.records import parse_orders
from etl_lib.settings.rules import RuleBook
from etl_lib.settings.strict_model import load_settings
from etl_lib.tables.schemas import DIM_ORDER, ETL_FILES, QUARANTINE
from tests.conftest import TEST_SPARK
from tests.frames import frame
from tests.integration.test_orders_job import order, outcomes
from tests.job import Job

ROOT = Path(__file__).resolve().parents[2]

KEPT = {
    # New York: 02:30 does not exist on 10 March 2024, 01:30 comes twice on 3 November
    "gap": ("2024-03-10T02:30:00-05:00", "2024-03-10", "2024-03-10 07:30:00"),
    "gap without offset": ("2024-03-10T02:30:00", "2024-03-10", "2024-03-10 02:30:00"),
    "fold, first": ("2024-11-03T01:30:00-04:00", "2024-11-03", "2024-11-03 05:30:00"),
    "fold, second": ("2024-11-03T01:30:00-05:00", "2024-11-03", "2024-11-03 06:30:00"),
    "fold without offset": ("2024-11-03T01:30:00", "2024-11-03", "2024-11-03 01:30:00"),
    # the Chatham Islands: 03:15 comes twice on 7 April 2024; Samoa left out 30 December 2011
    "Chatham, first": ("2024-04-07T03:15:00+13:45", "2024-04-06", "2024-04-06 13:30:00"),
    "Chatham, second": ("2024-04-07T03:15:00+12:45", "2024-04-06", "2024-04-06 14:30:00"),
    "the day Samoa left out": ("2011-12-30T12:00:00", "2011-12-30", "2011-12-30 12:00:00"),
    "a date": ("2024-06-01", "2024-06-01", "2024-06-01 00:00:00"),
    "a date in a gap of midnight": ("2024-03-31", "2024-03-31", "2024-03-31 00:00:00"),
    "last moment": ("2024-12-31T23:59:59.999999Z", "2024-12-31", "2024-12-31 23:59:59.999999"),
    "next day": ("2024-12-31T23:59:59.999999-00:30", "2025-01-01", "2025-01-01 00:29:59.999999"),
    "day before": ("2024-05-01T05:00+05:30", "2024-04-30", "2024-04-30 23:30:00"),
    "below a microsecond": ("2024-05-01T23:59:59.9999999Z", "2024-05-01", "2024-05-01 23:59:59.999999"),
    "24:00": ("2024-05-01T24:00:00Z", "2024-05-02", "2024-05-02 00:00:00"),
    "basic format": ("20240501T101500+0200", "2024-05-01", "2024-05-01 08:15:00"),
    "the name of a zone": ("2024-05-01T10:15:00+02:00[Europe/Berlin]", "2024-05-01", "2024-05-01 08:15:00"),
    "first moment": ("1900-01-01T00:00:00Z", "1900-01-01", "1900-01-01 00:00:00"),
}
"""Texts of created_at with their date and their moment in UTC."""

REFUSED = {
    "1899": ("1899-12-31T23:59:59Z", "created_at_is_time"),
    "1899 in UTC": ("1900-01-01T00:00:00+14:00", "created_at_is_time"),
    "9999": ("9999-12-31T23:59:59.999999Z", "version_not_in_future"),
    "10000": ("10000-01-01T00:00:00Z", "created_at_is_time"),
    "+10000": ("+10000-01-01T00:00:00Z", "created_at_is_time"),
    "10000 in UTC": ("9999-12-31T23:59:59-01:00", "created_at_is_time"),
    "seconds": (1_714_557_600, "time_is_no_number"),
    "milliseconds": (1_714_557_600_000, "time_is_no_number"),
    "seconds as text": ("1714557600", "time_is_no_number"),
    "seconds with a fraction": (1714557600.5, "time_is_no_number"),
    "29 February": ("2023-02-29T00:00:00Z", "created_at_is_time"),
    "after 24:00": ("2024-05-01T24:00:01Z", "created_at_is_time"),
    "a second too many": ("2024-05-01T23:59:60Z", "time_is_no_leap_second"),
}
"""What is no time, or lies ahead, with the rule that it breaks."""

RECORDS = [
    *(order(name, created_at=text) for name, (text, _, _) in KEPT.items()),
    *(order(name, created_at=text) for name, (text, _) in REFUSED.items()),
]

ZONES = ("UTC", "America/New_York", "Asia/Kolkata", "Pacific/Apia", "Pacific/Chatham", "America/St_Johns")

IN_A_ZONE = """
import json, sys, time
sys.path.insert(0, {root!r})
from pyspark.sql import SparkSession, functions as F
from etl_lib.process.session import DELTA
from etl_lib.tables.schemas import DAILY_SALES, DIM_ORDER, DIM_USER, ETL_FILES, FACT_SALES, QUARANTINE
from etl_lib.tables.warehouse import Warehouse
from jobs.orders import main

time.tzset()
builder = SparkSession.builder
for name, value in {{**DELTA, **{settings!r}}}.items():
    builder = builder.config(name, value)
spark = builder.getOrCreate()
spark.sparkContext.setLogLevel("ERROR")
zone = spark._jvm.java.util.TimeZone.getDefault().getID()
assert zone == {zone!r} and time.localtime(0).tm_gmtoff == {offset!r}, zone

found = {{}}
for session_zone in {session_zones!r}:
    spark.conf.set("spark.sql.session.timeZone", session_zone)
    warehouse = {root_of_tables!r} + "/" + session_zone.replace("/", "-")
    assert main([*{options!r}, "--set", "warehouse=" + warehouse]) == 0
    assert spark.conf.get("spark.sql.session.timeZone") == "UTC"
    tables = Warehouse(spark, warehouse)
    rows = {{}}
    for table in (FACT_SALES, DIM_ORDER, DAILY_SALES, DIM_USER, QUARANTINE, ETL_FILES):
        kept = [F.col(name).cast("string") for name in table.column_names if not name.endswith("run_id")]
        rows[table.name] = sorted([list(row) for row in tables.read(table).select(*kept).collect()], key=str)
    found[session_zone] = rows
with open({report!r}, "w", encoding="utf-8") as file:
    json.dump(found, file)
"""


@pytest.mark.torture
@pytest.mark.timeout(1800)
def test_tables_are_the_same_in_every_time_zone_of_process_and_session(job: Job) -> None:
    job.land("a.jsonl", *RECORDS)
    (job.landing / "users.csv").write_text(
        "user_id,email,created_at,country\nu1,,2024-03-10T02:30:00,US\nu2,,2024-11-03,NZ\n"
    )
    found = {}
    for zone, offset in zip(ZONES, (0, -18_000, 19_800, -39_600, 45_900, -12_600), strict=True):
        for session_zone, rows in tables_in(job, zone, offset).items():
            found[zone, session_zone] = rows
    first = found["UTC", "UTC"]
    dates_and_times = {row[0]: (row[1], row[2], row[3]) for row in first["dim_order"]}
    assert dates_and_times == {name: (day, moment, moment) for name, (_, day, moment) in KEPT.items()}
    assert {row[0]: (row[2], row[3]) for row in first["fact_sales"]} == {
        name: (day, moment) for name, (_, day, moment) in KEPT.items()
    }
    assert {row[0]: row[2] for row in first["dim_user"]} == {"u1": "2024-03-10 02:30:00", "u2": "2024-11-03 00:00:00"}
    assert len(first["quarantine"]) == len(REFUSED)
    assert len(found) == 2 * len(ZONES)
    assert {zones for zones, rows in found.items() if rows != first} == set()


def tables_in(job: Job, zone: str, offset: int) -> dict[str, dict[str, list[list[str | None]]]]:
    """The rows of the tables as texts, by session time zone, of runs in a process of its own that lives in a zone."""
    report = job.root / "report.json"
    java_options = TEST_SPARK["spark.driver.extraJavaOptions"].replace("=UTC", f"={zone}")
    code = IN_A_ZONE.format(
        root=str(ROOT),
        settings={**TEST_SPARK, "spark.driver.extraJavaOptions": java_options, "spark.driver.memory": "1g"},
        zone=zone,
        offset=offset,
        session_zones=("UTC", "America/New_York") if zone == "UTC" else ("UTC", zone),
        root_of_tables=str(job.root / zone.replace("/", "-")),
        options=job.options(),
        report=str(report),
    )
    environment = os.environ | {"TZ": zone, "PYSPARK_PYTHON": sys.executable}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=400, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
    return found


def test_times_of_a_session_in_another_zone_and_records_ahead_of_the_clock(job: Job) -> None:
    now = datetime.now(UTC)
    soon, ahead = ((now + timedelta(hours=hours)).isoformat() for hours in (23, 25))
    ahead_of_clock = [order("created ahead", created_at=ahead), order("corrected ahead", updated_at="2999-01-01")]
    job.land("a.jsonl", *RECORDS, order("soon", updated_at=soon), *ahead_of_clock)
    job.spark.conf.set("spark.sql.session.timeZone", "Asia/Kolkata")
    try:
        assert job.run() == 0
        assert job.spark.conf.get("spark.sql.session.timeZone") == "UTC"
    finally:
        job.spark.conf.set("spark.sql.session.timeZone", "UTC")
    assert outcomes(job) == {"inserted": len(KEPT) + 1, "rejected": len(REFUSED) + 2}
    rows = job.read(DIM_ORDER).selectExpr("order_id", "string(order_date)", "string(created_at)").collect()
    assert {tuple(row) for row in rows if row[0] != "soon"} == {(k, day, at) for k, (_, day, at) in KEPT.items()}
    refused = job.read(QUARANTINE).select(F.get_json_object("raw", "$.order_id"), "reasons.rule").collect()
    expected = {name: [rule] for name, (_, rule) in REFUSED.items()}
    expected |= {record["order_id"]: ["version_not_in_future"] for record in ahead_of_clock}
    assert {row[0]: row[1] for row in refused} == expected

    # what is ahead is no watermark
    latest = job.read(ETL_FILES).selectExpr("max_version_at", f"max_version_at = timestamp'{soon}'").collect()
    assert [row[1] for row in latest] == [True], latest


def test_another_limit_is_another_interval_in_the_rules(spark: SparkSession, tmp_path: Path) -> None:
    rules = (ROOT / "conf" / "rules.yaml").read_text(encoding="utf-8")
    wide = tmp_path / "rules.yaml"
    wide.write_text(rules.replace("INTERVAL '24' HOUR", "INTERVAL '1000' YEAR"), encoding="utf-8")
    assert wide.read_text() != rules
    records = (order("a", created_at="2999-01-01T00:00:00Z"), order("b", updated_at="9999-12-31T23:59:59.999999Z"))
    read = frame(spark, "raw STRING, read_error STRING", *((json.dumps(record), None) for record in records))
    judged = judge(parse_orders(read, ("updated_at", "created_at")), load_settings(RuleBook, wide).of("orders"))
    found = {row["key"]: row["broken_rules"] for row in judged.collect()}
    assert found == {"a": [], "b": ["version_not_in_future"]}
