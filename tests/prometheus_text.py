"""What a run has left for Prometheus, read as Prometheus reads it."""

from __future__ import annotations

from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

Labels = tuple[tuple[str, str], ...]
Values = dict[str, dict[Labels, float]]


def values_in(file: Path) -> Values:
    """The values of a file, by metric without its prefix and by its labels without `job_name`, which is the file's."""
    values: Values = {}
    for family in text_string_to_metric_families(file.read_text()):
        for sample in family.samples:
            assert file.stem == f"orders_lakehouse_{sample.labels['job_name']}"
            labels = tuple(item for item in sorted(sample.labels.items()) if item[0] != "job_name")
            values.setdefault(sample.name.removeprefix("orders_lakehouse_"), {})[labels] = sample.value
    return values


def one(values: dict[Labels, float]) -> float:
    """The value of a metric that has no other label."""
    assert list(values) == [()]
    return values[()]
