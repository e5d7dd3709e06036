"""What the ledger says of a batch that is not applied (yet), and the results of all its rules."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from etl_lib.applying.members import DIMENSIONS, missing_counts
from etl_lib.applying.plan import print_plan
from etl_lib.deciding.counts import Batch
from etl_lib.deciding.stage import Stage
from etl_lib.run.metrics import OrderMetrics, batch_metrics
from etl_lib.run.run import Run
from etl_lib.tables.ledger import DONE, FAILED, PLANNED, RuleResult, RunEntry, rows_at, rule_results, write_run
from etl_lib.tables.schemas import DIM_ORDER, DIM_PRODUCT, DIM_USER, FACT_SALES
from etl_lib.value_props.expectations import id_results

MOVED_TABLES = (FACT_SALES, DIM_ORDER, DIM_USER, DIM_PRODUCT)
"""A plan compared with these; it holds as long as none of them has moved."""
MEMBER_RULES = {"users": "user_known", "products": "sku_known"}
"""Rules that a table decides: they count the users and skus that orders name and no dimension has."""


def record_plan(run: Run, batch: Batch) -> None:
    """Enter the run as a plan that waits for `--apply`."""
    versions = run.warehouse.versions(MOVED_TABLES)
    rows, inferred = run.warehouse.rows(MOVED_TABLES), missing_counts(batch)
    run.metrics.tell_input(batch_metrics(batch, rows), run.manifest)
    run.metrics.status, run.metrics.inferred = PLANNED, inferred
    write_run(run.warehouse, RunEntry(run.manifest, PLANNED, run.metrics, versions, versions))
    if not run.arguments.as_json:
        print_plan(batch, run.settings.samples, sys.stdout, run.metrics)


def nothing_new(run: Run) -> None:
    """There was no file that the ledger does not have: no table is touched, the ledger neither."""
    warehouse, members = run.warehouse, DIMENSIONS.values()
    versions = warehouse.versions_on_disk(members)  # to ask Spark for them is more than to count
    rows = rows_at(warehouse, versions, run.ledger.tables) if versions else warehouse.rows(members)
    run.metrics.tell_input(nothing_read(run, rows), run.manifest)
    run.metrics.status = DONE


def nothing_read(run: Run, rows: Mapping[str, int] | None = None) -> OrderMetrics:
    """The metrics of a batch without records; `rows` are those of dimensions that are told."""
    return batch_metrics(Batch(Stage(run.warehouse, run.run_id)), rows or {})


def record_failure(run: Run, batch: Batch, message: str) -> None:
    """Enter the run as failed, so that no later run applies its stage."""
    run.metrics.tell_input(batch_metrics(batch, run.warehouse.rows(MOVED_TABLES)), run.manifest)
    results = all_rule_results(run, batch, missing_counts(batch))
    write_run(run.warehouse, RunEntry(run.manifest, FAILED, run.metrics, {}, {}, message, results))


def all_rule_results(run: Run, batch: Batch, inferred: Mapping[str, int]) -> list[RuleResult]:
    """The results of all rules, those about ids and about members that no dimension knows among them."""
    rules = {dataset: run.rules.of(dataset) for dataset in batch.datasets}
    results = [*rule_results(batch, rules), *id_results(batch)]
    for dataset, rule in MEMBER_RULES.items():
        if "orders" in batch.datasets:
            results.append(RuleResult("orders", rule, "warn", batch.of("orders").applied, inferred[dataset], []))
    return results
