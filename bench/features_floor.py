"""What no Spark job can do without: a session, reading the three files, and writing rows as many as the result.

    ./spark-submit.sh bench/features_floor.py DATA RESULT OUT

DATA holds prints.jsonl, taps.jsonl and pays.csv; each is read with a schema, all of its columns, and goes nowhere.
RESULT is the final.parquet of the job. Its rows are written as the job writes them: as a Delta table partitioned by
week, as one CSV file and as one Parquet file. Nothing is computed, checked or counted.
"""

from __future__ import annotations

import sys

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

EVENT = "day DATE, event_data STRUCT<position: INT, value_prop: STRING>, user_id STRING"
PAY = "pay_date DATE, total DECIMAL(18,4), user_id STRING, value_prop STRING"


def read_all(frame: DataFrame) -> None:
    """Read every column of every row."""
    frame.write.format("noop").mode("overwrite").save()


def main(data: str, result: str, out: str) -> None:
    """Read the three files, write the result."""
    spark = SparkSession.builder.getOrCreate()
    read_all(spark.read.schema(EVENT).json(f"{data}/prints.jsonl"))
    read_all(spark.read.schema(EVENT).json(f"{data}/taps.jsonl"))
    read_all(spark.read.schema(PAY).csv(f"{data}/pays.csv", header=True))
    rows = spark.read.parquet(result)
    rows.withColumn("week", F.trunc("day", "week")).write.format("delta").partitionBy("week").save(f"{out}/features")
    rows.coalesce(1).write.csv(f"{out}/final.csv", header=True)
    rows.coalesce(1).write.parquet(f"{out}/final.parquet")


if __name__ == "__main__":
    main(*sys.argv[1:])
