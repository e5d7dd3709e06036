"""Inputs without a record, each beside a filled one, in batches that are too large for the settings of small runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import Observation, SparkSession

from etl_lib.tables.counting import observed
from etl_lib.tables.schemas import DAILY_SALES, DIM_PRODUCT, DIM_USER, ETL_FILES, QUARANTINE
from tests.feature_tables import table_rows
from tests.integration.test_orders_job import lines_of, order, outcomes
from tests.integration.test_value_props_job import HEADER, event
from tests.job import FeatureJob, Job, Workplace
from tests.unit.test_counting import adaptive

USERS = "user_id,email,created_at,country\n"


@pytest.fixture(autouse=True)
def much_data(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No batch counts as small."""
    monkeypatch.setattr("etl_lib.process.tuning.NEW_BYTES", 0)
    with adaptive(spark):
        yield


@pytest.fixture(autouse=True)
def all_observed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of every input it is told how many records were read, as Spark 4.0 waits for ever for what it cannot tell."""

    def told(observation: Observation) -> Mapping[str, Any]:
        found = observed(observation)
        assert found is not None
        return found

    monkeypatch.setattr("etl_lib.tables.counting.observed", told)


def files_loaded(job: Workplace) -> dict[str, set[tuple[str, int]]]:
    """The files in the ledger by dataset: name and records of each."""
    found: dict[str, set[tuple[str, int]]] = {}
    for row in job.read(ETL_FILES).collect():
        found.setdefault(row["dataset"], set()).add((Path(row["path"]).name, row["records"]))
    return found


def records(job: Workplace) -> dict[str, int]:
    """How many records the last run had of each dataset."""
    return {name: counts["records"] for name, counts in job.metrics()["datasets"].items()}


@pytest.mark.slow
def test_orders_load_beside_empty_users_and_products_which_complete_them_later_beside_empty_orders(job: Job) -> None:
    """The sales of their days follow."""
    users, products = job.landing / "users.csv", job.landing / "products"
    users.write_text(USERS)
    products.mkdir()
    (products / "blank.csv").write_text("\n  \n\r\n")
    (products / "nothing.csv").touch()
    of_products = f"--set=input.products={products}"
    job.land("a.jsonl", order("o1", items=2), order("o2", 2, user_id="u2"), "{broken", "")
    assert job.run(of_products) == 0
    metrics = job.metrics()
    assert (metrics["input_orders"], metrics["valid_orders"], metrics["blank_lines"]) == (3, 2, 1)
    assert outcomes(job) == {"inserted": 2, "rejected": 1}
    assert records(job) == {"orders": 3, "users": 0, "products": 0}
    lines = [*lines_of(job, "o1"), *lines_of(job, "o2")]
    assert lines == [(date(2024, 5, 1), 1, "S1"), (date(2024, 5, 1), 2, "S2"), (date(2024, 5, 2), 1, "S1")]
    assert users_of(job) == {("u1", None, None, True), ("u2", None, None, True)}
    assert products_of(job) == {("S1", None, True), ("S2", None, True)}
    assert sales_of(job) == {(1, "unknown", "unknown"), (2, "unknown", "unknown")}
    assert [row["raw"] for row in job.read(QUARANTINE).collect()] == ["{broken"]
    loaded = {"orders": {("a.jsonl", 3)}, "users": {("users.csv", 0)}, "products": {("blank.csv", 0)}}
    assert files_loaded(job) == loaded  # a file without a byte is none

    users.write_text(f"{USERS}u1,old@example.org,2024-01-01,FR\nu1,new@example.org,,NL\nu3,,2024-01-01,FR\n")
    (products / "one.csv").write_text("price,category,name,sku\n1,toys,One,S1\n")
    job.land("b.jsonl", "", "  ", "\t")
    job.land("nothing.jsonl")
    assert job.run(of_products) == 0
    metrics = job.metrics()
    assert (metrics["input_orders"], metrics["valid_orders"], metrics["blank_lines"]) == (0, 0, 3)
    assert records(job) == {"orders": 0, "users": 3, "products": 1}
    assert outcomes(job) == {}
    assert {name: n for name, n in metrics["datasets"]["users"]["outcomes"].items() if n} == {
        "inserted": 1,
        "updated": 1,
        "superseded": 1,
    }
    assert users_of(job) == {
        *(("u1", "new@example.org", "NL", False), ("u2", None, None, True), ("u3", None, "FR", False)),
    }
    assert products_of(job) == {("S1", "toys", False), ("S2", None, True)}
    assert sales_of(job) == {(1, "NL", "toys"), (1, "NL", "unknown"), (2, "unknown", "toys")}
    assert [*lines_of(job, "o1"), *lines_of(job, "o2")] == lines
    loaded["orders"].add(("b.jsonl", 0))
    loaded["users"].add(("users.csv", 3))
    loaded["products"].add(("one.csv", 1))
    assert files_loaded(job) == loaded


def users_of(job: Job) -> set[tuple[str, str | None, str | None, bool]]:
    rows = job.read(DIM_USER).collect()
    return {(row["user_id"], row["email"], row["country"], row["is_inferred"]) for row in rows}


def products_of(job: Job) -> set[tuple[str, str | None, bool]]:
    return {(row["sku"], row["category"], row["is_inferred"]) for row in job.read(DIM_PRODUCT).collect()}


def sales_of(job: Job) -> set[tuple[int, str, str]]:
    """The days of May 2024 with the countries and categories that have sales."""
    return {(row["order_date"].day, row["country"], row["category"]) for row in job.read(DAILY_SALES).collect()}


@pytest.mark.slow
def test_features_are_computed_from_prints_alone(feature_job: FeatureJob) -> None:
    job = feature_job
    job.land("prints", event("2020-11-02"), event("2020-11-03", "v"), "{broken", "")
    job.land("taps", "", " ")
    job.land("taps", name="nothing")
    job.land("pays", HEADER, name="header.csv")
    job.land("pays", "", "\t", "", name="blank.csv")
    job.land("pays", name="nothing.csv")
    assert job.run() == 0
    assert inputs(job) == {"prints": (3, 2), "taps": (0, 0), "pays": (0, 0)}
    metrics = job.metrics()
    assert (metrics["blank_lines"], metrics["repeated_headers"], metrics["rows"]) == (1 + 2 + 3, 0, 2)
    week = date(2020, 11, 2)
    assert table_rows(job) == {
        (week, date(2020, 11, 2), "u", 0, "point", 0, 0, 0, 0, 0): 1,
        (week, date(2020, 11, 3), "v", 0, "point", 0, 0, 0, 0, 0): 1,
    }


def inputs(job: FeatureJob) -> dict[str, tuple[int, int]]:
    """The records of each dataset, and how many of them are valid."""
    metrics = job.metrics()
    return {name: (metrics[f"input_{name}"], metrics[f"valid_{name}"]) for name in records(job)}
