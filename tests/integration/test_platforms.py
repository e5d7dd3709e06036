"""The same job on other ground: other pairs of Spark and Delta, Spark Connect, tables by catalog name, odd paths."""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import pytest
from pyspark.sql import SparkSession

from etl_lib.process.faults import VARIABLE
from etl_lib.tables.schemas import ORDER_TABLES
from tests.conftest import TEST_SPARK
from tests.connect_server import spark_connect_server
from tests.job import FeatureJob, Job
from tests.killing import DyingJob, contents, copy_of
from tests.terminal import terminal

ROOT = Path(__file__).resolve().parents[2]
ORDER = {"order_id": "o1", "user_id": "u1", "amount": 5, "currency": "EUR", "created_at": "2024-05-01T10:00:00Z"}
ITEMS = {"items": [{"sku": "S1", "qty": 1, "price": 5}], "metadata": {"source": "web"}}
OWN_DISK = Path("/proc/self/cwd")
"""A path that leads each process to its own working directory."""
PRINT = {"day": "2020-11-23", "event_data": {"position": 0, "value_prop": "point"}, "user_id": 1}
PAYS = ("pay_date,total,user_id,value_prop", "2020-11-20,2.5,1,point", "2020-11-20,x,1,point")
FINAL = "day,user_id,position,value_prop,clicked,views_3w,clicks_3w,payments_3w,amount_3w\n"
FINAL += "2020-11-23,1,0,point,1,0,0,1,2.5000\n"


@pytest.mark.slow
def test_tables_are_found_by_catalog_name(spark: SparkSession, job: Job) -> None:
    job.land("a.jsonl", ORDER | ITEMS)
    spark.sql("CREATE SCHEMA IF NOT EXISTS named_orders")
    try:
        by_name = ("--set", "warehouse=catalog:spark_catalog.named_orders")
        assert job.run(*by_name) == 0
        job.land("b.jsonl", ORDER | {"items": [], "updated_at": "2024-06-01T00:00:00Z"})
        assert job.run(*by_name) == 0
        assert job.metrics()["outcomes"]["updated"] == 1
        assert spark.table("named_orders.dim_order").count() == 1
        assert spark.table("named_orders.fact_sales").isEmpty()
    finally:
        spark.sql("DROP SCHEMA named_orders CASCADE")


@pytest.mark.torture
def test_features_are_found_by_catalog_name(spark: SparkSession, feature_job: FeatureJob) -> None:
    feature_job.land("prints", PRINT, "{broken")
    feature_job.land("taps", PRINT)
    feature_job.land("pays", *PAYS)
    spark.sql("CREATE SCHEMA IF NOT EXISTS named_features")
    try:
        for _ in range(2):
            assert feature_job.run("--set", "warehouse=catalog:spark_catalog.named_features") == 0
            assert feature_job.final_csv.decode() == FINAL
            assert spark.table("named_features.value_prop_features").count() == 1
            assert spark.table("named_features.quarantine").count() == 2
    finally:
        spark.sql("DROP SCHEMA named_features CASCADE")


@pytest.mark.slow
def test_a_warehouse_and_files_with_awkward_names(job: Job) -> None:
    orders = job.landing / "orders" / "day=2024-05-01" / "a b+c%20[1]"
    orders.mkdir(parents=True)
    text = (json.dumps(ORDER | ITEMS) + "\r\n\r\n").encode("utf-8-sig")
    (orders / "x.jsonl.gz").write_bytes(gzip.compress(text))
    (orders / "empty.json").write_bytes(b"")
    (orders / "y.json").write_text(json.dumps([ORDER | {"order_id": "o2"}, {"order_id": None}], indent=2))
    assert job.run("--set", f"warehouse={job.root / 'ware house'}") == 0
    metrics = job.metrics()
    assert (metrics["outcomes"]["inserted"], metrics["outcomes"]["rejected"], metrics["blank_lines"]) == (2, 1, 1)
    assert job.run("--set", f"warehouse={job.root / 'ware house'}") == 0
    assert job.metrics()["input_orders"] == 0


@pytest.fixture(scope="module")
def server_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The working directory of the Spark Connect server."""
    return tmp_path_factory.mktemp("connect")


@pytest.fixture(scope="module")
def connect_server(server_folder: Path) -> Iterator[str]:
    """The address of a Spark Connect server, a process of its own."""
    with spark_connect_server(server_folder) as address:
        yield address


ENGINES = {
    "pair-4.0": "Apache-Spark/4.0.2 Delta-Lake/4.0.1",
    "pair-4.2": "Apache-Spark/4.2.0 Delta-Lake/4.4.0",
    "connect": "Apache-Spark/4.1.1 Delta-Lake/4.2.0",
}
"""The oldest pair, the newest and the project's own, as Delta enters them in the log of a table."""


