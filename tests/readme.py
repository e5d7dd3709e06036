"""The commands of the README and the tutorial, run as they stand there, in a folder with what a checkout holds."""

from __future__ import annotations

import io
import os
import re
import shlex
import shutil
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from etl_lib.settings import arguments as command_line
from tests.job import Job

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
TUTORIAL = ROOT / "docs" / "tutorial" / "sample.md"

Files = dict[str, tuple[int, int]]
"""Files by their path, each with its size and when it was written."""


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    """The commands of the README, then those of the tutorial, in their order."""
    return "".join([*blocks(README, "bash"), *blocks(TUTORIAL, "bash")]).splitlines()


@dataclass(frozen=True)
class Done:
    """What a command printed, and the metrics and the files of the warehouse after it."""

    printed: str
    metrics: dict[str, Any]
    files: Files

    def files_of_data(self) -> Files:
        """The files of all tables but the stage and the ledger."""
        return {path: about for path, about in self.files.items() if not path.startswith(("etl_stage/", "etl_runs/"))}


@dataclass
class SampleJob(Job):
    """Tables and metrics as commands of the pages left them, over the landing files of the folder where they ran."""

    landed: Path = Path()

    @property
    def landing(self) -> Path:
        return self.landed


@dataclass
class Checkout:
    """The configuration, the sample data and the example queries in a folder of their own."""

    job: SampleJob

    @property
    def root(self) -> Path:
        return self.job.root

    def fill(self) -> None:
        """Copy the files; those of the sample are the older the later their name, on which no outcome depends."""
        for folder in ("conf", "sample_data", "docs/queries"):
            shutil.copytree(ROOT / folder, self.root / folder)
        for age, path in enumerate(sorted(self.job.landing.rglob("*.*"), key=lambda path: path.name)):
            os.utime(path, (1_700_000_000 - age, 1_700_000_000 - age))

    def run(self, command: str) -> Done:
        """Run a command in the folder; `RUN_ID` is the id of the run before it."""
        submit, script, *arguments = shlex.split(command)
        assert submit == "./spark-submit.sh"
        if "RUN_ID" in arguments:
            latest = self.job.metrics()["run_id"]
            arguments = [latest if argument == "RUN_ID" else argument for argument in arguments]
        job = import_module(script.removesuffix(".py").replace("/", "."))
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(io.StringIO()) as printed:
            patch.chdir(self.root)
            patch.setattr(command_line, "DEFAULT_CONFIG", self.root / "conf" / "local.yaml")
            for name in ("ORDERS_WAREHOUSE", "ORDERS_OUTPUT"):
                patch.delenv(name, raising=False)
            assert job.main(arguments) == 0, command
        return Done(printed.getvalue(), self.job.metrics(), self._files())

    def copy(self, root: Path) -> SampleJob:
        """The tables and the metrics as they are now, over the same landing files."""
        for folder in ("warehouse", "output"):
            shutil.copytree(self.root / folder, root / folder)
        return SampleJob(self.job.spark, root, landed=self.job.landing)

    def _files(self) -> Files:
        warehouse = self.root / "warehouse"
        files = [path for path in warehouse.rglob("*") if path.is_file() and not path.name.startswith(".lock")]
        return {str(path.relative_to(warehouse)): (path.stat().st_size, path.stat().st_mtime_ns) for path in files}
