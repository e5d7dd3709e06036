"""What can go wrong, in few types, each with the exit code that a scheduler sees.

The codes are part of the contract: 0 done, 1 failed, 2 bad arguments or configuration, 3 quality gate,
5 another run holds the warehouse.
"""


class LakehouseError(Exception):
    """A failure whose message says what, where and what to do; it is shown without a stack trace."""

    exit_code = 1


class ConfigError(LakehouseError):
    """Arguments or configuration are wrong; no input was read."""

    exit_code = 2


class SchemaError(LakehouseError):
    """A table or a CSV header does not have the declared columns; the message lists every difference."""


class InputError(LakehouseError):
    """A landing file is no longer there as it was listed: no table was changed."""


class AccountingError(LakehouseError):
    """The outcomes of a run do not add up to the records that came in."""


class PlanError(LakehouseError):
    """A plan cannot be applied: it is unknown, already applied, or the tables have moved since."""


class QualityGateError(LakehouseError):
    """A rule with severity `fail` was broken, or too many records were rejected: no table was changed."""

    exit_code = 3


class WarehouseBusyError(LakehouseError):
    """Another run holds the warehouse."""

    exit_code = 5


class ConflictError(LakehouseError):
    """Other writers came first again and again: Delta refused every try of one commit."""


class DiskFullError(LakehouseError):
    """A disk has no space left: what was not committed is not in the tables."""


class InvariantError(LakehouseError):
    """Tables contradict each other or themselves; the message names every invariant that does not hold."""


class RestoreError(LakehouseError):
    """A run cannot be undone; no table was changed."""


class UnfinishedError(LakehouseError):
    """A run was cut off and is to be finished before this can be done."""
