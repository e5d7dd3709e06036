"""What is reported and entered of a batch: its metrics, the results of its rules, and that it failed or is empty."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from etl_lib.deciding.counts import Batch, DatasetCounts, missing_counts
from etl_lib.deciding.drift import by_kind
from etl_lib.deciding.ids_alike import SHARED_IDS
from etl_lib.deciding.outcomes import EVENT_OUTCOMES, OUTCOMES
from etl_lib.deciding.stage import Stage
from etl_lib.reading.datasets import DATASETS, EVENT_DATASETS
from etl_lib.run.metric_parts import Counts, DatasetMetrics, Drift, EventMetrics, OrderMetrics
from etl_lib.run.metrics import Metrics
from etl_lib.run.run import Run
from etl_lib.tables.ledger import DONE, FAILED, STOPPED, RuleResult, RunEntry, RunManifest, rows_at, write_run
from etl_lib.tables.schemas import DIM_ORDER, DIM_PRODUCT, DIM_USER, DIMENSIONS, ETL_EVENTS, FACT_SALES

MOVED_TABLES = (FACT_SALES, DIM_ORDER, DIM_USER, DIM_PRODUCT)
"""A plan compared with these; it holds as long as none of them has moved."""


def nothing_new(run: Run) -> None:
    """There was no file that the ledger does not have: no table is touched, the ledger neither."""
    warehouse, members = run.warehouse, DIMENSIONS.values()
    versions = warehouse.versions_on_disk(members)  # to ask Spark for them is more than to count
    rows = rows_at(warehouse, versions, run.ledger.tables) if versions else warehouse.rows(members)
    run.metrics.tell_input(nothing_read(run, rows), run.manifest)
    run.metrics.status = DONE


def nothing_read(run: Run, rows: Mapping[str, int] | None = None) -> OrderMetrics:
    """The metrics of a batch without records; `rows` are those of the dimensions that are shown."""
    return order_metrics(Batch(Stage(run.warehouse, run.run_id)), rows or {})


def record_failure(run: Run, batch: Batch, message: str) -> None:
    """Enter the run as failed, so that no later run applies its stage."""
    results = _tell_batch(run, run.manifest, run.metrics, batch)
    write_run(run.warehouse, RunEntry(run.manifest, FAILED, run.metrics, {}, {}, message, results))


def record_stop(run: Run, manifest: RunManifest, metrics: Metrics, batch: Batch, message: str) -> None:
    """Enter a run as stopped, with the versions that it compared with: it waits to be applied by hand, or is old."""
    metrics.status, metrics.message = STOPPED, message
    results = _tell_batch(run, manifest, metrics, batch)
    entry = RunEntry(manifest, STOPPED, metrics, manifest.versions, {}, message, results, gates=metrics.gates)
    write_run(run.warehouse, entry, again=manifest is not run.manifest)


def _tell_batch(run: Run, manifest: RunManifest, metrics: Metrics, batch: Batch) -> list[RuleResult]:
    """Put what was read into the metrics of a run that ends before it is applied; gives how the rules fared."""
    of_events = batch.stage.table is ETL_EVENTS
    counted = event_metrics(batch) if of_events else order_metrics(batch, run.warehouse.rows(MOVED_TABLES))
    metrics.tell_input(counted, manifest)
    return all_rule_results(run, batch, {} if of_events else missing_counts(batch))


def all_rule_results(run: Run, batch: Batch, inferred: Mapping[str, int]) -> list[RuleResult]:
    """Every rule of every dataset that had input, also those that nothing broke: what parsing refuses, the configured
    ones, those about ids, and those that a table decides, which count the members that were `inferred`.
    """
    results = []
    for dataset, counts in batch.datasets.items():
        rules: list[tuple[str, str, str | None]] = [(name, "reject", None) for name in DATASETS[dataset].structural]
        rules += [(name, rule.severity, rule.check) for name, rule in run.rules.of(dataset).items()]
        for name, severity, check in rules:
            samples = batch.samples.get((dataset, name), [])
            results.append(RuleResult(dataset, name, severity, counts.records, counts.rules[name], samples, check))
    results += id_results(batch)
    if "orders" in batch.datasets:
        applied = batch.of("orders").applied
        for dataset, members in inferred.items():
            results.append(RuleResult("orders", DATASETS[dataset].member_rule, "warn", applied, members, []))
    return results


def id_results(batch: Batch) -> list[RuleResult]:
    """The rules about ids, for each dataset that had input: how many records have such an id, and how many broke it."""
    unlike = {(ids.dataset, ids.name): ids for ids in batch.unlike_ids}
    results = []
    for name, shared in SHARED_IDS.items():
        for entry in DATASETS.values():
            if name in entry.ids and entry.name in batch.datasets:
                checked = batch.datasets[entry.name].ids[name].records
                ids = unlike.get((entry.name, name))
                failed, samples = (ids.count.with_point, ids.samples) if ids else (0, [])
                results.append(RuleResult(entry.name, shared.rule, "warn", checked, failed, samples))
    return results


def order_metrics(batch: Batch, rows: Counts) -> OrderMetrics:
    """The numbers of a batch of orders, users and products; `rows` are those of the tables by name."""
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
        datasets={name: _dataset_metrics(counts, OUTCOMES) for name, counts in sorted(batch.datasets.items())},
        drift=drift_of(batch),
        warnings=[ids.message for ids in batch.unlike_ids],
        dates=[day.isoformat() for day in sorted(orders.dates)],
    )


def event_metrics(batch: Batch, warnings: Sequence[str] | None = None) -> EventMetrics:
    """The numbers of a batch of prints, taps and pays; `warnings` are None until its weeks are judged."""
    counts = {name: batch.of(name) for name in EVENT_DATASETS}
    return EventMetrics(
        **{f"input_{name}": of_it.records for name, of_it in counts.items()},
        **{
            f"{outcome}_{name}": of_it.outcomes[outcome] for name, of_it in counts.items() for outcome in EVENT_OUTCOMES
        },
        outcomes={outcome: sum(of_it.outcomes[outcome] for of_it in counts.values()) for outcome in EVENT_OUTCOMES},
        blank_lines=sum(of_it.blank for of_it in counts.values()),
        repeated_headers=sum(of_it.repeated_headers for of_it in counts.values()),
        datasets={name: _dataset_metrics(of_it, EVENT_OUTCOMES) for name, of_it in counts.items()},
        drift=drift_of(batch),
        warnings=warnings,
    )


def drift_of(batch: Batch) -> Drift:
    """The drift of a batch by dataset, kind and name, of the datasets that drifted."""
    drift = {
        dataset: by_kind(dataset, counts.unknown_fields, counts.changed_types, counts.lost_fields)
        for dataset, counts in sorted(batch.datasets.items())
    }
    return {dataset: kinds for dataset, kinds in drift.items() if kinds}


def _dataset_metrics(counts: DatasetCounts, outcomes: Iterable[str]) -> DatasetMetrics:
    return DatasetMetrics(
        counts.records,
        {outcome: counts.outcomes[outcome] for outcome in outcomes},
        dict(sorted(counts.rules.items())),
        dict(sorted(counts.unknown_fields.items())),
        counts.newest.isoformat() if counts.newest else None,
    )
