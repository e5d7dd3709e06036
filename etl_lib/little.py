"""What little data is: queries over it are sooner interpreted than compiled, and its stage is held by the driver.

The limits lie between what was measured (docs/performance.md): 6 MB of orders into 1.5 million, few days and all days.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from pyspark.sql import Column, Observation
from pyspark.sql import functions as F

from etl_lib.batch import Batch
from etl_lib.dimensions import DIMENSIONS
from etl_lib.landing import LandingFile
from etl_lib.observed import observed
from etl_lib.run import Run
from etl_lib.schemas import DIM_ORDER

FEW_FILE_BYTES = 16 << 20
FEW_ORDERS = 3_000_000
FEW_DATES = 10
FEW_ORDERS_OF_ALL_DATES = 100_000
FEW_ROWS = 20_000
FEW_TEXT_BYTES = 8 << 20


def reads_little(run: Run, files: Mapping[str, Sequence[LandingFile]]) -> bool:
    """Whether there is little to stage: of files, and of the orders that they are compared with."""
    size = sum(file.size for some in files.values() for file in some)
    return size <= FEW_FILE_BYTES and _orders_there(run) <= FEW_ORDERS


def touches_little(run: Run, batch: Batch) -> bool:
    """Whether there is little to apply: the days of a batch's orders are summed anew, all of their lines.

    Users and products that are new or changed touch days that are not known yet.
    """
    few_dates = len(batch.dates) <= FEW_DATES and not any(batch.of(dataset).applied for dataset in DIMENSIONS)
    return few_dates or _orders_there(run) <= FEW_ORDERS_OF_ALL_DATES


def is_held(read: Iterable[Observation]) -> bool:
    """Whether the records of a stage, observed with `size_columns`, are so few that it is read once and held."""
    sizes = [observed(observation) for observation in read]
    if None in sizes:  # nobody knows how many they are
        return False
    text = sum(size["bytes"] or 0 for size in sizes if size)
    return sum(size["rows"] for size in sizes if size) <= FEW_ROWS and text <= FEW_TEXT_BYTES


def size_columns() -> tuple[Column, Column]:
    """How many rows there are, and how many bytes of text: for `is_held`."""
    return F.count("*").alias("rows"), F.sum(F.octet_length("raw")).alias("bytes")


def _orders_there(run: Run) -> int:
    left = run.left.get(DIM_ORDER.name)
    return left.rows_after if left else 0
