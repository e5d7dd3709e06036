"""Named rules: data in a YAML file, each a Spark SQL expression that must hold, with a severity.

A rule's name is its identity everywhere: in the quarantine, in dq_results, in the report.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from etl_lib.settings.strict_model import Section

Severity = Literal["warn", "reject", "fail"]
RuleName = Annotated[str, StringConstraints(pattern=r"^[\w.-]+$")]
"""Letters, digits, `_`, `-` and `.`: it stands in tables, in reports and on the command line."""


class Rule(Section):
    """`check` is true for a good record; NULL counts as broken."""

    severity: Severity
    check: str
    message: str


class RuleBook(Section):
    """The rules of each dataset by their names, as `conf/rules.yaml` has them."""

    orders: dict[RuleName, Rule] = Field(default_factory=dict)
    users: dict[RuleName, Rule] = Field(default_factory=dict)
    products: dict[RuleName, Rule] = Field(default_factory=dict)
    prints: dict[RuleName, Rule] = Field(default_factory=dict)
    taps: dict[RuleName, Rule] = Field(default_factory=dict)
    pays: dict[RuleName, Rule] = Field(default_factory=dict)

    def of(self, dataset: str) -> Mapping[str, Rule]:
        """The rules of one dataset."""
        rules: Mapping[str, Rule] = getattr(self, dataset)
        return rules


STRUCTURAL = {
    "not_utf8": "the text is not valid UTF-8, nor UTF-16 with its byte order mark; save it as one of them",
    "malformed_json": "not exactly one valid JSON value with unique keys",
    "nul_in_text": "a text has a NUL character",
    "lone_surrogate": "a text has half of a surrogate pair",
    "not_an_object": "the record is no JSON object",
    "wrong_type": "a member has another type than the declared one",
    "no_key": "the record has no key or no time of its version",
    "one_object": "the file is one JSON object over several lines; write each record on a line of its own",
    "broken_array": "the rest of the array file cannot be read as JSON",
    "malformed_csv": "the line is not valid CSV",
    "wrong_column_count": "the line has more or fewer fields than the header",
}
"""What parsing itself refuses, by name; these reject, whatever the configuration says."""
