"""Which batches are held: few rows, and few bytes of text."""

from __future__ import annotations

import pytest
from pyspark.sql import Observation, SparkSession

from etl_lib import staging
from tests.frames import frame


@pytest.mark.parametrize(
    ("texts", "are_few"),
    [
        pytest.param([["a"] * 4, ["b"] * 2], True, id="as many rows as may be"),
        pytest.param([["a"] * 4, ["b"] * 3], False, id="a row more"),
        pytest.param([["a" * 9], ["\u00fc" * 3]], True, id="as many bytes as may be"),
        pytest.param([["a" * 9], ["\u00fc" * 4]], False, id="a character more"),
        pytest.param([[None], []], True, id="no text at all"),
        pytest.param([[""] * 7, []], False, id="blank lines are rows too"),
    ],
)
def test_a_batch_of_few_rows_and_bytes_is_held(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch, texts: list[list[str | None]], are_few: bool
) -> None:
    monkeypatch.setattr(staging, "FEW_ROWS", 6)
    monkeypatch.setattr(staging, "FEW_BYTES", 15)
    counted = [Observation() for _ in texts]
    for some, observation in zip(texts, counted, strict=True):
        records = frame(spark, "raw STRING", *((text,) for text in some))
        records.observe(observation, *staging.size_columns()).collect()
    assert staging.are_few(counted) == are_few
