"""Files as strangers send them: that cannot be read, under names that look like patterns, in encodings and layouts."""

from __future__ import annotations

import bz2
import gzip
import json
from pathlib import Path

import pytest
from pyspark.sql import functions as F

from etl_lib.tables.schemas import DIM_PRODUCT, DIM_USER, ETL_FILES, ETL_RUNS, QUARANTINE
from tests.integration.test_orders_job import order, outcomes
from tests.job import Job

SET_ASIDE = ("--set", "input.damaged=set_aside")
TOO_EARLY = "it ends too early, as if it was cut off; send it again"


def lines(*ids: str) -> bytes:
    return "".join(json.dumps(order(name)) + "\n" for name in ids).encode()


def told_of(job: Job) -> dict[str, str]:
    """Why each file was set aside, by its name."""
    return {Path(file["path"]).name: file["reason"] for file in job.metrics()["set_aside"]}


@pytest.mark.slow
def test_files_that_cannot_be_read_stop_the_run_or_wait_until_they_change(
    loaded_job: Job, capsys: pytest.CaptureFixture[str]
) -> None:
    job = loaded_job
    folder, known, before = job.landing / "orders", job.read_keys(), job.versions()
    whole = lines(*(f"cut{number}" for number in range(200)))
    packed = gzip.compress(whole)
    (folder / "cut.jsonl.gz").write_bytes(packed[: len(packed) // 2])
    bent = bytearray(bz2.compress(whole))
    bent[len(bent) // 2] ^= 0xFF
    (folder / "bent.jsonl.bz2").write_bytes(bent)
    (folder / "none.jsonl.zst").write_bytes(lines("x1"))
    (folder / "a:b.jsonl").write_bytes(lines("x2"))
    (folder / "good\\ one.jsonl").write_bytes(lines("o1"))
    causes = {
        "cut.jsonl.gz": f"{TOO_EARLY} (EOFException: Unexpected end of input stream)",
        "bent.jsonl.bz2": "it is broken and cannot be decompressed; send it again",
        "none.jsonl.zst": "it is not compressed as its name says; rename it",
        "a:b.jsonl": "Hadoop reads no file with a colon in its name; rename it",
    }
    assert job.run() == 1
    message = job.metrics()["message"]
    for name, cause in causes.items():
        assert f"{folder}/{name}: {cause}" in message.replace("file:", "")
    assert message.endswith("Or set input.damaged to set_aside, and all others are loaded without them")
    assert "\tat org.apache" not in capsys.readouterr().err
    assert job.versions() == before

    by_glob = (*SET_ASIDE, "--set", f"input.orders={folder}/*.jsonl*")
    assert job.run(*by_glob, "--plan") == 0
    shown = capsys.readouterr().out
    assert f"Set aside orders file:{folder}/cut.jsonl.gz: {TOO_EARLY}" in shown
    assert "1 to insert" in shown
    assert job.run("--apply", job.metrics()["run_id"]) == 0
    assert {name: reason.startswith(causes[name]) for name, reason in told_of(job).items()} == dict.fromkeys(
        causes, True
    )
    assert job.read_keys() - known == {"o1"}
    loaded = job.read(ETL_FILES).where(F.col("run_id") == job.metrics()["run_id"]).collect()
    assert [Path(row["path"]).name for row in loaded] == ["good\\ one.jsonl"]

    # as they are they wait, told in every run and never read; `stop` would read them
    runs = job.read(ETL_RUNS).count()
    assert job.run(*by_glob) == 0
    assert told_of(job).keys() == causes.keys()
    assert f"Set aside orders file:{folder}/a:b.jsonl" in capsys.readouterr().out
    assert job.read(ETL_RUNS).count() == runs

    (folder / "cut.jsonl.gz").write_bytes(packed)
    assert job.run(*SET_ASIDE) == 0
    assert outcomes(job) == {"inserted": 200}
    assert told_of(job).keys() == causes.keys() - {"cut.jsonl.gz"}


@pytest.mark.slow
def test_what_exists_under_exactly_that_name_is_read(loaded_job: Job, capsys: pytest.CaptureFixture[str]) -> None:
    """And files joined with their marks, UTF-16 and one object are what they say."""
    job = loaded_job
    folder = job.landing / "orders [1]"
    folder.mkdir()
    (folder / "joined.jsonl").write_bytes(lines("o1") + "\ufeff".encode() + lines("o2"))
    (folder / "wide.json").write_bytes(json.dumps([order("o3"), order("o4")], indent=1).encode("utf-16"))
    pretty = json.dumps({"orders": [order("x")]}, indent=1)
    (folder / "one.json").write_text(pretty)
    users = job.landing / "_users {1}.csv.gz"
    users.write_bytes(gzip.compress(b"user_id,email,created_at,country\nu1,,,DE\n"))
    locations = {"orders": folder, "users": users, "products": job.landing / "p*.csv"}
    options = [f"--set=input.{name}={location}" for name, location in locations.items()]
    assert job.run(*options) == 0
    assert outcomes(job) == {"inserted": 4, "rejected": 1}
    entries = job.read(QUARANTINE).select("raw", "reasons.rule").collect()
    assert [tuple(row) for row in entries] == [(pretty, ["one_object"])]
    assert [row["country"] for row in job.read(DIM_USER).where("NOT is_inferred").collect()] == ["DE"]
    assert job.read(DIM_PRODUCT).where("NOT is_inferred").count() == 0
    no_file = f"No file at input.products: {job.landing}/p*.csv"
    assert no_file in capsys.readouterr().out
    assert job.metrics()["unmatched"] == {"products": f"{job.landing}/p*.csv"}
    assert job.run(*options) == 0
    shown = capsys.readouterr().out
    assert "Nothing new" in shown
    assert no_file in shown
