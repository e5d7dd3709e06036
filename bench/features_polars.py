"""The features of jobs/value_props.py with Polars: the calendar window, the target week of the latest print.

    python bench/features_polars.py DATA OUT

DATA holds prints.jsonl, taps.jsonl and pays.csv; final.csv and final.parquet go to OUT. It is the script that someone
would write who trusts his files: there is no validation and no quarantine, so that one bad record ends it or passes
unseen, and neither table nor ledger. It knows the definitions from the documentation and shares no line with the job.
"""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path

import polars as pl

WINDOW = timedelta(weeks=3)
GROUP = ["user_id", "value_prop"]
COLUMNS = [
    *("day", "user_id", "position", "value_prop", "clicked"),
    *("views_3w", "clicks_3w", "payments_3w", "amount_3w"),
]
ORDER = ["day", "user_id", "value_prop", "position"]

EVENT = pl.Schema(
    {
        "day": pl.Date,
        "event_data": pl.Struct({"position": pl.Int32, "value_prop": pl.String}),
        "user_id": pl.String,
    }
)
PAY = pl.Schema({"pay_date": pl.Date, "total": pl.Decimal(38, 4), "user_id": pl.String, "value_prop": pl.String})


def read_events(path: Path) -> pl.LazyFrame:
    """Prints or taps: day, user_id, position, value_prop."""
    return pl.scan_ndjson(path, schema=EVENT).unnest("event_data")


def features(prints: pl.LazyFrame, taps: pl.LazyFrame, pays: pl.LazyFrame) -> pl.LazyFrame:
    """One row for each print of the target week, in the order of the file."""
    latest = prints.select(pl.col("day").max()).collect(engine="streaming").item()
    week = latest - timedelta(days=latest.weekday())
    in_week = pl.col("day") >= week
    in_window = pl.col("day").is_between(week - WINDOW, week, closed="left")

    views = prints.filter(in_window).group_by(GROUP).agg(views_3w=pl.len().cast(pl.Int64))
    clicks = taps.filter(in_window).group_by(GROUP).agg(clicks_3w=pl.len().cast(pl.Int64))
    payments = (
        pays.rename({"pay_date": "day"})
        .filter(in_window)
        .group_by(GROUP)
        .agg(payments_3w=pl.len().cast(pl.Int64), amount_3w=pl.col("total").sum())
    )
    tapped = (
        taps.filter(in_week)
        .group_by(*GROUP, "day")
        .agg(tapped_at=pl.col("position").unique(), anywhere=pl.col("position").is_null().any())
    )
    position = pl.col("position")
    is_tapped = pl.col("anywhere") | (
        pl.col("tapped_at").is_not_null() & (position.is_null() | pl.col("tapped_at").list.contains(position))
    )
    return (
        prints.filter(in_week)
        .join(tapped, on=[*GROUP, "day"], how="left")
        .join(views, on=GROUP, how="left")
        .join(clicks, on=GROUP, how="left")
        .join(payments, on=GROUP, how="left")
        .with_columns(
            is_tapped.fill_null(value=False).cast(pl.Int32).alias("clicked"),
            pl.col("views_3w", "clicks_3w", "payments_3w", "amount_3w").fill_null(0),
        )
        .select(COLUMNS)
        .sort(ORDER, nulls_last=False)
    )


def main(data: Path, out: Path) -> None:
    """Read the three files, write the two."""
    found = features(
        read_events(data / "prints.jsonl"),
        read_events(data / "taps.jsonl"),
        pl.scan_csv(data / "pays.csv", schema=PAY),
    ).collect(engine="streaming")
    found.write_csv(out / "final.csv")
    found.write_parquet(out / "final.parquet")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
