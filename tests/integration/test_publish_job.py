"""The publish job, and the orders job that publishes: what they publish when, tell, enter and refuse."""

from __future__ import annotations

import json
import shutil
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import functions as F

from etl_lib.tables.schemas import DIM_USER, ETL_PUBLISHES
from tests.integration.test_orders_job import files_under, order
from tests.job import Job
from tests.prometheus_text import one, values_in
from tests.publishing import PublishingJob, summary


@pytest.fixture
def publishing(job: Job) -> PublishingJob:
    """The cheapest sink: what holds for one holds for all."""
    places = [f"publish.parquet.path={job.root / 'published'}", f"telling.metrics.folder={job.root / 'prometheus'}"]
    return PublishingJob(job, ["sinks=[parquet]", *places])


def prometheus_has(file: Path, metrics: dict[str, Any]) -> None:
    """What a real run leaves for Prometheus is what its metrics say."""
    values, tables = values_in(file), metrics["tables"]
    assert values["last_run_records"] == {
        (("dataset", "orders"), ("outcome", outcome)): n
        for outcome, n in metrics["datasets"]["orders"]["outcomes"].items()
    }
    assert values["table_rows"] == {(("table", name),): each["rows_after"] for name, each in tables.items()}
    for unit in ("files", "bytes"):
        added = {(("table", name),): each[f"{unit}_added"] for name, each in tables.items() if f"{unit}_added" in each}
        assert values[f"last_run_table_added_{unit}"] == added
        assert added[("table", "fact_sales"),] > 0
    assert {label for ((_, label),) in values["last_run_step_seconds"]} == {each["name"] for each in metrics["steps"]}
    newest = datetime.fromisoformat(metrics["datasets"]["orders"]["newest"]).timestamp()
    assert values["dataset_newest_timestamp_seconds"] == {(("dataset", "orders"),): newest}
    assert values["sink_up_to_date_timestamp_seconds"] == {
        (("sink", "parquet"),): one(values["last_run_timestamp_seconds"])
    }


@pytest.mark.slow
def test_what_is_published_when(publishing: PublishingJob, capsys: pytest.CaptureFixture[str]) -> None:
    job = publishing.job
    published = job.root / "published"
    # There is nothing yet.
    assert publishing.publish() == 1
    assert "has no table etl_runs" in capsys.readouterr().err

    # A plan of the orders job does not speak of publishing; a plan of the publish job writes nothing.
    job.land("a.jsonl", order("o1", items=2), order("o2", 2))
    assert job.run() == 0
    capsys.readouterr()
    assert publishing.run("--plan") == 0
    assert "parquet" not in capsys.readouterr().out
    assert "publishes" not in job.metrics()
    assert publishing.publish("--plan") == 0
    printed = capsys.readouterr().out
    assert "Planned for parquet" in printed
    assert "the sink shows no publish yet" in printed
    assert not published.exists()
    assert not (job.root / "prometheus" / "orders_lakehouse_orders.prom").exists()
    assert job.tables.present([ETL_PUBLISHES]) == []

    # A sink that lags behind is served also when there is nothing new to load.
    assert publishing.run("--json") == 0
    told = summary(capsys.readouterr().out)["publishes"]["parquet"]
    assert (told["status"], told["is_full"], told["rows"]["fact_sales"]) == ("complete", True, 3)
    assert publishing.entries("publish_id", "status", "is_full", "address") == [
        (told["publish_id"], "complete", True, str(published))
    ]
    files, entered = files_under(published), job.tables.version(ETL_PUBLISHES)
    assert publishing.run() == 0
    assert "Nothing new for parquet" in capsys.readouterr().out
    assert (files_under(published), job.tables.version(ETL_PUBLISHES)) == (files, entered)

    # Undoing a run is a change like any other.
    job.land("b.jsonl", order("o1", items=1, updated_at="2024-06-01T00:00:00Z"))
    assert publishing.run() == 0
    assert publishing.told("parquet")["groups"]["dim_order"] == 1
    prometheus_has(job.root / "prometheus" / "orders_lakehouse_orders.prom", job.metrics())
    undone = job.metrics()["run_id"]
    assert job.maintain("restore", "--run", undone) == 0
    assert publishing.publish() == 0
    told = publishing.told("parquet")
    assert (told["is_full"], told["groups"]["dim_order"], told["rows"]["fact_sales"]) == (False, 1, 2)

    # All of it on demand.
    assert publishing.publish("--full", "--sink", "parquet") == 0
    assert publishing.told("parquet")["reason"] == "it was asked for"
    [*_, last] = publishing.entries("is_full", "groups", "rows", "message")
    assert (last[0], last[1], last[2]["dim_order"], last[3]) == (True, {}, 2, None)

    # And without being asked when a table was made anew: the same version number as before, of another table.
    users = job.read(DIM_USER).collect()
    version = job.tables.version(DIM_USER)
    shutil.rmtree(job.root / job.name / DIM_USER.name)
    job.tables.create([DIM_USER])
    for _ in range(version):
        job.tables.append(DIM_USER, job.spark.createDataFrame(users, DIM_USER.schema))
    assert publishing.publish("--plan") == 0
    assert publishing.told("parquet")["reason"] == "made anew since its last publish: dim_user"


