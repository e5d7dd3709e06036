"""The whole value-props job on folders: files in, features out, run again, corrected and filled again."""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from bench.generate_events import generate
from etl_lib.process.session import temporary_settings
from etl_lib.reading.datasets import EVENT_DATASETS as DATASETS
from etl_lib.tables.schemas import DQ_RESULTS, ETL_FILES, ETL_RUNS, FACT_SALES, FEATURE_TABLES, ORDER_TABLES, QUARANTINE
from tests.feature_oracle import Features, Options, features
from tests.feature_tables import (
    ABOUT_IDS,
    ABOUT_WEEKS,
    assert_features,
    assert_quarantined_lines_stand_where_it_says,
    files_of_week,
    options_of,
    table_rows,
)
from tests.integration.conftest import FeatureSample
from tests.integration.test_orders_job import lines_of, order
from tests.integration.test_strangers_files import TOO_EARLY
from tests.job import FeatureJob, Job
from tests.unit.test_lock import another_run

HEADER = "pay_date,total,user_id,value_prop"
LEDGER = {"etl_runs", "etl_events"}
BOTH_JOBS = dict.fromkeys([*ORDER_TABLES, *FEATURE_TABLES])


def event(day: str, user: str = "u", position: int | None = 0, value_prop: str = "point") -> dict[str, Any]:
    """A print or a tap."""
    return {"day": day, "event_data": {"position": position, "value_prop": value_prop}, "user_id": user}


def pay(day: str, total: str = "1", user: str = "u", value_prop: str = "point") -> str:
    return f"{day},{total},{user},{value_prop}"


def rows_of(job: FeatureJob) -> list[str]:
    """The lines of final.csv below its header."""
    return job.final_csv.decode().splitlines()[1:]


def published(job: FeatureJob) -> dict[str, bytes]:
    folder = job.output / "value_props"
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.exists() else {}


def moved(before: dict[str, int], after: dict[str, int]) -> set[str]:
    """The tables that have another version, or none yet before."""
    return {name for name in after if before.get(name) != after[name]}


def week_results(job: FeatureJob, run_id: str) -> dict[str, tuple[str, int, int, list[str]]]:
    """The results of the rules about weeks in one run: severity, checked, failed and samples of each."""
    rows = job.read(DQ_RESULTS).where((F.col("run_id") == run_id) & F.col("rule").isin(*ABOUT_WEEKS)).collect()
    assert {row["dataset"] for row in rows} == {"prints"}
    return {row["rule"]: (row["severity"], row["checked"], row["failed"], row["samples"]) for row in rows}


# --- a generated month ----------------------------------------------------------------------------------------------

MONDAYS = [date(2020, 11, day) for day in (2, 9, 16, 23, 30)]
ALL_NOVEMBER = Options(first=date(2020, 9, 8), last=date(2020, 11, 30))  # weeks before any data, and more than ten


@pytest.fixture
def month(feature_job: FeatureJob, spark: SparkSession) -> Iterable[FeatureJob]:
    """A dirty November, whose files are read in several blocks each."""
    generate(feature_job.root / "generated", scale=0.001, seed=11, dirt=0.1)
    for name, file in (("prints", "prints.jsonl"), ("taps", "taps.jsonl"), ("pays", "pays.csv")):
        (feature_job.root / "generated" / file).rename(feature_job.landing / name / file)
    # Tiny files, as those of Delta's logs, share a block.
    blocks = {"spark.sql.files.maxPartitionBytes": "20000", "spark.sql.files.openCostInBytes": "0"}
    with temporary_settings(spark, blocks):
        yield feature_job


def oracle_of(job: FeatureJob, options: Options) -> Features:
    """What the oracle makes of the files that are there now."""
    prints, taps, pays = (
        [path.read_bytes().removesuffix(b"\n").split(b"\n") for path in sorted((job.landing / name).iterdir())]
        for name in DATASETS
    )
    return features(prints, taps, pays, today=datetime.now(UTC).date(), options=options)


