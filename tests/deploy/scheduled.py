"""What the files in deploy/ start by themselves, in one form for all platforms."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class ScheduledRun:
    """One command that a description starts by itself, as its platform does."""

    description: str
    """The platform's and the file's words for it, unique: `databricks: orders_daily / orders`."""
    job: str
    """A name of PARSERS: `orders` for `jobs/orders.py` and for the entry point `orders` of the wheel."""
    arguments: tuple[str, ...]
    """What the job's parser gets."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """What the description sets for the job: `ORDERS_INPUT` and the like."""

    def settings_file(self) -> Path:
        """The configuration that the run is given, as it stands in this project and not where it was copied to."""
        at = self.arguments.index("--config")
        found = re.search(r"(?:conf|deploy)/[\w./-]+\.yaml$", os.fspath(self.arguments[at + 1]))
        assert found, f"{self.description}: {self.arguments[at + 1]} is no file of this project"
        return ROOT / found[0]
