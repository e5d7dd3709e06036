"""The rules and their results as Great Expectations tells them, of a batch that the orders job has staged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from etl_lib.tables.schemas import DQ_RESULTS
from jobs import quality
from tests.integration.test_orders_job import order
from tests.job import Job

pytestmark = [pytest.mark.gx, pytest.mark.filterwarnings("default")]  # the warnings are those of Great Expectations


def test_the_checkpoint_says_what_the_ledger_says_and_shows_no_value_of_a_record(
    spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = Job(spark, tmp_path)
    kept = order("kept-id", user_id="secret-user")
    job.land("a.jsonl", kept, {**order("no-user"), "user_id": None}, {**order("odd"), "amount": "1,25"}, "{broken")
    rules = tmp_path / "rules.yaml"
    rules.write_text(
        """
        orders:
          user_id_given:
            {severity: warn, check: user_id IS NOT NULL, message: no user, owner: ann, threshold: {count: 1}}
          amount_read: {severity: reject, check: amount IS NOT NULL OR given.amount IS NULL, message: no number}
        """
    )
    by_rules = ["--set", f"rules={rules}"]
    assert job.run(*by_rules) == 0
    run_id = job.metrics()["run_id"]
    capsys.readouterr()
    assert quality.main(["export", *job.places(), *by_rules, "--json"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    [orders] = told["datasets"]
    failed = {row["rule"]: row["failed"] for row in job.read(DQ_RESULTS).where("dataset = 'orders'").collect()}
    assert (told["run_id"], orders["records"]) == (run_id, 4)
    assert set(orders["broken"]) == {"malformed_json", "amount_read"}, "one without a user is within the threshold"

    folder = Path(told["folder"])
    suite: dict[str, Any] = json.loads((folder / "suites" / "orders.json").read_text())
    of_user = next(each for each in suite["expectations"] if each["kwargs"]["column"] == "user_id_given")
    assert (of_user["severity"], of_user["kwargs"]["mostly"]) == ("warning", 0.75)
    assert of_user["meta"]["orders_lakehouse"] == {"severity": "warn", "owner": "ann"}
    results = json.loads((folder / "results" / "orders.json").read_text())
    unexpected = {
        each["expectation_config"]["kwargs"]["column"]: each["result"]["unexpected_count"]
        for each in results["results"]
    }
    assert unexpected == {rule: failed[rule] for rule in unexpected}
    pages = [path.read_text(encoding="utf-8") for path in folder.rglob("*") if path.suffix in {".html", ".json"}]
    assert (folder / "data_docs" / "index.html").is_file()
    assert not any("secret-user" in page or "kept-id" in page or "1,25" in page for page in pages)

    assert quality.main(["export", *job.places(), "--run", "20240101T000000Z-aaaaaa"]) == 1
    assert "has no stage of run 20240101T000000Z-aaaaaa" in capsys.readouterr().err