def test_a_failing_sink_does_not_keep_the_others_waiting(
    loaded_job: Job, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are named, with their settings, in a configuration file."""
    job = loaded_job
    monkeypatch.setenv("PUBLISH_PASSWORD", "no-such-password")
    text = f"""
        warehouse: {job.root / "warehouse"}
        output: {job.output}
        rules: {Path(__file__).resolve().parents[2] / "conf" / "rules.yaml"}
        input: {{orders: {job.landing / "orders"}}}
        sinks: [postgres, parquet]
        publish:
          parquet: {{path: lake}}
          postgres: {{url: "jdbc:postgresql://127.0.0.1:1/shop", user: nobody, password: "${{PUBLISH_PASSWORD}}"}}
    """
    (tmp_path / "shop.yaml").write_text(text)
    of_the_file = ("--config", str(tmp_path / "shop.yaml"))
    publishing = PublishingJob(job, [])
    job.land("a.jsonl", order("new"))
    assert publishing.run(*of_the_file, "--json") == 1
    printed = capsys.readouterr()
    told = summary(printed.out)
    assert told["outcomes"]["inserted"] == 1
    assert told["publishes"]["parquet"]["status"] == "complete"
    assert "postgres: cannot connect to jdbc:postgresql://127.0.0.1:1/shop as nobody" in told["message"]
    assert "jobs/publish.py tries again" in printed.err
    assert publishing.entries("sink", "status") == [("postgres", "failed"), ("parquet", "complete")]
    assert job.read(ETL_PUBLISHES).where(F.col("message").contains("cannot connect")).count() == 1
    # Relative to the file, like every location in it.
    manifest = json.loads((tmp_path / "lake" / "_manifest.json").read_text())
    assert manifest["publish_id"] == told["publishes"]["parquet"]["publish_id"]
    assert publishing.publish(*of_the_file, "--sink", "parquet") == 0


@pytest.mark.parametrize(
    ("settings", "options", "told"),
    [
        ([], [], "sinks: none is configured"),
        (["sinks=[parquet]"], [], "publish: Value error, sinks names parquet; needs publish.parquet"),
        (["sinks=[parquet, s3]"], [], "sinks.1: Input should be 'parquet', 'postgres' or 'redshift'"),
        (["sinks=[parquet, parquet]", "publish.parquet.path=p"], [], "sinks names a sink twice"),
        (["sinks=[parquet]", "publish.parquet.path=p"], ["--sink", "postgres"], "--sink postgres: not among the"),
        (
            ["sinks=[postgres]", "publish.postgres.url=jdbc:postgresql://h/d", "publish.postgres.user=u",
             "publish.postgres.password=secret"],
            [],
            "publish.postgres.password: a secret is given by reference",
        ),
        (
            ["sinks=[postgres]", "publish.postgres.url=jdbc:postgresql://h/d?sslmode=disable",
             "publish.postgres.user=u", "publish.postgres.password=${NO_SUCH_VARIABLE}"],
            [],
            "expected jdbc:postgresql://host:port/database, without parameters",
        ),
        (
            ["sinks=[postgres]", "publish.postgres.url=jdbc:postgresql://h/d", "publish.postgres.user=u",
             "publish.postgres.password=${NO_SUCH_VARIABLE}"],
            [],
            "the environment variable NO_SUCH_VARIABLE is not set",
        ),
        (
            ["sinks=[redshift]", "publish.redshift.database=d", "publish.redshift.staging=/local"],
            [],
            "expected s3a://bucket/folder or s3://bucket/folder",
        ),
        (
            ["sinks=[redshift]", "publish.redshift.database=d", "publish.redshift.staging=s3a://bucket/folder"],
            [],
            "redshift: give either a workgroup (serverless) or a cluster",
        ),
    ],
    ids=lambda value: None if isinstance(value, list) else value[:40],
)  # fmt: skip
def test_a_configuration_that_cannot_be_published_with_is_refused(
    job: Job, settings: list[str], options: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert PublishingJob(job, settings).publish(*options) == 2
    assert told in capsys.readouterr().err