def correct(job: FeatureJob) -> None:
    """Change totals of some pays, remove a tap, and let prints of all weeks arrive late in a file of their own."""
    pays = job.landing / "pays" / "pays.csv"
    header, *lines = pays.read_text().splitlines()
    rng = random.Random(5)  # noqa: S311 - test data
    for at in rng.sample(range(len(lines)), 200):
        fields = lines[at].split(",")
        lines[at] = ",".join([fields[0], "7.77", *fields[2:]]) if len(fields) == 4 and fields[1] else lines[at]
    pays.write_text("\n".join([header, *lines]) + "\n")
    taps = job.landing / "taps" / "taps.jsonl"
    taps.write_text("".join(taps.read_text().splitlines(keepends=True)[1:]))
    users = range(1, 40)
    late = [event(str(monday + timedelta(days=2)), str(user), user % 3) for monday in MONDAYS[:4] for user in users]
    job.land("prints", *late, name="late.jsonl")


@pytest.mark.slow
def test_a_month_is_filled_again_repeated_and_corrected(month: FeatureJob, capsys: pytest.CaptureFixture[str]) -> None:
    assert month.run(*options_of(ALL_NOVEMBER)) == 0
    expected = oracle_of(month, ALL_NOVEMBER)
    assert len(expected.target_weeks) == 13
    assert_features(month, expected, ALL_NOVEMBER)
    assert_quarantined_lines_stand_where_it_says(month)
    assert "2020-11-23" in capsys.readouterr().out

    # the same again: the same files and rows, and the quarantine as it was
    files, versions, rows = published(month), month.versions(), table_rows(month)
    assert month.run(*options_of(ALL_NOVEMBER)) == 0
    assert published(month) == files
    assert table_rows(month) == rows == Counter(expected.rows)
    assert moved(versions, month.versions()) <= {"value_prop_features", *LEDGER}
    assert_quarantined_lines_stand_where_it_says(month)

    # corrected input, looked at in a plan and then for one week
    correct(month)
    one_week = Options(as_of=date(2020, 11, 18))
    expected = oracle_of(month, one_week)
    week = Counter(expected.rows)
    versions, files = month.versions(), published(month)
    assert month.run("--plan", *options_of(one_week)) == 0
    shown = capsys.readouterr().out
    assert moved(versions, month.versions()) <= LEDGER
    assert published(month) == files
    now = sum(n for row, n in rows.items() if row[0] == date(2020, 11, 16))
    cells = [[cell.strip() for cell in line.strip("│").split("│")] for line in shown.splitlines()]
    assert ["2020-11-16", f"{now:,}", f"{week.total():,}"] in cells
    assert month.metrics()["status"] == "planned"
    assert month.metrics()["weeks"] == {"2020-11-16": {"rows_now": now, "rows": week.total()}}

    others = {monday: files_of_week(month, monday) for monday in MONDAYS if monday != date(2020, 11, 16)}
    assert month.run(*options_of(one_week)) == 0
    assert_features(month, expected, one_week)
    assert table_rows(month) == week + Counter({row: n for row, n in rows.items() if row[0] != date(2020, 11, 16)})
    assert week != Counter({row: n for row, n in rows.items() if row[0] == date(2020, 11, 16)})
    assert {monday: files_of_week(month, monday) for monday in others} == others
    statuses = [row["status"] for row in month.read(ETL_RUNS).orderBy("started_at").collect()]
    assert statuses == ["done", "done", "planned", "done"]


