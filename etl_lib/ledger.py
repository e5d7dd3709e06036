"""The ledger: which runs there were, which files they loaded, how the rules fared. Written last."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from etl_lib.batch import Batch
from etl_lib.outcomes import OUTCOMES
from etl_lib.rules import Rule
from etl_lib.schemas import DQ_RESULTS, ETL_FILES, ETL_RUNS, Table
from etl_lib.stage import FILE, Manifest, Stage
from etl_lib.warehouse import Warehouse

DONE, PLANNED, APPLYING, FAILED = "done", "planned", "applying", "failed"


@dataclass(frozen=True)
class RunEntry:
    """What etl_runs says of a run."""

    manifest: Manifest
    status: str
    metrics: Mapping[str, Any]
    versions_before: Mapping[str, int]
    versions_after: Mapping[str, int]
    message: str | None = None


def write_run(warehouse: Warehouse, entry: RunEntry) -> None:
    """Write the one row of a run; a row that is there (a plan that is now applied) is replaced."""
    manifest = entry.manifest
    values = [
        (
            manifest.run_id,
            manifest.job,
            entry.status,
            list(manifest.arguments),
            manifest.started_at,
            dict(entry.metrics.get("outcomes", {})),
            json.dumps(entry.metrics),
            dict(entry.versions_before),
            dict(entry.versions_after),
            entry.message,
        )
    ]
    columns = (
        "run_id STRING, job STRING, status STRING, arguments ARRAY<STRING>, started STRING, "
        "outcomes MAP<STRING, BIGINT>, metrics STRING, versions_before MAP<STRING, BIGINT>, "
        "versions_after MAP<STRING, BIGINT>, message STRING"
    )
    row = warehouse.spark.createDataFrame(values, columns).withColumns(
        {"started_at": F.col("started").cast("timestamp"), "ended_at": F.current_timestamp()}
    )
    this_run = F.col("run_id") == manifest.run_id
    writer = row.select(*ETL_RUNS.column_names).writeTo(warehouse.name(ETL_RUNS))
    if warehouse.read(ETL_RUNS).where(this_run).isEmpty():
        writer.append()
    else:
        writer.overwrite(this_run)


def planned_versions(warehouse: Warehouse, run_id: str) -> dict[str, int] | None:
    """The table versions that a plan was made on, or None when there is no plan that waits under that id."""
    waits = (F.col("run_id") == run_id) & (F.col("status") == PLANNED)
    found = warehouse.read(ETL_RUNS).where(waits).select("versions_before").collect()
    return dict(found[0]["versions_before"]) if found else None


def loaded_files(warehouse: Warehouse, dataset: str) -> DataFrame:
    """The file versions of a dataset that the ledger has as loaded: path, size, modified_at, max_version_at."""
    return warehouse.read(ETL_FILES).where(F.col("dataset") == dataset)


def write_files(stage: Stage) -> None:
    """Add the files that this stage read and the ledger does not have; none for a run that marks none as done."""
    rows = stage.rows.where(F.col("dataset") != "run")
    marked = rows.where(F.col("outcome") == FILE).select("dataset", "source_file")
    read = rows.join(marked, ["dataset", "source_file"], "left_semi")
    is_record = F.col("outcome").isin(*OUTCOMES)
    files = (
        read.groupBy("dataset", F.col("source_file").alias("path"))
        .agg(
            F.max(F.when(F.col("outcome") == FILE, F.col("source_size"))).alias("size"),
            F.max(F.when(F.col("outcome") == FILE, F.col("source_modified_at"))).alias("modified_at"),
            F.count_if(is_record).alias("records"),
            F.min(F.when(is_record, F.col("version_at"))).alias("min_version_at"),
            F.max(F.when(is_record, F.col("version_at"))).alias("max_version_at"),
        )
        .withColumn("run_id", F.lit(stage.run_id))
        .select(*ETL_FILES.column_names)
    )
    new = files.join(stage.warehouse.read(ETL_FILES).select(*ETL_FILES.key), list(ETL_FILES.key), "left_anti")
    _append_if_any(stage.warehouse, ETL_FILES, new)


@dataclass(frozen=True)
class RuleResult:
    """How one rule fared in one run."""

    dataset: str
    rule: str
    severity: str
    checked: int
    failed: int
    samples: Sequence[str]


def rule_results(
    batch: Batch, rules: Mapping[str, Mapping[str, Rule]], structural: Mapping[str, Sequence[str]]
) -> list[RuleResult]:
    """Every rule of every dataset that had input, also those that nothing broke."""
    results = []
    for dataset, counts in batch.datasets.items():
        named = [(name, "reject") for name in structural[dataset]]
        named += [(name, rule.severity) for name, rule in rules[dataset].items()]
        for name, severity in named:
            samples = batch.samples.get((dataset, name), [])
            results.append(RuleResult(dataset, name, severity, counts.records, counts.rules[name], samples))
    return results


def write_rule_results(stage: Stage, results: Sequence[RuleResult]) -> None:
    """Add the results of a run, unless they are there already."""
    if not stage.warehouse.read(DQ_RESULTS).where(F.col("run_id") == stage.run_id).isEmpty():
        return
    values = [(r.dataset, r.rule, r.severity, r.checked, r.failed, list(r.samples)) for r in results]
    columns = "dataset STRING, rule STRING, severity STRING, checked BIGINT, failed BIGINT, samples ARRAY<STRING>"
    rows = stage.warehouse.spark.createDataFrame(values, columns).withColumns(
        {"run_id": F.lit(stage.run_id), "checked_at": F.current_timestamp()}
    )
    rows.select(*DQ_RESULTS.column_names).writeTo(stage.warehouse.name(DQ_RESULTS)).append()


def _append_if_any(warehouse: Warehouse, table: Table, rows: DataFrame) -> None:
    if not rows.isEmpty():
        rows.writeTo(warehouse.name(table)).append()
