"""How each job reads its command line, by the name of the job."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from etl_lib.settings.arguments import (
    Arguments,
    parse_feature_arguments,
    parse_health_arguments,
    parse_maintain_arguments,
    parse_order_arguments,
    parse_publish_arguments,
    parse_pull_arguments,
)
from etl_lib.settings.quality_arguments import parse_quality_arguments
from etl_lib.settings.quarantine_arguments import parse_quarantine_arguments
from etl_lib.settings.report_arguments import ReportArguments, parse_report_arguments

PARSERS: dict[str, Callable[[Sequence[str]], Arguments | ReportArguments]] = {
    "orders": parse_order_arguments,
    "value_props": parse_feature_arguments,
    "quarantine": parse_quarantine_arguments,
    "maintain": parse_maintain_arguments,
    "pull": parse_pull_arguments,
    "health": parse_health_arguments,
    "publish": parse_publish_arguments,
    "quality": parse_quality_arguments,
    "report": parse_report_arguments,
}