@pytest.mark.torture
@pytest.mark.parametrize("window", ["calendar", "rolling"])
def test_every_week_that_is_filled_again_is_that_of_a_run_of_its_own(month: FeatureJob, window: str) -> None:
    by_week: Counter[Any] = Counter()
    for monday in MONDAYS:
        options = Options(as_of=monday + timedelta(days=6), window=window, window_weeks=2)  # type: ignore[arg-type]
        assert month.run(*options_of(options)) == 0
        assert_features(month, oracle_of(month, options), options)
        by_week += table_rows(month, monday)
    assert table_rows(month) == by_week
    several = Options(first=MONDAYS[1], last=MONDAYS[3], window=window, window_weeks=2)  # type: ignore[arg-type]
    others = {monday: files_of_week(month, monday) for monday in (MONDAYS[0], MONDAYS[4])}
    assert month.run(*options_of(several)) == 0
    assert_features(month, oracle_of(month, several), several)
    assert table_rows(month) == by_week
    assert {monday: files_of_week(month, monday) for monday in others} == others

    correct(month)
    open_end = Options(first=MONDAYS[2], window=window, window_weeks=2)  # type: ignore[arg-type]
    kept = {monday: (files_of_week(month, monday), table_rows(month, monday)) for monday in MONDAYS[:2]}
    assert month.run(*options_of(open_end)) == 0
    assert_features(month, oracle_of(month, open_end), open_end)
    assert {monday: (files_of_week(month, monday), table_rows(month, monday)) for monday in kept} == kept


# --- literal weeks --------------------------------------------------------------------------------------------------


@pytest.mark.torture
def test_the_window_its_length_and_the_week_are_settings(feature_job: FeatureJob) -> None:
    """The latest print is of Thursday 2021-01-07, so the last full week begins on 2020-12-28 and goes over New Year."""
    days = ("2020-12-20", "2020-12-21", "2020-12-27", "2020-12-28", "2021-01-02", "2021-01-03", "2021-01-07")
    feature_job.land("prints", *(event(day, position=at) for at, day in enumerate(days)))
    feature_job.land("taps", event("2020-12-27"), event("2021-01-02", position=4), event("2021-01-03", position=0))
    feature_job.land(
        "pays", HEADER, pay("2020-12-20"), pay("2020-12-26", "2.5"), pay("2020-12-27", "4"), pay("2021-01-03", "8")
    )
    assert feature_job.run("--set", "target_week=last_complete", "window_weeks=1") == 0
    assert rows_of(feature_job) == [
        "2020-12-28,u,3,point,0,2,1,2,6.5000",
        "2021-01-02,u,4,point,1,2,1,2,6.5000",
        "2021-01-03,u,5,point,0,2,1,2,6.5000",
    ]
    metrics = feature_job.metrics()
    assert (metrics["reference_date"], metrics["target_week"], metrics["target_week_complete"]) == (
        *("2021-01-07", "2020-12-28"),
        True,
    )
    assert (metrics["pays_before_windows"], metrics["pays_after_windows"]) == (1, 1)
    assert feature_job.run("--set", "window=rolling", "--set", "window_weeks=1", "target_week=last_complete") == 0
    assert rows_of(feature_job) == [
        "2020-12-28,u,3,point,0,2,1,2,6.5000",
        "2021-01-02,u,4,point,1,2,1,2,6.5000",
        "2021-01-03,u,5,point,0,3,2,1,4.0000",
    ]
    assert (feature_job.metrics()["window"], feature_job.metrics()["window_last_day"]) == ("rolling", "2021-01-02")
    assert feature_job.metrics()["warnings"] == []


