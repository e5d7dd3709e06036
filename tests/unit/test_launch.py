"""What a command line needs of the Spark that is started for it: jars beyond its own, and options of Java."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from etl_lib.process import tuning
from etl_lib.process.tuning import FIRST_COMPILER_ONLY
from etl_lib.settings.config import Settings
from etl_lib.settings.launch import extra_jars, java_options, settings_of

JOB = "jobs/orders.py"


@pytest.mark.parametrize(
    ("arguments", "needed"),
    [
        pytest.param([JOB], [], id="the sample needs none"),
        pytest.param([JOB, "--set", "warehouse=s3a://lake/orders"], ["s3"], id="a warehouse on S3"),
        pytest.param(
            ["--conf", "a=b", JOB, "--set", "input.orders=S3://in/*.json", "--plan"], ["s3"], id="in capitals"
        ),
        pytest.param([JOB, "--set", "warehouse=w", "output=s3a://o", "--json"], ["s3"], id="second of two settings"),
        pytest.param(["jobs/query.py", "--set", "samples=5", "SELECT 's3a://'"], [], id="a query is no setting"),
        pytest.param([JOB, "--set", "warehouse=gs://lake/orders"], [], id="another store"),
        pytest.param([JOB, "--set", "no.such=s3a://x"], [], id="a mistake is the job's to tell"),
        pytest.param([JOB, "--config"], [], id="an option without its value"),
        pytest.param([JOB, "--config", "no-such.yaml"], [], id="a file that is not there"),
    ],
)
def test_the_configuration_tells_the_jars(arguments: list[str], needed: list[str]) -> None:
    settings = settings_of(arguments)
    assert (extra_jars(settings) if settings else []) == needed


def test_a_configuration_file_tells_them(tmp_path: Path) -> None:
    config = tmp_path / "lake.yaml"
    config.write_text("warehouse: s3://lake/orders\noutput: out\nrules: rules.yaml\ninput: {orders: in}\n")
    assert told([JOB, "--config", str(config)]) == ["s3", ""]


def test_sinks_tell_them_too(tmp_path: Path) -> None:
    config = tmp_path / "shop.yaml"
    config.write_text("""
        warehouse: lake
        output: out
        rules: rules.yaml
        input: {orders: in}
        sinks: [postgres, redshift]
        publish:
          postgres: {url: "jdbc:postgresql://db/shop", user: u, password: "${PASSWORD}"}
          redshift: {database: shop, workgroup: w, staging: "s3://lake/staging"}
    """)
    assert told(["jobs/publish.py", "--config", str(config)]) == ["postgres,s3", FIRST_COMPILER_ONLY]


def told(arguments: list[str]) -> list[str]:
    """The two lines that the launcher reads."""
    output = subprocess.check_output([sys.executable, "-m", "etl_lib.settings.launch", *arguments], text=True)
    assert output.endswith("\n")
    return output.removesuffix("\n").split("\n")


def test_a_mistake_needs_nothing_and_the_sample_one_compiler() -> None:
    assert told([JOB, "--set", "no.such=s3a://x"]) == ["", ""]
    assert told([JOB]) == ["", FIRST_COMPILER_ONLY]


@pytest.mark.parametrize("program", ["bench/orders_plain.py", "shop.py", "--version"])
def test_of_another_program_the_data_are_unknown(program: str) -> None:
    assert told(["--conf", "a=b", program]) == ["", ""]


def settings_with(folder: Path, **inputs: str) -> Settings:
    values = {"warehouse": f"{folder}/lake", "output": f"{folder}/out", "rules": "rules.yaml"}
    return Settings.model_validate({**values, "input": {"orders": f"{folder}/in", **inputs}})


@pytest.fixture
def few_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of which 100 bytes are little, with 60 in input files and 40 in a table."""
    monkeypatch.setattr(tuning, "DISK_BYTES", 100)
    for name, size in {"in/a/1.jsonl": 30, "in/2.jsonl": 10, "users.csv": 20, "lake/t/_delta_log/0.json": 40}.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x" * size)
    return tmp_path


def test_little_input_and_a_small_warehouse_are_compiled_once(few_bytes: Path) -> None:
    settings = settings_with(few_bytes, users=f"file:{few_bytes}/users.csv")
    assert java_options(settings) == FIRST_COMPILER_ONLY
    (few_bytes / "in/3.jsonl").write_text("x")
    assert java_options(settings) == ""


def test_of_a_link_what_it_leads_to_is_counted(few_bytes: Path) -> None:
    settings = settings_with(few_bytes)
    (few_bytes / "large").write_text("x" * 100)
    (few_bytes / "in/link").symlink_to(few_bytes / "large")
    assert java_options(settings) == ""
    (few_bytes / "large").unlink()
    assert java_options(settings) == FIRST_COMPILER_ONLY


def test_a_warehouse_that_grows_is_no_longer_little(few_bytes: Path) -> None:
    settings = settings_with(few_bytes)
    (few_bytes / "lake/t/part.parquet").write_text("x" * 20)
    assert java_options(settings) == FIRST_COMPILER_ONLY
    (few_bytes / "lake/t/part.parquet").write_text("x" * 21)
    assert java_options(settings) == ""


@pytest.mark.parametrize("pattern", ["in/*", "in/*/1.jsonl", "[i]n/2.jsonl", "{in,out}", "i?"])
def test_of_a_glob_all_is_counted_that_could_match(few_bytes: Path, pattern: str) -> None:
    (few_bytes / "lake/t/_delta_log/0.json").unlink()
    (few_bytes / "users.csv").unlink()
    settings = settings_with(few_bytes, orders=f"{few_bytes}/{pattern}")
    assert java_options(settings) == FIRST_COMPILER_ONLY
    (few_bytes / "in/more").write_text("x" * 61)
    assert java_options(settings) == ""


@pytest.mark.parametrize(
    "elsewhere",
    [{"orders": "s3a://shop/orders"}, {"users": "hdfs:///users.csv"}, {"warehouse": "catalog:main.shop"}],
)
def test_what_is_not_on_this_machine_is_of_unknown_size(tmp_path: Path, elsewhere: dict[str, str]) -> None:
    settings = settings_with(tmp_path, **{name: place for name, place in elsewhere.items() if name != "warehouse"})
    warehouse = elsewhere.get("warehouse", settings.warehouse)
    assert java_options(settings.model_copy(update={"warehouse": warehouse})) == ""


def test_what_is_pulled_while_the_job_runs_is_of_unknown_size(tmp_path: Path) -> None:
    values = settings_with(tmp_path).model_dump(include={"warehouse", "output", "rules", "input"})
    api = {"url": "https://shop.example/orders", "paging": "page", "page_parameter": "page"}
    pulled = {"orders": "api", "landing": str(tmp_path / "landing"), "api": api}
    assert java_options(Settings.model_validate({**values, "sources": pulled})) == ""


def test_what_is_not_there_yet_has_no_size_and_too_many_files_are_not_all_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_with(tmp_path / "new")
    assert java_options(settings) == FIRST_COMPILER_ONLY
    (tmp_path / "new/in").mkdir(parents=True)
    for name in range(3):
        (tmp_path / f"new/in/{name}.jsonl").touch()
    monkeypatch.setattr(tuning, "DISK_FILES", 2)
    assert java_options(settings) == ""


def test_a_start_does_not_wait_for_spark() -> None:
    code = "import sys, etl_lib.settings.launch; print([name for name in sys.modules if name.startswith('pyspark')])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "[]\n"
