"""The maintain command: small files joined, old ones deleted, invariants checked, runs undone."""

from __future__ import annotations

from collections.abc import Sequence

from etl_lib.applying.invariants import MEANINGS
from etl_lib.commands.frame import open_run, read_configuration
from etl_lib.run.job import Job
from etl_lib.run.metric_parts import UpkeepMetrics
from etl_lib.run.restore import MAINTAIN, finish_restores, plan_restore, restore, restore_metrics
from etl_lib.run.run import Run
from etl_lib.settings.arguments import MaintainArguments, parse_maintain_arguments
from etl_lib.tables.ledger import DONE, PLANNED
from etl_lib.tables.schemas import Table
from etl_lib.upkeep.maintenance import check, compact, purge, tables_of, vacuum

JOB = Job(MAINTAIN, (), MEANINGS)


def maintain(argv: Sequence[str]) -> None:
    """Carry one task out, or show what it would do."""
    arguments = parse_maintain_arguments(argv)
    settings, rules = read_configuration(arguments)
    with open_run(JOB, settings, arguments, rules) as run:
        run.metrics.upkeep = UpkeepMetrics(arguments.task, tables={})
        tables = tables_of(run.warehouse)
        if arguments.task == "check":
            check(run, tables)
        elif arguments.restored_run_id not in finish_restores(run):
            change(run, arguments, tables)
        run.metrics.status = PLANNED if arguments.plan else DONE


def change(run: Run, arguments: MaintainArguments, tables: Sequence[Table]) -> None:
    """Every task but the check."""
    match arguments.task:
        case "compact":
            compact(run, tables)
        case "vacuum":
            vacuum(run, tables, force=arguments.force)
        case "purge":
            purge(run, tables)
        case "restore":
            undo(run, arguments.restored_run_id or "")


def undo(run: Run, run_id: str) -> None:
    """Show what undoing a run would do, or do it."""
    planned = plan_restore(run.warehouse, run_id)
    run.metrics.upkeep = restore_metrics(run.warehouse, planned)
    if not run.arguments.plan:
        restore(run, planned)
