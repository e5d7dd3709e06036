"""The gate after applying: whether the invariants hold on the dates that a run has touched."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date

import structlog
from pyspark.sql import DataFrame

from etl_lib.applying.invariants import APPLIED, MEANINGS, find_violations
from etl_lib.deciding.gate_checks import gate_result
from etl_lib.run.run import Run
from etl_lib.run.steps import step
from etl_lib.tables.holds import open_holds
from etl_lib.tables.ledger import GateResult
from etl_lib.tables.merge import dates_literal
from etl_lib.tables.schemas import DIM_ORDER, Table, View
from etl_lib.tables.warehouse import Warehouse

log = structlog.get_logger(__name__)

INVARIANTS = "invariants"


def invariant_gate(run: Run, dates: Collection[date]) -> GateResult:
    """What the invariants say of the dates that were touched; of all of them while an earlier run is held for them."""
    warehouse = run.warehouse
    with step("invariants") as counts:
        if any(hold.gate == INVARIANTS for hold in open_holds(warehouse)):
            rows = warehouse.read(DIM_ORDER).select("order_date").distinct().collect()
            dates = {*dates, *(row["order_date"] for row in rows)}
        broken = broken_on(warehouse, dates, run.settings.samples) if dates else ""
        counts.update(dates=len(dates), broken=len(broken.splitlines()))
    result = gate_result(INVARIANTS, "", run.settings.quality.invariants, broken.splitlines())
    if broken:
        log.warning("invariants are broken", state=result.state, reason=broken.replace("\n", "; "))
    return result


@dataclass(frozen=True)
class OnDates(Warehouse):
    """A warehouse of which the tables by date are seen on these dates alone."""

    dates: frozenset[date] = frozenset()

    def read(self, table: Table | View, versions: Mapping[str, int] | None = None) -> DataFrame:
        """The rows of the table on these dates; of a table without dates all."""
        rows = super().read(table, versions)
        on_dates = isinstance(table, Table) and table.partition == ("order_date",)
        return rows.where(dates_literal("order_date", self.dates)) if on_dates else rows


def broken_on(warehouse: Warehouse, dates: Collection[date], samples: int) -> str:
    """Which invariants of orders, lines and sales do not hold on these dates, in words; empty where all do.

    No keys, as some are users: `jobs/maintain.py check` names them.
    """
    seen = OnDates(warehouse.spark, warehouse.location, dates=frozenset(dates))
    violations = find_violations(seen, APPLIED, samples)
    return "\n".join(f"{name}: {rows.rows:,} ({MEANINGS[name]})" for name, rows in violations.items())
