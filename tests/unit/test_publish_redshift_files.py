"""The files that Redshift's COPY loads: read back, column by column."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import SparkSession

from etl_lib.sinks.sql.redshift import write_files
from etl_lib.tables.schemas import FACT_SALES

MOMENT = datetime(2024, 5, 1, 23, 59, 59, 999999, tzinfo=UTC)


def test_files_have_exactly_the_columns_of_their_table_in_its_order_with_times_in_microseconds(
    spark: SparkSession, tmp_path: Path
) -> None:
    row = ("o1", 1, date(2024, 5, 1), MOMENT, None, "S1", 2, Decimal("0.0001"), Decimal("12.3400"), "EUR", MOMENT, "r")
    frame = spark.createDataFrame([row], FACT_SALES.schema)
    [(path, size)] = write_files(frame, str(tmp_path / "rows")).items()
    assert size == Path(path).stat().st_size
    read = pq.read_table(path)
    moment = pa.timestamp("us", tz="UTC")
    assert [(field.name, field.type) for field in read.schema] == [
        ("order_id", pa.string()),
        ("line_no", pa.int32()),
        ("order_date", pa.date32()),
        ("created_at", moment),
        ("user_id", pa.string()),
        ("sku", pa.string()),
        ("qty", pa.int32()),
        ("unit_price", pa.decimal128(18, 4)),
        ("line_amount", pa.decimal128(29, 4)),
        ("currency", pa.string()),
        ("version_at", moment),
        ("run_id", pa.string()),
    ]
    assert tuple(read.to_pylist()[0].values()) == row
    footer = pq.read_metadata(path)
    assert {footer.row_group(0).column(at).compression for at in range(footer.num_columns)} == {"SNAPPY"}
    # INT96 has no annotation, and COPY would refuse it.
    assert "isAdjustedToUTC=true, timeUnit=microseconds" in str(footer.schema.column(3).logical_type)


def test_a_frame_without_rows_leaves_no_file_to_load(spark: SparkSession, tmp_path: Path) -> None:
    empty = spark.createDataFrame([], FACT_SALES.schema)
    assert write_files(empty, str(tmp_path / "rows")) == {}
