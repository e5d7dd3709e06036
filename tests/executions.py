"""What Spark was asked while something ran: its SQL executions with their plans, as its own status store keeps them."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pyspark.sql import SparkSession, is_remote

_SCAN = re.compile(r"Location: (?:Prepared|Tahoe)\w* \[(?P<paths>[^\]]*)\]")
SETTLED_S = 30
"""The store hears of an execution some moments after it has ended."""


@dataclass(frozen=True)
class Execution:
    """One query or command: what it was for, its physical plan, and the Spark jobs that it took."""

    description: str
    plan: str
    jobs: int

    @property
    def scans(self) -> Counter[str]:
        """How often it reads the rows of each Delta table, by the name of the table's folder."""
        paths = [match["paths"].split(",")[0].rstrip("/") for match in _SCAN.finditer(self.plan)]
        return Counter(path.rsplit("/", 1)[-1] for path in paths)


def executions_of(spark: SparkSession, act: Callable[[], object]) -> list[Execution]:
    """The executions of an act, in their order; none where the session is a client of Spark Connect."""
    if is_remote():
        act()
        return []
    store = spark._jsparkSession.sharedState().statusStore()  # type: ignore[attr-defined]
    known = {found.executionId() for found in _all(store)}
    length = spark.conf.get("spark.sql.maxPlanStringLength")
    spark.conf.set("spark.sql.maxPlanStringLength", "1000000")
    try:
        act()
    finally:
        spark.conf.set("spark.sql.maxPlanStringLength", str(length))
    deadline = time.monotonic() + SETTLED_S
    while any(found.completionTime().isEmpty() for found in _new(store, known)):
        assert time.monotonic() < deadline, f"an execution has not ended within {SETTLED_S} s"
        time.sleep(0.1)
    new = _new(store, known)
    return [Execution(found.description(), found.physicalPlanDescription(), found.jobs().size()) for found in new]


def _new(store: Any, known: set[int]) -> list[Any]:
    return [found for found in _all(store) if found.executionId() not in known]


def _all(store: Any) -> list[Any]:
    found = store.executionsList()
    return [found.apply(at) for at in range(found.size())]
