"""The quarantine command: rejected records listed, shown, replayed through the way of every record, or discarded."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from etl_lib.applying.quarantine_entries import (
    check_named,
    check_quarantine,
    discard_entries,
    matching,
    read_payload,
    replayable,
    stage_replay,
    with_full_ids,
)
from etl_lib.applying.quarantine_report import print_entries, print_whole
from etl_lib.applying.steps import apply_batch, finish_interrupted
from etl_lib.commands.entry import read_settings
from etl_lib.commands.frame import open_run
from etl_lib.deciding.gates import pass_gates
from etl_lib.deciding.judge import check_rules
from etl_lib.deciding.results import nothing_new, nothing_read
from etl_lib.process.session import open_session
from etl_lib.reading.datasets import ORDER_DATASETS
from etl_lib.run.job import MEANINGS, Job
from etl_lib.run.run import Run
from etl_lib.run.steps import step
from etl_lib.settings.quarantine_arguments import REPLAYABLE, Selection, parse_quarantine_arguments
from etl_lib.settings.rules import RuleBook
from etl_lib.settings.strict_model import load_settings
from etl_lib.tables.ledger import DONE, REPLAY_JOB
from etl_lib.tables.schemas import ORDER_TABLES
from etl_lib.tables.warehouse import Warehouse

JOB = Job(REPLAY_JOB, ORDER_TABLES, MEANINGS)


def work_on_quarantine(argv: Sequence[str]) -> None:
    """Read the command line and the settings, then list, show, replay or discard entries."""
    arguments = parse_quarantine_arguments(argv)
    payload = read_payload(arguments.payload)
    settings = read_settings(arguments.config, arguments.overrides)
    warehouse = Warehouse(open_session(settings.spark), settings.warehouse)
    check_quarantine(warehouse)
    selection, named = with_full_ids(warehouse, arguments.selection)
    if arguments.command == "list":
        print_entries(matching(warehouse, selection), arguments.limit, sys.stdout, as_json=arguments.as_json)
        return
    if arguments.command == "show":
        print_whole(matching(warehouse, selection), sys.stdout, as_json=arguments.as_json)
        return
    check_named(named, arguments.command)
    rules = load_settings(RuleBook, Path(settings.rules))
    with open_run(JOB, settings, arguments, rules) as run:
        check_rules(run.spark, rules, ORDER_DATASETS)
        finish_interrupted(run)
        if arguments.command == "discard":
            discard(run, selection)
        else:
            replay(run, selection, payload)


def replay(run: Run, selection: Selection, payload: str | None) -> None:
    """From the entries into the stage, and from the stage into the tables."""
    entries = replayable(matching(run.warehouse, selection))
    if entries.isEmpty():
        nothing_new(run)
        return
    with step("stage") as counts:
        batch = stage_replay(run, entries, payload)
        counts["records"] = batch.of(REPLAYABLE).records
    pass_gates(run, batch)
    apply_batch(run, run.manifest, batch, run.metrics)


def discard(run: Run, selection: Selection) -> None:
    """Close the entries without loading them."""
    entries = matching(run.warehouse, selection)
    with step("quarantine") as counts:
        counts["discarded"] = discarded = 0 if entries.isEmpty() else discard_entries(run, entries)
    run.metrics.batch, run.metrics.discarded, run.metrics.status = nothing_read(run), discarded, DONE
