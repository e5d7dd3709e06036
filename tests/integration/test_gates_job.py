"""Gates in the jobs: a batch that is stopped, accepted and published, and one that is held and released."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pyspark.sql import functions as F

from etl_lib.tables.schemas import DIM_ORDER, ETL_FILES, ETL_RUNS, FACT_SALES
from tests.integration.test_orders_job import data_versions, order, outcomes
from tests.job import Job
from tests.publishing import PublishingJob

LIMITS = ("--set", "quality.max_rejected_share=0.5", "quality.invariants=hold_publish")


def gates(told: dict[str, Any]) -> dict[str, str]:
    return {gate["gate"]: gate["state"] for gate in told["gates"]}


@pytest.mark.slow
def test_a_bad_batch_is_stopped_and_accepted_and_one_that_breaks_an_invariant_is_held_and_released(
    job: Job, capsys: pytest.CaptureFixture[str]
) -> None:
    publishing = PublishingJob(job, ["sinks=[parquet]", f"publish.parquet.path={job.root / 'published'}"])

    # A bad batch: two of three records are broken. No table changes, and the sinks stay.
    job.land("bad.jsonl", order("o1", items=2), "{broken", "[]")
    assert publishing.run(*LIMITS) == 3
    stopped = job.metrics()
    assert (stopped["status"], gates(stopped)) == ("stopped", {"rejected": "stopped"})
    assert "publishes" not in stopped
    assert set(data_versions(job).values()) == {0}
    run_id = stopped["run_id"]
    assert f"jobs/orders.py --apply {run_id} --accept-gate rejected" in capsys.readouterr().err
    state = json.loads((job.output / "telling" / "orders.json").read_text())
    assert (state["failures_in_a_row"], state["last_success"]) == (1, None)

    # It is applied only by those who name the gate that stopped it, and just that one.
    assert publishing.run("--apply", run_id) == 1
    assert publishing.run("--apply", run_id, "--accept-gate", "rejected", "--accept-gate", "volume") == 1
    assert "was not stopped at volume" in capsys.readouterr().err
    assert publishing.run("--apply", run_id, "--accept-gate", "rejected", *LIMITS) == 0
    told = job.metrics()
    assert (told["status"], gates(told)) == ("done", {"rejected": "accepted", "invariants": "passed"})
    assert outcomes(job) == {"inserted": 1, "rejected": 2}
    assert publishing.told("parquet")["status"] == "complete"
    assert job.read(ETL_FILES).count() == 1, "its files count"
    assert publishing.run("--apply", run_id, "--accept-gate", "rejected") == 1, "once"

    # A good batch, and somebody has taken a line out of the tables on its day: it is loaded, and the sinks stay.
    job.tables.overwrite(FACT_SALES, job.read(FACT_SALES).limit(0), F.col("line_no") == 2)
    job.land("good.jsonl", order("o2"))
    assert publishing.run(*LIMITS) == 0
    held = job.metrics()
    assert (held["status"], held["publish"], gates(held)) == (
        "done",
        "held",
        {"rejected": "passed", "invariants": "held"},
    )
    assert "lines_are_complete: 1" in next(gate["message"] for gate in held["gates"] if gate["gate"] == "invariants")
    assert held["publishes"]["parquet"]["status"] == "nothing new"
    assert job.read_keys() == {"o1", "o2"}
    capsys.readouterr()
    assert publishing.publish() == 3
    assert f"jobs/publish.py --release {held['run_id']}" in capsys.readouterr().err
    assert publishing.publish("--release", run_id) == 2, "another run"

    # On another day the invariants hold, and the hold stays: those of all days are asked.
    job.land("other.jsonl", order("o3", 3))
    assert publishing.run(*LIMITS) == 0
    assert gates(job.metrics())["invariants"] == "held"
    assert publishing.publish("--release", held["run_id"]) == 3, "the later one holds, too"
    published = publishing.told("parquet")
    assert published["groups"]["dim_order"] == 1, "to the released one"
    assert publishing.publish("--release", job.read(ETL_RUNS).orderBy(F.desc("ended_at")).first()["run_id"]) == 0
    assert publishing.told("parquet")["groups"]["dim_order"] == 1
    assert job.read(DIM_ORDER).count() == 3
