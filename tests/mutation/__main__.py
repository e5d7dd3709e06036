"""The mutation score of the modules that decide what enters the tables: `make mutation`.

Works on a copy of the project: nothing here is changed.
"""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from cosmic_ray.work_db import WorkDB, use_db

from tests.mutation.client import ask
from tests.mutation.mutants import judge_mutants, judged, make_mutants
from tests.mutation.report import report
from tests.mutation.targets import TESTS

ROOT = Path(__file__).resolve().parents[2]
NOT_COPIED = shutil.ignore_patterns(
    *(".git", ".venv", "__pycache__", "warehouse", "output", "build", "spark-warehouse", "artifacts", ".*_cache"),
    ".hypothesis",
)
MOST_SECONDS = 400
"""How long the tests of one mutant may take."""


def parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make mutation", description=__doc__)
    parser.add_argument("--modules", nargs="+", choices=TESTS, default=list(TESTS), help="only these (default: all)")
    parser.add_argument("--sample", type=int, metavar="N", help="judge N mutants (default: all that the time allows)")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6), help="what draws them and their order")
    parser.add_argument("--minutes", type=float, default=45, help="begin no mutant after so many (default: 45)")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the report there, too")
    return parser.parse_args(argv)


@contextmanager
def runner(project: Path, address: Path) -> Iterator[None]:
    """The runner over a copy of the project, ready to answer."""
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1", "SPARK_LOCAL_IP": "127.0.0.1"}
    command = [sys.executable, "-m", "tests.mutation.runner", str(address), str(MOST_SECONDS)]
    told = address.with_name("runner.log")
    with (
        told.open("wb") as log,
        subprocess.Popen(
            command, cwd=project, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        ) as process,
    ):
        try:
            while not address.exists():
                if process.poll() is not None:
                    raise RuntimeError(f"the runner ended with {process.returncode}:\n{told.read_text()}")
                time.sleep(0.2)
            yield
        finally:
            process.terminate()


def check_unchanged(address: Path, *modules: str) -> None:
    """The tests pass on the sources as they are; else it would not be the mutants that they fail on."""
    for module in modules:
        begun = time.monotonic()
        code, printed = ask(str(address), module)
        if code:
            raise RuntimeError(f"the tests of {module} fail without a mutant:\n{printed}")
        say(f"{module}: its tests pass in {time.monotonic() - begun:.1f} s")


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - progress


def measure(db: WorkDB, folder: Path, options: argparse.Namespace) -> str:
    """Make the mutants of a copy of the project, judge them, and report."""
    project, address = folder / "project", folder / "runner"
    shutil.copytree(ROOT, project, ignore=NOT_COPIED)
    left_out = make_mutants(db, project, options.modules)
    say(f"{len(judged(db))} mutants, seed {options.seed}")
    limits = {"sample": options.sample, "seed": options.seed, "seconds": options.minutes * 60}
    with runner(project, address):
        check_unchanged(address, *options.modules)
        for number, one in enumerate(judge_mutants(db, address=address, **limits), 1):
            place = f"{one.module}.py:{one.mutation.start_pos[0]}"
            say(f"{number} {'killed' if one.is_killed else 'SURVIVED'} {place} {one.change[1]}")
        check_unchanged(address, options.modules[0])  # a session that broke would have killed all after it
    asked = [f"--seed {options.seed}", f"--minutes {options.minutes:g}"]
    if options.sample:
        asked.append(f"--sample {options.sample}")
    if options.modules != list(TESTS):
        asked.append(f"--modules {' '.join(options.modules)}")
    told = f"Measured on {datetime.now(UTC):%Y-%m-%d} with `make mutation MUTATION='{' '.join(asked)}'`."
    return report(judged(db), told, left_out)


def main(argv: Sequence[str]) -> None:
    options = parse(argv)
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder, use_db(f"{folder}/session.sqlite") as db:
        text = measure(db, Path(folder), options)
    print(text)  # noqa: T201 - the report
    if options.report:
        options.report.write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
