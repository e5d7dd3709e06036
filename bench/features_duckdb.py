"""The features of jobs/value_props.py with DuckDB: the calendar window, the target week of the latest print.

    python bench/features_duckdb.py DATA OUT

DATA holds prints.jsonl, taps.jsonl and pays.csv; final.csv and final.parquet go to OUT. It is the script that someone
would write who trusts his files: there is no validation and no quarantine, so that one bad record ends it or passes
unseen, and neither table nor ledger. It knows the definitions from the documentation and shares no line with the job.
"""

from __future__ import annotations

import sys
from pathlib import Path

import duckdb

READ_EVENTS = """
CREATE TEMP TABLE {name} AS
SELECT day, user_id, event_data.position AS position, event_data.value_prop AS value_prop
FROM read_json(?, format = 'newline_delimited', columns = {{
  day: 'DATE', event_data: 'STRUCT(position INTEGER, value_prop VARCHAR)', user_id: 'VARCHAR'
}})
"""

# date_trunc gives the Monday on or before.
SET_WEEK = "SET VARIABLE week = (SELECT date_trunc('week', max(day))::DATE FROM prints)"

# The pays are needed once, so they are aggregated as they are read.
COMPUTE = """
CREATE TEMP TABLE final AS
WITH views AS (
  SELECT user_id, value_prop, count(*) AS views_3w
  FROM prints
  WHERE day >= getvariable('week') - 21 AND day < getvariable('week')
  GROUP BY ALL
),
clicks AS (
  SELECT user_id, value_prop, count(*) AS clicks_3w
  FROM taps
  WHERE day >= getvariable('week') - 21 AND day < getvariable('week')
  GROUP BY ALL
),
payments AS (
  SELECT user_id, value_prop, count(*) AS payments_3w, sum(total) AS amount_3w
  FROM read_csv(?, header = true, columns = {
    pay_date: 'DATE', total: 'DECIMAL(18, 4)', user_id: 'VARCHAR', value_prop: 'VARCHAR'
  })
  WHERE pay_date >= getvariable('week') - 21 AND pay_date < getvariable('week')
  GROUP BY ALL
)
SELECT
  day, user_id, position, value_prop,
  EXISTS (
    FROM taps
    WHERE taps.user_id = prints.user_id AND taps.day = prints.day AND taps.value_prop = prints.value_prop
      AND (taps.position IS NULL OR prints.position IS NULL OR taps.position = prints.position)
  )::INTEGER AS clicked,
  coalesce(views_3w, 0) AS views_3w,
  coalesce(clicks_3w, 0) AS clicks_3w,
  coalesce(payments_3w, 0) AS payments_3w,
  coalesce(amount_3w, 0)::DECIMAL(38, 4) AS amount_3w
FROM prints
LEFT JOIN views USING (user_id, value_prop)
LEFT JOIN clicks USING (user_id, value_prop)
LEFT JOIN payments USING (user_id, value_prop)
WHERE day >= getvariable('week')
ORDER BY day, user_id, value_prop, position NULLS FIRST
"""


def main(data: Path, out: Path) -> None:
    """Read the three files, write the two."""
    with duckdb.connect() as connection:
        for name in ("prints", "taps"):
            connection.execute(READ_EVENTS.format(name=name), [str(data / f"{name}.jsonl")])
        connection.execute(SET_WEEK)
        connection.execute(COMPUTE, [str(data / "pays.csv")])
        connection.table("final").write_csv(str(out / "final.csv"), header=True)
        connection.table("final").write_parquet(str(out / "final.parquet"))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