@pytest.mark.slow
def test_files_of_all_kinds_are_one_dataset_each(feature_job: FeatureJob) -> None:
    """Several files in folders, packed, in encodings, with other line ends and columns; one folder by a glob, files
    without a byte, and files that are one object or cannot be read.
    """
    view, next_day = (json.dumps(event(day), separators=(",", ":")) for day in ("2020-11-23", "2020-11-24"))
    more = [
        view,
        " ",
        "",
        "\t",
        "{broken",
        '{"user_id":"a, \\"b\\"\\n","event_data":{"value_prop":"point"},"day":"2020-11-24"}',
        next_day,
    ]
    prints = feature_job.land("prints", *more, name="day=2020-11-23/a b+c%20[1].jsonl")
    packed = feature_job.landing / "prints" / "b.jsonl.gz"
    packed.write_bytes(gzip.compress(("\ufeff" + view + "\r\n\r\n" + view[:-9]).encode()))
    (feature_job.landing / "prints" / "_SUCCESS").write_text("no print")
    pretty = json.dumps({"prints": [event("2020-11-25")]}, indent=1)
    (feature_job.landing / "prints" / "one.json").write_text(pretty)
    cut = gzip.compress(f"{view}\n".encode() * 3000)
    (feature_job.landing / "prints" / "cut.gz").write_bytes(cut[: len(cut) // 2])
    feature_job.land("taps", name="empty.jsonl")
    (feature_job.landing / "taps" / "little").write_bytes(f"\ufeff{view}\r\n".encode("utf-16-le"))
    (feature_job.landing / "taps" / "big").write_bytes(f"\ufeff{next_day}".encode("utf-16-be"))
    pays = feature_job.landing / "pays"
    (pays / "a.csv").write_bytes(f"\ufeff{HEADER}\r\n{pay('2020-11-20')}\r\n{HEADER}\r\n\r\n".encode())
    other = "user_id,channel,pay_date,value_prop,total"
    rows = f'{other}\nu,"a,b",2020-11-21,point,2.5\n98702.0,a,2020-11-21,point,2.5\n{HEADER}\n'
    (pays / "b.csv.gz").write_bytes(gzip.compress(f"\n \n{rows}".encode()))
    (pays / "c.csv").write_bytes(b"\n\n")
    (pays / "d.txt").write_bytes(b"no pays")
    wide = "Pay_Date, TOTAL ,user_id,value_prop\n2020-11-10, 1.5 ,u,point\n"
    (pays / "wide.csv").write_bytes(wide.encode("utf-16"))
    output = feature_job.root / "out put 100% [1]"
    options = (f"input.pays={pays}/*.csv*", f"output={output}", "input.damaged=set_aside")
    assert feature_job.run("--set", *options) == 0

    final = output / "value_props" / "final.csv"
    assert final.read_text() == (
        "day,user_id,position,value_prop,clicked,views_3w,clicks_3w,payments_3w,amount_3w\n"
        "2020-11-23,u,0,point,1,0,0,3,5.0000\n"
        "2020-11-23,u,0,point,1,0,0,3,5.0000\n"
        '2020-11-24,"a, ""b""\n",,point,0,0,0,0,0.0000\n'
        "2020-11-24,u,0,point,1,0,0,3,5.0000\n"
    )
    metrics = json.loads((output / "metrics.json").read_text())
    assert metrics["files"] == [str(final), str(final.with_suffix(".parquet"))]
    assert [metrics[f"input_{name}"] for name in DATASETS] == [7, 2, 5]
    assert [metrics[f"rejected_{name}"] for name in DATASETS] == [3, 0, 1]
    assert [metrics[f"duplicate_{name}"] for name in DATASETS] == [1, 0, 0]
    assert {name: found["unknown_fields"] for name, found in metrics["datasets"].items()} == {
        "prints": {},
        "taps": {},
        "pays": {"Pay_Date": 1, "TOTAL": 1, "channel": 1},
    }
    assert metrics["drift"]["pays"] == {"new_field": {"channel": 1}, "changed_case": {"Pay_Date": 1, "TOTAL": 1}}
    [damaged] = metrics["set_aside"]
    assert Path(damaged["path"]).name == "cut.gz"
    assert damaged["reason"].startswith(TOO_EARLY)
    entries = feature_job.read(QUARANTINE).orderBy("source_file").collect()
    assert [(Path(e["source_file"]).name, e["position"], e["reasons"][0]["rule"]) for e in entries] == [
        ("b.csv.gz", 6, "wrong_column_count"),
        ("b.jsonl.gz", 3, "malformed_json"),
        (prints.name, 5, "malformed_json"),
        ("one.json", 1, "one_object"),
    ]
    assert entries[-1]["raw"] == pretty
    files = feature_job.read(ETL_FILES).collect()
    assert {(row["dataset"], Path(row["path"]).name): row["records"] for row in files} == {
        ("prints", prints.name): 4,
        ("prints", "b.jsonl.gz"): 2,
        ("prints", "one.json"): 1,
        ("taps", "little"): 1,
        ("taps", "big"): 1,
        ("pays", "a.csv"): 1,
        ("pays", "b.csv.gz"): 3,
        ("pays", "c.csv"): 0,
        ("pays", "wide.csv"): 1,
    }
    assert (metrics["blank_lines"], metrics["repeated_headers"]) == (3 + 1 + 1 + 2 + 2, 1)
    # a spreadsheet made a number of the id of one pay
    assert metrics["warnings"][-1].startswith("pays: 1 of 4 records have a user_id that is a number with .0 (98702.0)")
    about_ids = feature_job.read(DQ_RESULTS).where(F.col("rule") == ABOUT_IDS).collect()
    assert {row["dataset"]: (row["severity"], row["checked"], row["failed"], row["samples"]) for row in about_ids} == {
        "prints": ("warn", 4, 0, []),
        "taps": ("warn", 2, 0, []),
        "pays": ("warn", 4, 1, ["98702.0"]),
    }


@pytest.mark.torture
def test_texts_are_published_as_they_are(feature_job: FeatureJob) -> None:
    """Users and value propositions that CSV, JSON or Spark could bend; final.csv is read again as it was meant."""
    texts = [
        " u ",
        "u\t",
        "#u",
        "-",
        "\\",
        'a\\"',
        '"',
        '""',
        ",",
        "a\nb",
        "a\r\nb",
        "\r",
        "null",
        "NULL",
        "''",
        "=1+1",
        "\u2028",
    ]
    texts += [
        "\ufeffu",
        "\x7f",
        "\x01",
        "e\u0301",
        "\u00e9",
        "1e5",
        "0x1",
        "U" * 5000,
        "\U0001f381",
        "${HOME}",
        "$1",
        "%20",
    ]
    feature_job.land("prints", *(event("2020-11-23", text, at, text) for at, text in enumerate(texts)))
    feature_job.land("taps", *(event("2020-11-23", text, at, text) for at, text in enumerate(texts)))
    plain = [text for text in texts if not set(text) & set('"\r\n,') and text not in ("\ufeffu",)]
    feature_job.land("pays", HEADER, *(pay("2020-11-20", "1", text, text) for text in plain))
    assert feature_job.run() == 0
    expected = oracle_of(feature_job, Options())
    assert Counter(row[5] for row in expected.rows) == {1: len(texts)}
    assert sum(row[8] for row in expected.rows) == len(plain)
    assert table_rows(feature_job, "2020-11-23") == Counter(expected.rows)
    read_again = list(csv.reader(io.StringIO(feature_job.final_csv.decode(), newline="")))
    meant = [(str(row[1]), row[2], str(row[3]), row[4], str(row[5])) for row in expected.rows]
    assert [tuple(fields[:5]) for fields in read_again[1:]] == meant
    parquet = pq.read_table(feature_job.output / "value_props" / "final.parquet").to_pylist()
    assert [(row["user_id"], row["value_prop"]) for row in parquet] == [(row[2], row[4]) for row in expected.rows]


@pytest.fixture
def settled_job(feature_sample: FeatureSample, tmp_path: Path) -> FeatureJob:
    """The sample data after two runs, each for one week, in folders of their own."""
    return feature_sample.copy(tmp_path)


@pytest.mark.by_path
def test_a_run_that_cannot_be_right_changes_no_feature(
    settled_job: FeatureJob, capsys: pytest.CaptureFixture[str]
) -> None:
    files, before, entries = published(settled_job), settled_job.versions(), settled_job.read(QUARANTINE).count()
    entered = settled_job.read(ETL_RUNS).count()

    def refused(code: int, *options: str) -> str:
        capsys.readouterr()
        assert settled_job.run(*options) == code
        assert published(settled_job) == files
        assert moved(before, settled_job.versions()) <= LEDGER
        error = capsys.readouterr().err
        assert "Traceback" not in error
        return error

    missing = settled_job.root / "nowhere"
    for message, *options in (
        (f"input.taps: there is no file or folder {missing}", "--set", f"input.taps={missing}"),
        ("input.pays: missing", "--set", "input.pays="),
        ("window: Input should be 'calendar' or 'rolling'", "--set", "window=weekly"),
        ("--to needs --from", "--to", "2020-11-01"),
    ):
        assert message in refused(2, *options)
    assert settled_job.metrics()["status"] == "failed"
    with another_run(str(settled_job.root / "warehouse")):
        assert "another run holds the warehouse: run run-1" in refused(5)

    header = settled_job.land("pays", "pay_date;total;user_id;value_prop", name="wrong.csv")
    told = refused(1)
    assert "wrong.csv: its columns are separated by semicolons; write commas between them" in told
    header.unlink()
    assert settled_job.read(ETL_RUNS).count() == entered

    few = ("--set", "quality.min_records={pays: 1000000}")
    assert "jobs/value_props.py --accept-gate records" in refused(3, *few)
    assert settled_job.metrics()["status"] == "stopped"
    # Accepted, it runs into the next gate, which holds just the files.
    assert settled_job.run(*few, "--accept-gate", "records", "--set", "quality.max_age_hours={prints: 1}") == 0
    assert settled_job.metrics()["publish"] == "held"
    states = [(gate["gate"], gate["dataset"], gate["state"]) for gate in settled_job.metrics()["gates"]]
    assert states == [("freshness", "prints", "held"), ("records", "pays", "accepted")]
    assert published(settled_job) == files
    before, entries = settled_job.versions(), settled_job.read(QUARANTINE).count()

    settled_job.land("prints", event("2999-01-01"), event("2020-11-31"), "{broken", name="prints.jsonl")
    assert "no print is valid, so there is no reference date" in refused(3)
    runs = settled_job.read(ETL_RUNS).where("job = 'value_props'").orderBy("started_at").collect()
    statuses = [("done", True), ("done", True), ("stopped", False), ("done", True), ("failed", False)]
    assert [(row["status"], row["message"] is None) for row in runs] == statuses
    assert settled_job.read(QUARANTINE).count() == entries


@pytest.mark.torture
def test_a_week_that_is_named_is_left_without_rows_when_it_has_no_prints(
    settled_job: FeatureJob, feature_sample: FeatureSample, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a valid print at all: just that week is emptied, warnings tell it, and its results are kept."""
    settled_job.land("prints", event("2999-01-01"), event("2020-11-31"), "{broken", name="prints.jsonl")
    assert settled_job.run("--as-of", "2020-11-25", "--json") == 0
    metrics = json.loads(capsys.readouterr().out)
    assert (metrics["rows"], metrics["clicked_rows"], metrics["valid_prints"]) == (0, 0, 0)
    assert (metrics["reference_date"], metrics["target_week_complete"]) == ("2020-11-25", False)
    assert metrics["weeks"] == {"2020-11-23": {"rows": 0, "clicked_rows": 0}}
    assert table_rows(settled_job) == feature_sample.latest.rows
    assert (
        settled_job.final_csv == b"day,user_id,position,value_prop,clicked,views_3w,clicks_3w,payments_3w,amount_3w\n"
    )
    weeks = ["2020-11-02", "2020-11-09", "2020-11-16", "2020-11-23"]
    assert metrics["warnings"] == [
        "the prints do not cover the target week to its Sunday: 2020-11-23",
        f"the week has no prints: {', '.join(weeks)}",
    ]
    earlier = feature_sample.earlier.metrics["run_id"]
    assert week_results(settled_job, earlier) == {
        "target_week_complete": ("warn", 1, 0, []),
        "week_has_prints": ("warn", 4, 0, []),
        "week_not_thin": ("warn", 4, 0, []),
    }
    assert week_results(settled_job, metrics["run_id"]) == {
        "target_week_complete": ("warn", 1, 1, ["2020-11-23"]),
        "week_has_prints": ("warn", 4, 4, weeks),
        "week_not_thin": ("warn", 4, 0, []),
    }
    history = settled_job.read(DQ_RESULTS).where("dataset = 'prints' AND rule = 'day_is_date'").orderBy("checked_at")
    assert [(row["checked"], row["failed"]) for row in history.collect()] == [(49, 4), (49, 4), (3, 1)]


@pytest.mark.torture
def test_a_thin_or_empty_week_is_a_warning_with_a_history(feature_job: FeatureJob) -> None:
    """Ten prints, none, ten, four: the empty week and the thin one are told, and no longer when they have come."""
    weeks = {date(2020, 11, 2): 10, date(2020, 11, 16): 10, date(2020, 11, 23): 4}
    feature_job.land("prints", *(event(str(week + timedelta(days=6))) for week, n in weeks.items() for _ in range(n)))
    feature_job.land("pays", HEADER)
    feature_job.land("taps", event("2020-11-29"))
    assert feature_job.run("--set", "window_weeks=2") == 0
    first = feature_job.metrics()
    assert first["warnings"] == [
        "the week has no prints: 2020-11-09",
        "the week has far fewer prints than the one before (min_week_share): 2020-11-09, 2020-11-23",
    ]
    feature_job.land("prints", *[event("2020-11-12")] * 9, *[event("2020-11-23")], name="late")
    assert feature_job.run("--set", "window_weeks=2") == 0
    second = feature_job.metrics()
    assert second["warnings"] == []
    assert feature_job.run("--set", "window_weeks=2", "min_week_share=0.9") == 0
    third = feature_job.metrics()
    assert third["warnings"] == ["the week has far fewer prints than the one before (min_week_share): 2020-11-23"]
    found = [week_results(feature_job, run["run_id"]) for run in (first, second, third)]
    assert [results["week_has_prints"] for results in found] == [
        ("warn", 3, 1, ["2020-11-09"]),
        ("warn", 3, 0, []),
        ("warn", 3, 0, []),
    ]
    assert [results["week_not_thin"] for results in found] == [
        ("warn", 3, 2, ["2020-11-09", "2020-11-23"]),
        ("warn", 3, 0, []),
        ("warn", 3, 1, ["2020-11-23"]),
    ]
    assert {tuple(results["target_week_complete"][1:3]) for results in found} == {(1, 0)}


@pytest.mark.torture
def test_a_rule_with_severity_fail_closes_the_gate(
    feature_job: FeatureJob, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rules = Path("conf/rules.yaml").read_text(encoding="utf-8")
    strict = tmp_path / "rules.yaml"
    strict.write_text(
        rules.replace(
            "severity: warn\n    check: amount IS NULL OR amount >= 0",
            "severity: fail\n    check: amount IS NULL OR amount >= 0",
        )
    )
    feature_job.land("prints", event("2020-11-23"))
    feature_job.land("taps")
    feature_job.land("pays", HEADER, pay("2020-11-20", "-1"), pay("2020-11-20", "1"))
    assert feature_job.run("--set", f"rules={strict}") == 3
    assert "pays: 1 records broke total_not_negative" in capsys.readouterr().err
    assert table_rows(feature_job) == Counter()
    assert feature_job.run() == 0
    assert rows_of(feature_job) == ["2020-11-23,u,0,point,0,0,0,2,0.0000"]
    assert [row["status"] for row in feature_job.read(ETL_RUNS).orderBy("started_at").collect()] == ["failed", "done"]


@pytest.mark.parametrize("step", ["replace_weeks", "publish_file", "write_run"])
@pytest.mark.slow
def test_a_run_that_was_cut_off_is_mended_by_the_next(
    feature_job: FeatureJob, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    feature_job.land("prints", event("2020-11-02"), event("2020-11-23"), "{broken")
    feature_job.land("taps", event("2020-11-23"))
    feature_job.land("pays", HEADER, pay("2020-11-20"))
    assert feature_job.run() == 0
    feature_job.land("pays", HEADER, pay("2020-11-20", "2"))

    def cut_off(*_: object, **__: object) -> None:
        raise OSError("the power went")

    with monkeypatch.context() as patched:
        patched.setattr(f"etl_lib.value_props.feature_run.{step}", cut_off)
        assert feature_job.run() == 1
    assert feature_job.metrics()["message"] == "OSError: the power went"
    assert feature_job.run() == 0
    assert rows_of(feature_job) == ["2020-11-23,u,0,point,1,1,0,1,2.0000"]
    assert sorted(row[9] for row in table_rows(feature_job)) == [Decimal(2)]
    assert feature_job.read(QUARANTINE).count() == 1
    assert [row["status"] for row in feature_job.read(ETL_RUNS).collect()] == ["done", "done"]
    assert sorted(path.name for path in (feature_job.output / "value_props").iterdir()) == [
        "final.csv",
        "final.parquet",
    ]
    read = Counter((row["dataset"], row["modified_at"]) for row in feature_job.read(ETL_FILES).collect())
    assert set(read.values()) == {1}, "each version of a file is in the ledger once"


# --- beside the orders job ------------------------------------------------------------------------------------------


@pytest.fixture
def orders_job(feature_job: FeatureJob) -> Job:
    """The orders job on the tables and the output of the features."""
    job = Job(feature_job.spark, feature_job.root)
    (job.landing / "orders").mkdir()
    return job


@pytest.mark.slow
def test_both_jobs_share_a_warehouse(
    feature_job: FeatureJob, orders_job: Job, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    orders_job.land("a.jsonl", order("o1", items=2), "{broken")
    assert orders_job.run() == 0
    orders_job.land("b.jsonl", order("o1", items=1, updated_at="2024-06-01"), order("o2"))

    def cut_off(*_: object) -> None:
        raise OSError("the power went")

    with monkeypatch.context() as patched:
        patched.setattr("etl_lib.applying.steps.apply_dim_order", cut_off)
        assert orders_job.run() == 1
    before = orders_job.tables.versions(ORDER_TABLES)

    # the features do not finish, change or count what the orders job left
    feature_job.land("prints", event("2020-11-23"), "{broken")
    feature_job.land("taps", event("2020-11-23"))
    feature_job.land("pays", HEADER, pay("2020-11-20"))
    assert feature_job.run() == 0
    assert rows_of(feature_job) == ["2020-11-23,u,0,point,1,0,0,1,1.0000"]
    now = orders_job.tables.versions(BOTH_JOBS)
    assert moved(before, now) == {"value_prop_features", "quarantine", *LEDGER}
    assert not feature_job.metrics().get("finished_runs")
    assert feature_job.metrics()["rejected_prints"] == 1

    # nor does a plan of the features stand in the way of the orders, which finish what they had begun
    assert feature_job.run("--plan", "--as-of", "2020-11-18") == 0
    now = orders_job.tables.versions(BOTH_JOBS)
    capsys.readouterr()
    assert orders_job.run() == 0
    assert "Finished first" in capsys.readouterr().out
    assert len(orders_job.metrics()["finished_runs"]) == 1
    assert (len(lines_of(orders_job, "o1")), len(lines_of(orders_job, "o2"))) == (1, 1)
    changed = moved(now, orders_job.tables.versions(BOTH_JOBS))
    assert not changed & {"value_prop_features", "etl_events", "quarantine"}
    assert {row["dataset"]: row["position"] for row in orders_job.read(QUARANTINE).collect()} == {
        "orders": 2,
        "prints": 2,
    }
    assert orders_job.run() == 0
    assert orders_job.metrics()["input_orders"] == 0
    jobs = [(row["job"], row["status"]) for row in orders_job.read(ETL_RUNS).orderBy("started_at").collect()]
    assert jobs == [("orders", "done"), ("orders", "done"), ("value_props", "done"), ("value_props", "planned")]
    datasets = {row["dataset"] for row in orders_job.read(ETL_FILES).collect()}
    assert datasets == {"orders", *DATASETS}
    assert orders_job.read(FACT_SALES).count() == 2


@pytest.mark.torture
def test_a_plan_of_the_features_is_none_that_the_orders_job_applies(
    feature_job: FeatureJob, orders_job: Job, capsys: pytest.CaptureFixture[str]
) -> None:
    feature_job.land("prints", event("2020-11-23"))
    feature_job.land("taps")
    feature_job.land("pays", HEADER)
    assert feature_job.run("--plan") == 0
    run_id = feature_job.metrics()["run_id"]
    capsys.readouterr()
    assert orders_job.run("--apply", run_id) == 1
    error = capsys.readouterr().err
    assert f"{run_id} is no plan that waits to be applied" in error
    assert "Traceback" not in error
