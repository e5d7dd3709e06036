"""The profile of a batch: what is counted of each field, of which no value is kept, and what counts as a shift."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from pyspark.sql import SparkSession

from etl_lib.deciding.profile import profile_frames, profile_from, profile_shifts, profiles_from
from etl_lib.reading.datasets import staged_in
from etl_lib.run.metric_parts import DatasetProfile, FieldProfile, ProfileShift
from etl_lib.run.metrics import Metrics
from etl_lib.tables.schemas import ETL_STAGE, ORDER_RECORD, USER_RECORD
from tests.frames import frame

AT = datetime(2024, 5, 1, 10, tzinfo=UTC)


def order(user: str | None, amount: str | None, currency: str | None, promo: str = "p") -> tuple[object, ...]:
    money = None if amount is None else Decimal(amount)
    return ("o", AT.date(), AT, user, money, currency, None, promo, 2, False, [])


def test_fields_are_counted_of_accepted_records_and_personal_ones_keep_no_value(spark: SparkSession) -> None:
    product = "STRUCT<sku: STRING, name: STRING, category: STRING, price: DECIMAL(18,4)>"
    columns = f"dataset STRING, outcome STRING, orders {ORDER_RECORD}, users {USER_RECORD}, products {product}"
    rows = [
        ("orders", "inserted", order("u1", "1.5", "EUR"), None, None),
        ("orders", "stale", order("u2", "20", "USD"), None, None),
        ("orders", "out_of_window", order("u2", None, "USD"), None, None),
        ("orders", "inserted", order(None, "3", "CHF"), None, None),
        ("orders", "rejected", order("u9", "99", "XXX"), None, None),
        ("orders", "blank", None, None, None),
        ("users", "inserted", None, ("u1", "a@b.c", AT, "DE"), None),
    ]
    entries = staged_in(ETL_STAGE)
    frames = profile_frames(frame(spark, columns, *rows), entries, ["promo"])
    profile = profiles_from(*(part.collect() for part in frames.values()))
    fields = profile["orders"].fields
    assert {name: each.records for name, each in profile.items()} == {"orders": 4, "users": 1}
    assert fields["amount"] == FieldProfile(1, 3, "1.5000", "20.0000", ["1.5", "3.0", "20.0"])
    assert fields["currency"] == FieldProfile(0, 3, "CHF", "USD", frequent=(("USD", 2), ("CHF", 1), ("EUR", 1)))
    assert fields["created_at"] == FieldProfile(0, 1, "2024-05-01 10:00:00", "2024-05-01 10:00:00")
    assert fields["user_id"] == FieldProfile(1, 2)
    assert fields["promo"] == FieldProfile(0, 1), "personal by the configuration"
    assert profile["users"].fields["email"] == FieldProfile(0, 1)
    assert profile["users"].fields["country"].frequent == (("DE", 1),)
    kept = profile_from(Metrics(profile=profile).text)
    assert {name: each.records for name, each in kept.items()} == {"orders": 4, "users": 1}
    assert profile_shifts(profile, kept, least=0.01, min_records=1) == []


def test_a_run_without_a_profile_is_compared_with_nothing() -> None:
    assert profile_from(None) == profile_from("{}") == {}


def profile(records: int, **field: object) -> dict[str, DatasetProfile]:
    return {"orders": DatasetProfile(records, {"x": FieldProfile(**{"nulls": 0, "distinct": 1, **field})})}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("before", "now", "shifts"),
    [
        pytest.param(profile(10, nulls=1), profile(20, nulls=6), [("share of nulls", 0.1, 0.3)], id="more nulls"),
        pytest.param(profile(10, nulls=1), profile(100, nulls=29), [], id="as good as"),
        pytest.param(profile(10, nulls=1), profile(9, nulls=9), [], id="few records"),
        pytest.param(
            profile(10, quantiles=["1", "10", "90"]),
            profile(10, quantiles=["0", "8", "99"]),
            [("median", 10.0, 8.0)],
            id="the median, by its part of the greater",
        ),
        pytest.param(
            profile(10, quantiles=["1", "-10", "9"]), profile(10, quantiles=["1", "-9", "9"]), [], id="below zero"
        ),
        pytest.param(profile(10, quantiles=["0", "0", "0"]), profile(10, quantiles=["0", "0", "0"]), [], id="zero"),
        pytest.param(
            profile(10, frequent=[("a", 10)]),
            profile(10, frequent=[("b", 2), ("a", 9)]),
            [("share of b", 0.0, 0.2)],
            id="a new value",
        ),
        pytest.param(
            profile(10, frequent=[("a", 2)]), profile(10), [("share of a", 0.2, 0.0)], id="a value that has gone"
        ),
    ],
)
def test_what_differs_by_a_fifth_is_a_shift(
    before: dict[str, DatasetProfile], now: dict[str, DatasetProfile], shifts: list[tuple[str, float, float]]
) -> None:
    found = profile_shifts(before, now, least=0.2, min_records=10)
    assert found == [ProfileShift("orders", "x", *shift) for shift in shifts]