@pytest.fixture
def platform(request: pytest.FixtureRequest, name: str) -> dict[str, str]:
    """The environment in which a job's process finds another pair of Spark and Delta, or a server."""
    if name == "connect":
        return {"SPARK_REMOTE": request.getfixturevalue("connect_server")}
    pair = ROOT / ".venv" / name
    return {"SPARK_HOME": str(pair / "pyspark"), "PYTHONPATH": f"{pair}:{ROOT}"}


def later_batch(job: Job) -> list[str]:
    """The options of the second batch of the sample."""
    return [f"--set=input.orders={job.landing / 'later'}", f"--set=input.users={job.landing / 'users_later.csv'}"]


@pytest.fixture(scope="module")
def after_both_batches(sample_job: Job, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[tuple[Any, ...]]]:
    """The tables with the whole sample, loaded in the session of the tests by two runs that nobody disturbed."""
    job = copy_of(sample_job, tmp_path_factory.mktemp("both-batches"))
    assert job.run(*later_batch(job)) == 0
    return contents(job)


@pytest.mark.slow
@pytest.mark.parametrize("name", ENGINES)
def test_a_run_that_died_is_finished_on_every_platform_and_the_tables_are_the_same(
    name: str,
    platform: dict[str, str],
    sample_job: Job,
    after_both_batches: dict[str, list[tuple[Any, ...]]],
    tmp_path: Path,
) -> None:
    job = DyingJob(sample_job.spark, tmp_path, landed=sample_job.landing)
    for_tests = [f"--set={name}={value}" for name, value in TEST_SPARK.items()]
    options = [*job.options(), *for_tests]
    died = run_process(platform | {VARIABLE: "fact_sales.after"}, "orders", tmp_path, *options)
    assert died.returncode == -signal.SIGKILL, died.stderr[-3000:]
    later = last_line(run_process(platform, "orders", tmp_path, *options, *later_batch(job), "--json"))
    assert len(later["finished_runs"]) == 1
    last_line(run_process(platform, "maintain", tmp_path, "check", *job.places(), *for_tests, "--json"))
    texts = [path.read_text(encoding="utf-8") for path in tmp_path.glob("warehouse/*/_delta_log/*.json")]
    log = [json.loads(line) for text in texts for line in text.splitlines()]
    assert {entry["commitInfo"]["engineInfo"] for entry in log if "commitInfo" in entry} == {ENGINES[name]}
    found = contents(job)
    for table, rows in after_both_batches.items():
        assert found[table] == rows, table


@pytest.mark.slow
@pytest.mark.skipif(not OWN_DISK.parent.is_dir(), reason="no /proc: both processes would see one disk")
def test_a_client_of_spark_connect_may_see_another_disk_than_its_server(
    tmp_path: Path, server_folder: Path, connect_server: str
) -> None:
    """Processes whose client has no JVM: everything goes through the Connect protocol.

    The same path leads each process to a folder of its own. In the client's there are tables of later versions.
    """
    warehouse = OWN_DISK / tmp_path.name
    for table in ORDER_TABLES:
        log = tmp_path / tmp_path.name / table.name / "_delta_log"
        log.mkdir(parents=True)
        (log / f"{99:020}.json").touch()
    landing = tmp_path / "orders"
    landing.mkdir()
    (landing / "a.jsonl").write_text(json.dumps(ORDER | ITEMS) + "\n{broken\n")
    (landing / "b.json").write_text(json.dumps([ORDER | {"order_id": "o2"}]))
    (tmp_path / "users.csv").write_text("user_id,email,created_at,country\nu1,a@example.org,2024-01-01,DE\n")
    settings = {"input.orders": landing, "input.users": tmp_path / "users.csv", "input.products": ""}
    settings |= {"warehouse": warehouse, "output": tmp_path / "output"}
    with terminal(columns=400) as (stream, screen):
        first = run_on_connect(connect_server, "orders", settings, tmp_path, stderr=stream)
    # The server tells how many tasks a query has done.
    assert any(re.search(r"  stage .* \d+ of \d+ tasks", line) for frame in screen.frames for line in frame)
    assert first["outcomes"] == dict.fromkeys(("updated", "unchanged", "stale", "superseded", "out_of_window"), 0) | {
        "inserted": 2,
        "rejected": 1,
    }
    (landing / "c.jsonl").write_text(json.dumps(ORDER | {"updated_at": "2024-06-01T00:00:00Z"}) + "\n")
    second = run_on_connect(connect_server, "orders", settings, tmp_path)
    assert second["outcomes"]["updated"] == 1
    for name, told in second["tables"].items():
        commits = (server_folder / tmp_path.name / name / "_delta_log").glob("*.json")
        assert told["version_after"] == max(int(commit.stem) for commit in commits), name
    third = run_on_connect(
        connect_server, "quarantine", settings, tmp_path, "replay", "--rule", "malformed_json", "--file", "a.*"
    )
    assert (third["input_orders"], third["replayed"], third["outcomes"]["rejected"]) == (1, 0, 1)
    entry = run_on_connect(connect_server, "quarantine", settings, tmp_path, "list")
    assert (
        run_on_connect(connect_server, "quarantine", settings, tmp_path, "show", entry["record_id"])["raw"] == "{broken"
    )


