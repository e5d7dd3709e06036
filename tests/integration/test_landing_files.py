"""What becomes of landing files that change: rewritten, late, copied, growing, vanished, very many or very large."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from pyspark.sql import functions as F

from etl_lib.commands import orders, value_props
from etl_lib.deciding import staging
from etl_lib.tables.schemas import DIM_ORDER, ETL_FILES, FACT_SALES, QUARANTINE
from tests.integration.test_orders_job import data_versions, order, outcomes
from tests.job import FeatureJob, Job

SECOND = 1_714_550_400
"""A second of epoch time; Spark sees modification times in milliseconds."""


def dated(path: Path, millisecond: int = 0) -> Path:
    """A file with a modification time of its own, in milliseconds after SECOND."""
    time = SECOND * 1_000_000_000 + millisecond * 1_000_000
    os.utime(path, ns=(time, time))
    return path


def amounts(job: Job) -> dict[str, str]:
    """The amounts of the orders that were not there before the test."""
    amount = F.col("amount").cast("int").cast("string").alias("amount")
    rows = job.read(DIM_ORDER).where("order_id RLIKE '^o[0-9]$'").select("order_id", amount).collect()
    return {row["order_id"]: row["amount"] for row in rows}


def ledger(job: Job) -> list[tuple[str, int, int, int]]:
    """The file versions of orders that the ledger has of this test: name, size, milliseconds after SECOND, records."""
    here = F.col("path").contains(str(job.landing))
    of_orders = job.read(ETL_FILES).where(here & (F.col("dataset") == "orders"))
    files = of_orders.withColumn("millis", F.unix_millis("modified_at") - SECOND * 1000)
    rows = files.orderBy("path", "modified_at", "size").collect()
    return [(Path(row["path"]).name, row["size"], row["millis"], row["records"]) for row in rows]


def after_listing(
    monkeypatch: pytest.MonkeyPatch, change: Callable[[], object], of: ModuleType = orders, name: str = "files_to_read"
) -> None:
    """Have something happen to the files between listing and reading."""
    listed = getattr(of, name)

    def listed_and_changed(*arguments: Any, **options: Any) -> Any:
        found = listed(*arguments, **options)
        change()
        return found

    monkeypatch.setattr(of, name, listed_and_changed)


def before_writing(monkeypatch: pytest.MonkeyPatch, change: Callable[[], object]) -> None:
    """Have something happen to the files after the query is made and before it runs."""
    written = staging.write_stage

    def write_stage(*arguments: Any) -> Any:
        change()
        return written(*arguments)

    monkeypatch.setattr(staging, "write_stage", write_stage)


@pytest.mark.slow
def test_a_file_is_loaded_by_path_size_and_time_whatever_its_age(
    loaded_job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = loaded_job
    path = dated(job.land("a.jsonl", order("o1", amount=11), order("o2", amount=21)))
    other = dated(job.land("b.jsonl", order("o4", amount=41), "{broken"))
    (job.landing / "users.csv").write_text("user_id,email,created_at,country\nu1,,,DE\nXX\n")
    (job.landing / "products.csv").write_text("sku,name,category,price\nS1,One,toys,9.99\n")
    growing, torn = dated(job.land("growing.jsonl", order("o5", amount=51))), json.dumps(order("o7"))[:50]
    size, size_of_other, size_as_listed = (file.stat().st_size for file in (path, other, growing))

    def grow() -> None:
        with growing.open("a", encoding="utf-8") as file:
            file.write(json.dumps(order("o6", amount=61)) + "\n" + torn)
        dated(growing, 5)

    with monkeypatch.context() as patch:
        after_listing(patch, grow)
        assert job.run() == 0
    assert outcomes(job) == {"inserted": 5, "rejected": 2}
    assert amounts(job) == {"o1": "11", "o2": "21", "o4": "41", "o5": "51", "o6": "61"}
    assert {row["raw"] for row in job.read(QUARANTINE).where("dataset = 'orders'").collect()} == {"{broken", torn}

    # rewritten within the same second, as long as before: a millisecond makes it another version of the file; beside it
    # a file that is older than all that were loaded, and comes last, and one that was loaded under another name. Of the
    # file that grew the ledger has the size and the time that were listed: as it is now, it was never loaded
    dated(job.land("a.jsonl", order("o1", amount=12), order("o2", amount=21)), 1)
    late = dated(job.land("late.jsonl", order("o3", amount=31)), -86_400_000)
    dated(other.rename(other.with_name("c.jsonl")))
    assert path.stat().st_size == size
    assert job.run() == 0
    assert outcomes(job) == {"inserted": 1, "updated": 1, "unchanged": 4, "rejected": 2}
    assert amounts(job) == {"o1": "12", "o2": "21", "o3": "31", "o4": "41", "o5": "51", "o6": "61"}
    assert ledger(job) == [
        ("a.jsonl", size, 0, 2),
        ("a.jsonl", size, 1, 2),
        ("b.jsonl", size_of_other, 0, 2),
        ("c.jsonl", size_of_other, 0, 2),
        ("growing.jsonl", size_as_listed, 0, 3),
        ("growing.jsonl", growing.stat().st_size, 5, 3),
        ("late.jsonl", late.stat().st_size, -86_400_000, 1),
    ]

    # rewritten within the same millisecond, as long as before: nobody can tell from outside; `--full` looks inside
    dated(job.land("a.jsonl", order("o1", amount=13), order("o2", amount=21)), 1)
    assert job.run() == 0
    assert outcomes(job) == {}

    # where it finds what it knew, or rejects what it had rejected, no table changes; nor does a file that was touched
    before = data_versions(job)
    for name in ("users", "products"):
        os.utime(job.landing / f"{name}.csv", (2_000_000_000, 2_000_000_000))
    assert job.run("--full") == 0
    assert outcomes(job) == {"updated": 1, "unchanged": 5, "rejected": 2}
    members = {name: job.metrics()["datasets"][name]["outcomes"]["unchanged"] for name in ("users", "products")}
    assert members == {"users": 1, "products": 1}
    assert amounts(job) == {"o1": "13", "o2": "21", "o3": "31", "o4": "41", "o5": "51", "o6": "61"}
    kept = ("dim_user", "dim_product", "quarantine")
    assert {name: data_versions(job)[name] for name in kept} == {name: before[name] for name in kept}


def test_a_file_that_vanishes_stops_the_run(loaded_job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    job, before = loaded_job, loaded_job.versions()
    job.land("a.jsonl", order("o1"))
    path = job.land("b.jsonl", order("o2"))
    content, passed_over = path.read_bytes(), "spark.sql.files.ignoreMissingFiles"
    job.spark.conf.set(passed_over, "true")  # a session that would not mind
    try:
        for hook in (after_listing, before_writing):
            with monkeypatch.context() as patch:
                hook(patch, path.unlink)
                assert job.run() == 1
            assert f"{path} is gone since it was listed; no table was changed" in job.metrics()["message"]
            assert job.versions() == before
            path.write_bytes(content)
    finally:
        job.spark.conf.unset(passed_over)


def test_prints_that_vanish_stop_the_other_job_too(feature_job: FeatureJob, monkeypatch: pytest.MonkeyPatch) -> None:
    for dataset in ("prints", "taps"):
        feature_job.land(dataset, {"day": "2020-11-01", "event_data": {"value_prop": "point"}, "user_id": 1})
    feature_job.land("pays", "pay_date,total,user_id,value_prop")
    path = feature_job.landing / "prints" / "part-1"
    after_listing(monkeypatch, path.unlink, value_props, "files_to_read")
    assert feature_job.run() == 1
    assert f"{path} is gone since it was listed; no table was changed" in feature_job.metrics()["message"]


@pytest.mark.torture
@pytest.mark.timeout(600)
def test_two_thousand_tiny_files_are_one_run(job: Job) -> None:
    for number in range(2_000):
        job.land(f"{number:04}.jsonl", order(f"o{number}", day=1 + number % 28))
    assert job.run() == 0
    assert outcomes(job) == {"inserted": 2_000}
    assert job.metrics()["duration_s"] < 240
    assert job.read(ETL_FILES).where("records = 1").count() == 2_000
    assert job.read(FACT_SALES).count() == 2_000


@pytest.mark.torture
@pytest.mark.timeout(900)
def test_one_large_gzip_is_read_whole(job: Job) -> None:
    """A gzip cannot be split: one task reads all of it, and the place of each record stays that in the file."""
    path = job.landing / "orders" / "all.jsonl.gz"
    records, noise = 0, os.urandom(1 << 20).hex()
    with gzip.open(path, "wt", compresslevel=1, encoding="utf-8") as file:
        while path.stat().st_size < 50_000_000:
            promo = noise[(records * 397) % 1_900_000 :][:600]
            metadata = {"source": "web", "promo": promo}
            file.write(json.dumps(order(f"o{records}", metadata=metadata)) + "\n")
            records += 1
        file.write("{broken\n")
    assert job.run() == 0
    assert outcomes(job) == {"inserted": records, "rejected": 1}
    assert job.read(FACT_SALES).count() == records
    assert [row["position"] for row in job.read(QUARANTINE).collect()] == [records + 1]
