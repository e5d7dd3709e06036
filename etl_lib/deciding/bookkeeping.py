"""What is told and entered of a batch: its metrics, the results of all its rules, and that it failed or is empty."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from etl_lib.deciding.counts import Batch, Counted, DatasetCounts, drift_of
from etl_lib.deciding.ids_alike import SHARED_IDS, IdCount, UnlikeIds
from etl_lib.deciding.missing_members import missing_counts
from etl_lib.deciding.outcomes import OUTCOMES
from etl_lib.deciding.stage import Stage
from etl_lib.run.metrics import Counts, DatasetMetrics, OrderMetrics
from etl_lib.run.run import Run
from etl_lib.settings.rules import STRUCTURAL_OF, Rule
from etl_lib.tables.ledger import DONE, FAILED, RuleResult, RunEntry, rows_at, write_run
from etl_lib.tables.schemas import DIM_ORDER, DIM_PRODUCT, DIM_USER, DIMENSIONS, FACT_SALES

MOVED_TABLES = (FACT_SALES, DIM_ORDER, DIM_USER, DIM_PRODUCT)
"""A plan compared with these; it holds as long as none of them has moved."""
MEMBER_RULES = {"users": "user_known", "products": "sku_known"}
"""Rules that a table decides: they count the users and skus that orders name and no dimension has."""


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


def rule_results(batch: Counted, rules: Mapping[str, Mapping[str, Rule]]) -> list[RuleResult]:
    """Every rule of every dataset that had input, also those that nothing broke."""
    results = []
    for dataset, counts in batch.datasets.items():
        named: list[tuple[str, str, str | None]] = [(name, "reject", None) for name in STRUCTURAL_OF[dataset]]
        named += [(name, rule.severity, rule.check) for name, rule in rules[dataset].items()]
        for name, severity, check in named:
            samples = batch.samples.get((dataset, name), [])
            results.append(RuleResult(dataset, name, severity, counts.records, counts.rules[name], samples, check))
    return results


def batch_metrics(batch: Batch, rows: Counts) -> OrderMetrics:
    """The numbers of a batch; `rows` are those of the tables by name."""
    orders = batch.of("orders")
    return OrderMetrics(
        input_orders=orders.records,
        blank_lines=orders.blank,
        valid_orders=orders.records - orders.outcomes["rejected"],
        deduped_orders=orders.winners,
        items=orders.items,
        dim_user=rows.get(DIM_USER.name),
        dim_product=rows.get(DIM_PRODUCT.name),
        outcomes={name: orders.outcomes[name] for name in OUTCOMES},
        conflicts=orders.conflicts,
        conflict_orders=orders.conflict_keys,
        datasets={name: dataset_metrics(counts, OUTCOMES) for name, counts in sorted(batch.datasets.items())},
        drift=drift_of(batch),
        warnings=[found.told() for found in batch.unlike_ids],
        dates=[day.isoformat() for day in sorted(batch.dates)],
    )


def dataset_metrics(counts: DatasetCounts, outcomes: Iterable[str]) -> DatasetMetrics:
    """The numbers of one dataset."""
    return DatasetMetrics(
        counts.records,
        {outcome: counts.outcomes[outcome] for outcome in outcomes},
        dict(sorted(counts.rules.items())),
        dict(sorted(counts.unknown_fields.items())),
    )


def id_results(batch: Counted) -> list[RuleResult]:
    """The rules about ids, for each dataset that had input: how many records have such an id, and how many broke it."""
    unlike = {(found.dataset, found.rule): found for found in batch.unlike_ids}
    return [
        _id_result(dataset, shared.rule, batch.datasets[dataset].ids[name], unlike.get((dataset, shared.rule)))
        for name, shared in SHARED_IDS.items()
        for dataset in shared.datasets
        if dataset in batch.datasets
    ]


def _id_result(dataset: str, rule: str, ids: IdCount, unlike: UnlikeIds | None) -> RuleResult:
    failed, samples = (unlike.count.with_point, unlike.samples) if unlike else (0, [])
    return RuleResult(dataset, rule, "warn", ids.records, failed, samples)
