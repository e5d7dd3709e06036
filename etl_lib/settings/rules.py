"""Named rules: data in a YAML file, each a Spark SQL expression that must hold, with a severity.

A rule's name is its identity everywhere: in the quarantine, in dq_results, in the report.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from etl_lib.settings.strict_model import Section, Share

Severity = Literal["warn", "reject", "fail"]
RuleName = Annotated[str, StringConstraints(pattern=r"^[\w.-]+$")]
"""Letters, digits, `_`, `-` and `.`: it stands in tables, in reports and on the command line."""


class Threshold(Section):
    """How many records may break a rule before that matters: a share of the records of the dataset, or a number."""

    share: Share | None = None
    count: Annotated[int, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _says_one(self) -> Self:
        if (self.share is None) == (self.count is None):
            raise ValueError("give either share or count")
        return self

    def is_exceeded(self, failed: int, records: int) -> bool:
        """Whether more of the records broke the rule than may."""
        return failed > (self.count if self.count is not None else (self.share or 0) * records)

    def __str__(self) -> str:
        """For a person."""
        return f"{self.share:.1%}" if self.count is None else f"{self.count:,} records"


class Rule(Section):
    """`check` is true for a good record; NULL counts as broken."""

    severity: Severity
    check: str
    message: str
    owner: str | None = None
    """Who is to be asked."""
    reason: str | None = None
    """Why the rule is there."""
    threshold: Threshold | None = None
    """Records that break the rule are kept and counted, and only more than so many of them matter."""

    @model_validator(mode="after")
    def _rejects_each_record_for_itself(self) -> Self:
        if self.severity == "reject" and self.threshold is not None:
            raise ValueError(
                "a rule with severity reject has no threshold: whether a record is rejected never depends on the others"
            )
        return self

    @property
    def is_refusing(self) -> bool:
        """Whether a record that breaks the rule is rejected."""
        return self.severity != "warn" and self.threshold is None


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
