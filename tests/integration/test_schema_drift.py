"""Schema drift is told by kind and name, and its policy decides what becomes of the run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import functions as F

from etl_lib.commands import orders
from etl_lib.tables.ledger import STOPPED
from etl_lib.tables.schemas import ETL_RUNS
from tests.integration.test_orders_job import data_versions, order, outcomes
from tests.integration.test_quarantine_job import strict_rules
from tests.job import FeatureJob, Job

ITEM = {"sku": "S1", "qty": 1, "price": 10.0}

DRIFTING: list[dict[str, Any]] = [
    order("n1", note="new") | {"items": [{**ITEM, "colour": "red"}]},
    order("n2", note=None) | {"metadata": {"source": "web", "campaign": "x"}},
    order("c1", Currency="USD") | {"items": [{**ITEM, "Price": 99}]},
    {name: value for name, value in order("c2").items() if name != "order_id"} | {"Order_ID": "c2"},
    order("c3") | {"Items": [ITEM], "METADATA": {}},
    order("t1", deleted="yes") | {"items": [{"sku": "S1", "qty": {"n": 1}, "price": [1]}]},
    order("t2") | {"items": {"sku": "S1"}, "metadata": "web"},
    order("t3") | {"items": ["S1"], "amount": {"value": 1}, "note": 1},
    *(order(f"plain-{at}") for at in range(3)),
    order("plain-3", currency=None),
]

ORDERS_DRIFT = {
    "new_field": {"items.colour": 1, "metadata.campaign": 1, "note": 3},
    "lost_field": {"metadata.promo": 13},
    "changed_type": {
        "amount": 1,
        "deleted": 1,
        "items": 2,
        "items.price": 1,
        "items.qty": 1,
        "metadata": 1,
    },
    "changed_case": {"Currency": 1, "Items": 1, "METADATA": 1, "Order_ID": 1, "items.Price": 1},
}


def told(job: Job | FeatureJob) -> Any:
    return job.metrics()["drift"]


@pytest.mark.slow
def test_drift_is_told_by_kind_and_name_and_closes_the_gate_like_rules_when_it_should(
    job: Job, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (job.landing / "users.csv").write_text("user_id,email,created_at,country,Email,address\nu1,a,2024-01-01,DE,b,c\n")
    job.land("a.jsonl", *DRIFTING, json.dumps(order("t4"))[:-1] + ', "amount2": 1, "items2": []}', "{broken")

    # a closed gate: nothing changes, the run is entered as stopped, and the message has every reason with its names
    rules = strict_rules(tmp_path, "fail")
    assert job.run("--set", "drift.changed_case=fail", "quality.max_rejected_share=0.2", rules) == 3
    message = job.metrics()["message"]
    assert (
        "orders, fields in another case, read in CSV alone: Currency (1), Items (1), METADATA (1), Order_ID (1)"
        in message
    )
    assert "users, fields in another case, read in CSV alone: Email (1)" in message
    assert "note" not in message
    assert "orders: 1 records broke currency_given (currency is missing)" in message
    assert "orders: 42.9% rejected, above quality.max_rejected_share 20.0%" in message
    assert set(data_versions(job).values()) == {0}
    failed = job.read(ETL_RUNS).selectExpr("status", "size(files)", "exists(rules, r -> r.failed > 0)")
    assert [tuple(row) for row in failed.collect()] == [(STOPPED, 0, True)]

    # what was stopped is not finished later: the files are read again, and by default drift is told and the run goes on
    capsys.readouterr()
    assert job.run("--set", "drift.lost_field=ignore") == 0
    expected = ORDERS_DRIFT | {"new_field": {**ORDERS_DRIFT["new_field"], "amount2": 1, "items2": 1}}
    users = {"new_field": {"address": 1}, "changed_case": {"Email": 1}}
    assert told(job) == {"orders": expected, "users": users}
    assert outcomes(job) == {"inserted": 9, "rejected": 5}
    shown = capsys.readouterr().out
    assert "Finished first" not in shown
    assert "Schema drift in orders, fields of another type, their records rejected: amount (1), deleted (1)" in shown
    assert "Schema drift in users, fields that no table has: address (1)" in shown
    assert "promo" not in shown


@pytest.mark.slow
def test_a_field_is_lost_when_no_record_has_a_value_for_it(job: Job) -> None:
    """Also in a run that goes no further than the gate."""

    def renamed(at: int) -> dict[str, Any]:
        record = order(f"o{at}", amount=None)
        return {"id": record.pop("order_id"), **record} | {"metadata": {}, "items": [{"SKU": "S1", "qty": 1}]}

    closed = ("--set", "quality.max_rejected_share=0")
    # nothing can be accepted: what is lost is found in the rejected records
    path = job.land("renamed.jsonl", *map(renamed, range(10)), "[]", "{broken")
    assert job.run(*closed) == 3
    assert told(job)["orders"] == {
        "new_field": {"id": 10},
        "lost_field": dict.fromkeys(("amount", "items.price", "items.sku", "metadata", "order_id"), 10),
        "changed_case": {"items.SKU": 10},
    }
    path.unlink()

    # one record has it, be it a rejected one; two fields need not be sent; without any item it is the items
    job.land(
        "promo.jsonl", order("x", items=0, created_at="never", metadata={"promo": "A"}, currency=None, user_id=None)
    )
    job.land("rest.jsonl", *(order(f"p{at}", items=0, currency=None, user_id=None) for at in range(9)))
    assert job.run(*closed, "drift.optional=[user_id, items]") == 3
    assert told(job) == {"orders": {"lost_field": {"currency": 10}}}


@pytest.mark.torture
def test_a_run_that_was_cut_off_at_the_gate_meets_the_policy_again(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    job.land("a.jsonl", *(order(f"o{at}", note=1) for at in range(10)))

    def killed(*_: object) -> None:
        raise RuntimeError("cut off")

    with monkeypatch.context() as patch:
        patch.setattr(orders, "pass_gates", killed)
        assert job.run() == 1
    assert job.run("--set", "drift.lost_field=fail") == 3
    failed = job.read(ETL_RUNS).where(F.col("status") == STOPPED).collect()
    assert [("no record has: metadata.promo (10)" in row["message"]) for row in failed] == [True, True]
    assert job.read_keys() == set()


def test_prints_and_pays_drift_and_close_the_gate_too(feature_job: FeatureJob) -> None:
    def event(user: str, **members: Any) -> dict[str, Any]:
        return {"day": "2020-11-01", "event_data": {"value_prop": "point"}, "user_id": user} | members

    feature_job.land(
        "prints",
        *(event(f"u{at}") for at in range(9)),
        event("new", Day="2020-11-02", extra=1),
        event("case", event_data={"value_prop": "point", "Position": 3}),
        event("type", event_data="point"),
        event("list", user_id=["u"]),
    )
    feature_job.land("taps", *(event(f"u{at}") for at in range(9)))  # too few to tell
    feature_job.land("pays", "pay_date,total,user_id,value_prop,Total,till", "2020-11-01,1,u1,point,2,3")
    assert feature_job.run("--set", "drift.changed_type=fail", "quality.max_rejected_share=0.15") == 3
    message = feature_job.metrics()["message"]
    assert "prints, fields of another type, their records rejected: event_data (1), user_id (1)" in message
    assert "prints: 15.4% rejected, above quality.max_rejected_share 15.0%" in message
    assert {name for name, version in feature_job.versions().items() if version} == {"etl_events", "etl_runs"}
    assert [row["status"] for row in feature_job.read(ETL_RUNS).collect()] == [STOPPED]
    assert told(feature_job) == {
        "prints": {
            "new_field": {"extra": 1},
            "lost_field": {"event_data.position": 13},
            "changed_type": {"event_data": 1, "user_id": 1},
            "changed_case": {"Day": 1, "event_data.Position": 1},
        },
        "pays": {"new_field": {"till": 1}, "changed_case": {"Total": 1}},
    }
