"""A run as events of OpenLineage, held against the specification's schemas where they are at hand."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pyspark.sql import SparkSession
from referencing import Registry, Resource

from etl_lib.deciding.judge import DATASETS
from etl_lib.run.job import MEANINGS, Job
from etl_lib.run.metrics import Metrics
from etl_lib.settings.config import Inputs, Settings
from etl_lib.settings.telling_settings import LineageSettings, Telling
from etl_lib.tables.ledger import GateResult
from etl_lib.tables.schemas import FEATURE_TABLES, ORDER_TABLES
from etl_lib.telling.machines.lineage import Lineage, dataset_name, declared_columns, run_uuid
from etl_lib.telling.machines.lineage_columns import COLUMNS
from etl_lib.telling.ways import begin, tell
from tests import reports

VARIABLE = "OPENLINEAGE_SCHEMAS"
"""The folder with the JSON schemas of the specification, where somebody has them."""
ORDERS = Job("orders", ORDER_TABLES, MEANINGS)
ALL_TABLES = {table.name: table for table in (*ORDER_TABLES, *FEATURE_TABLES)}
OF_NO_FIELD = {
    *("run_id", "source_file", "source_modified_at", "window", "window_weeks"),
    *(f"{table}.version_at" for table in ("dim_user", "dim_product")),
}
"""Columns that say where a row is from, or how it was computed: no field of the input decides them."""


def settings(lineage: LineageSettings) -> Settings:
    inputs = Inputs(orders="s3a://landing/orders/*.json", users="/landing/users.csv")
    return Settings(warehouse="/wh/", output="/o", rules="/r", input=inputs, telling=Telling(lineage=lineage))


def lineage(about: LineageSettings) -> Lineage:
    return Lineage(settings(about), about, ORDERS)


def events(folder: Path, *runs: Metrics) -> list[dict[str, Any]]:
    """What is in the file after these runs."""
    file = folder / "lineage" / "events.jsonl"
    for run in runs:
        way = lineage(LineageSettings(file=str(file)))
        if not run.is_refused:
            begin([way], Metrics(run.run_id, "failed", run.job, started_at=run.started_at))
        tell([way], run)
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []


def good() -> Metrics:
    run = reports.rich_metrics()
    run.gates = [
        GateResult("rejected", "orders", "stop", "passed"),
        GateResult("rules", "users", "warn", "warned", "w"),
    ]
    return run


def failed() -> Metrics:
    return Metrics(
        "r2", "failed", "orders", started_at=reports.STARTED, message="a disk is full", error="DiskFullError"
    )


@pytest.fixture
def told(tmp_path: Path) -> list[dict[str, Any]]:
    return events(tmp_path, good(), failed(), Metrics("r3", "failed", "orders", is_refused=True))


def test_a_run_begins_and_is_complete_or_failed(told: list[dict[str, Any]]) -> None:
    kinds = [(event["eventType"], event["run"]["runId"]) for event in told]
    first, second = run_uuid(good().run_id), run_uuid("r2")
    assert kinds == [("START", first), ("COMPLETE", first), ("START", second), ("FAIL", second)]
    assert told[3]["run"]["facets"]["errorMessage"]["message"] == "a disk is full"
    assert {event["job"]["name"] for event in told} == {"orders"}


def test_inputs_and_tables_are_named_as_others_name_them_with_what_was_read_and_written(
    told: list[dict[str, Any]],
) -> None:
    complete = told[1]
    inputs = {(each["namespace"], each["name"]): each["inputFacets"] for each in complete["inputs"]}
    assert set(inputs) == {("s3://landing", "orders/*.json"), ("file", "/landing/users.csv")}
    counted = good().batch.datasets  # type: ignore[union-attr]
    orders = inputs["s3://landing", "orders/*.json"]
    assert orders["inputStatistics"]["rowCount"] == counted["orders"].records
    checks = {each["assertion"]: each["success"] for each in orders["dataQualityAssertions"]["assertions"]}
    assert checks == {**dict.fromkeys(counted["orders"].rules, False), "gate rejected": True}
    amount = orders["dataQualityMetrics"]["columnMetrics"]["amount"]
    assert (amount["nullCount"], amount["min"], amount["quantiles"]["0.5"]) == (3, 0.01, 41.99)
    assert "min" not in orders["dataQualityMetrics"]["columnMetrics"]["user_id"]
    outputs = {each["name"]: each for each in complete["outputs"]}
    tables = good().tables or {}
    assert set(outputs) == {f"/wh/{name}" for name in COLUMNS if name in tables}
    sales, of_sales = outputs["/wh/fact_sales"], tables["fact_sales"]
    assert sales["facets"]["version"]["datasetVersion"] == str(of_sales.version_after)
    assert sales["outputFacets"]["outputStatistics"]["rowCount"] == of_sales.rows_after - of_sales.rows_before
    amounts = sales["facets"]["columnLineage"]["fields"]["line_amount"]["inputFields"]
    assert [(each["namespace"], each["name"], each["field"]) for each in amounts] == [
        ("s3://landing", "orders/*.json", "items.qty"),
        ("s3://landing", "orders/*.json", "items.price"),
    ]
    revenue = outputs["/wh/daily_sales"]["facets"]["columnLineage"]["fields"]["revenue"]["inputFields"][0]
    assert (revenue["name"], revenue["field"]) == ("/wh/fact_sales", "line_amount")
    assert revenue["transformations"] == [{"type": "DIRECT", "subtype": "AGGREGATION"}]


def test_every_column_has_its_fields_and_every_field_is_declared() -> None:
    for name, columns in COLUMNS.items():
        table = declared_columns(ALL_TABLES[name])
        known = {column for column in table if not {column, f"{name}.{column}"} & OF_NO_FIELD}
        assert set(columns) == known, name
    declared = {f"{name}.{member}" for name, entry in DATASETS.items() for member in entry.members}
    declared |= {f"orders.{path}" for path in ("items", "metadata", "deleted")}
    declared |= {f"{name}.{column}" for name in COLUMNS for column in COLUMNS[name]}
    fields = {field for columns in COLUMNS.values() for origin in columns.values() for field in origin.fields}
    # A member of an object or of an item is declared by its own name.
    assert {field for field in fields if field not in declared and _inner(field) not in declared} == set()


def test_the_columns_of_every_table_are_those_that_spark_reads(spark: SparkSession) -> None:  # noqa: ARG001
    for name in COLUMNS:
        declared = declared_columns(ALL_TABLES[name])
        kinds = {column: kind.lower() for column, kind in declared.items()}
        assert kinds == {field.name: field.dataType.simpleString() for field in ALL_TABLES[name].schema}


def _inner(field: str) -> str:
    dataset, *_, member = field.split(".")
    return f"{dataset}.{member}"


def test_events_are_valid_by_the_specification(told: list[dict[str, Any]]) -> None:
    if VARIABLE not in os.environ:
        pytest.skip(f"{VARIABLE} names no folder with the schemas: the events were made by the package's classes alone")
    folder = Path(os.environ[VARIABLE])
    schemas = [
        json.loads(path.read_text(encoding="utf-8")) for path in [folder / "OpenLineage.json", *folder.glob("facets/*")]
    ]
    registry = Registry().with_resources([(schema["$id"], Resource.from_contents(schema)) for schema in schemas])
    by_facet = {name: schema for schema in schemas[1:] for name in schema.get("properties", {})}
    checked = set()
    for event in told:
        Draft202012Validator(schemas[0], registry=registry).validate(event)
        for name, facet in _facets(event):
            Draft202012Validator(by_facet[name], registry=registry).validate({name: facet})
            checked.add(name)
    assert checked >= {
        "schema",
        "columnLineage",
        "outputStatistics",
        "dataQualityAssertions",
        "errorMessage",
        "version",
    }


def _facets(event: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    yield from event["run"]["facets"].items()
    yield from event["job"]["facets"].items()
    for dataset in (*event["inputs"], *event["outputs"]):
        for kind in ("facets", "inputFacets", "outputFacets"):
            yield from dataset.get(kind, {}).items()


def test_a_collector_gets_the_events_with_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINEAGE_KEY", "the key of lineage")
    got: list[tuple[str, str | None, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            got.append((self.path, self.headers["Authorization"], event["eventType"]))
            self.send_response(201)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/api/v1/lineage"
        way = lineage(LineageSettings(url=url, api_key="${LINEAGE_KEY}"))
        begin([way], good())
        tell([way], good())
        server.shutdown()
        thread.join()
    bearer = "Bearer the key of lineage"
    assert got == [("/api/v1/lineage", bearer, "START"), ("/api/v1/lineage", bearer, "COMPLETE")]


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("/a/b", ("file", "/a/b")),
        ("file:///a/b", ("file", "/a/b")),
        ("s3a://bucket/a/b/", ("s3://bucket", "a/b")),
        ("hdfs://host:8020/a", ("hdfs://host:8020", "a")),
        ("gs://bucket", ("gs://bucket", "/")),
    ],
)
def test_a_location_has_a_namespace_and_a_name(location: str, expected: tuple[str, str]) -> None:
    assert dataset_name(location) == expected
