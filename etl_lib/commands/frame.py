"""The frame of every command that has a run: its configuration, and the run with all that tells of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path

from etl_lib.commands.entry import read_settings
from etl_lib.run import run
from etl_lib.run.job import Job
from etl_lib.run.metrics import Metrics
from etl_lib.run.run import Run, Surroundings
from etl_lib.settings.arguments import Arguments
from etl_lib.settings.config import Settings
from etl_lib.settings.rules import RuleBook
from etl_lib.settings.strict_model import load_settings
from etl_lib.telling.progress import display_of
from etl_lib.telling.ways import begin, tell, ways_on


def nothing_to_check() -> None:
    """What a command checks before Spark that reads nothing from outside."""


@contextmanager
def open_run(
    job: Job,
    settings: Settings,
    arguments: Arguments,
    rules: RuleBook,
    check: Callable[[], None] = nothing_to_check,
) -> Iterator[Run]:
    """A run, whose steps are shown on a terminal while they last, and told at its end in every way that is on."""
    ways, display = ways_on(job, settings, arguments), display_of(settings, job.name)

    def tell_run(metrics: Metrics) -> None:
        if display:
            display.hide()
        tell(ways, metrics)

    around = Surroundings(check=check, begin=partial(begin, ways), tell=tell_run, watcher=display)
    with (
        run.open_run(job, settings, arguments, rules, around) as opened,
        display.following(opened.spark) if display else nullcontext(),
    ):
        yield opened


def read_configuration(arguments: Arguments) -> tuple[Settings, RuleBook]:
    """The settings that the arguments name, and the rules that those name; ConfigError tells every problem."""
    settings = read_settings(arguments.config, arguments.overrides)
    return settings, load_settings(RuleBook, Path(settings.rules))