@pytest.mark.slow
def test_clients_of_one_catalog_take_turns_by_the_lease_and_a_dead_one_is_overtaken(
    tmp_path: Path, server_folder: Path, connect_server: str
) -> None:
    """By name there is no lock: the table `etl_lease` keeps the processes apart."""
    landing = tmp_path / "orders"
    landing.mkdir()
    (landing / "a.jsonl").write_text(json.dumps(ORDER | ITEMS) + "\n")
    texts = {"input.orders": landing, "input.users": "", "input.products": "", "output": tmp_path / "output"}
    texts |= {"warehouse": "catalog:spark_catalog.default", "lease.enabled": "true"}
    options = [f"--set={name}={value}" for name, value in texts.items()]
    platform = {"SPARK_REMOTE": connect_server}
    run = partial(run_process, platform, "orders", tmp_path, *options)
    command = [sys.executable, str(ROOT / "jobs" / "orders.py"), *options]
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | platform
    with (tmp_path / "holder.log").open("wb") as log:
        holder = subprocess.Popen(command, env=environment, cwd=tmp_path, stdout=log, stderr=log)
    try:
        taken = server_folder / "spark-warehouse" / "etl_lease" / "_delta_log" / f"{1:020}.json"
        while not taken.exists():
            assert holder.poll() is None, (tmp_path / "holder.log").read_text()[-3000:]
        holder.send_signal(signal.SIGSTOP)
        refused = run()
        assert (refused.returncode, "another run holds the warehouse: run " in refused.stderr) == (5, True)
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(
                run_process, platform, "orders", tmp_path, *options, "--set=lock_timeout_s=300", "--json"
            )
            holder.send_signal(signal.SIGCONT)
            assert holder.wait(timeout=300) == 0, (tmp_path / "holder.log").read_text()[-3000:]
            assert last_line(waiting.result())["input_orders"] == 0
    finally:
        holder.kill()

    (landing / "b.jsonl").write_text(json.dumps(ORDER | ITEMS | {"order_id": "o2"}) + "\n")
    killed = {**platform, VARIABLE: "fact_sales.after"}
    assert run_process(killed, "orders", tmp_path, *options, "--set=lease.expires_s=30").returncode == -signal.SIGKILL
    heir = last_line(run("--set=lock_timeout_s=120", "--json"))
    assert len(heir["finished_runs"]) == 1
    assert last_line(run("--full", "--json"))["outcomes"]["unchanged"] == 2


@pytest.mark.torture
def test_the_features_are_computed_on_spark_connect(tmp_path: Path, connect_server: str) -> None:
    settings = {name: tmp_path / name for name in ("warehouse", "output")}
    for name, lines in (("prints", [json.dumps(PRINT), "{broken"]), ("taps", [json.dumps(PRINT)]), ("pays", PAYS)):
        settings[f"input.{name}"] = tmp_path / name
        (tmp_path / name).write_text("\n".join(lines) + "\n")
    for _ in range(2):
        metrics = run_on_connect(connect_server, "value_props", settings, tmp_path)
        assert (metrics["rows"], metrics["clicked_rows"]) == (1, 1)
        assert metrics["outcomes"] == {"valid": 3, "rejected": 2}
        assert (tmp_path / "output" / "value_props" / "final.csv").read_text() == FINAL


def run_on_connect(
    server: str, job: str, settings: Mapping[str, object], folder: Path, *words: str, stderr: TextIO | None = None
) -> dict[str, Any]:
    """What a job printed last that ran in a process of its own as a client of Spark Connect: its metrics, say."""
    options = [f"--set={name}={value}" for name, value in settings.items()]
    environment = {"SPARK_REMOTE": server, "TERM": "xterm"}
    return last_line(run_process(environment, job, folder, *words, *options, "--json", stderr=stderr))


def run_process(
    environment: Mapping[str, str], job: str, folder: Path, *arguments: str, stderr: TextIO | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a job in a process of its own."""
    return subprocess.run(
        [sys.executable, str(ROOT / "jobs" / f"{job}.py"), *arguments],
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=stderr or subprocess.PIPE,
        text=True,
        timeout=600,
        check=False,
    )


def last_line(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The JSON object that a job printed last; the job must have succeeded."""
    assert done.returncode == 0, (done.stderr or "")[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found
