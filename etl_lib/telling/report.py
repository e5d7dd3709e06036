"""The report of a run: one HTML file that needs nothing else, drawn from the JSON of its metrics; and an index of all.

`<output>/runs/<run_id>/report.html` stays, `<output>/report.html` is that of the latest run, and `<output>/index.html`
has all runs of all jobs that their states know.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from etl_lib.process.output import write_bytes
from etl_lib.process.redaction import impersonal, redacted
from etl_lib.process.streams import visible
from etl_lib.run.metrics import Metrics, as_json
from etl_lib.telling.report_view import index_view, report_view
from etl_lib.telling.state import Attempt, JobState, jobs_kept, read_state

Json = Mapping[str, Any]

_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")


@dataclass(frozen=True)
class Report:
    """Draws the report of a run, and the index anew."""

    output: str

    def tell(self, metrics: Metrics) -> None:
        """Write them; a run that was refused has no report, it is in the index alone."""
        states = read_states(self.output)
        if not metrics.is_refused:
            values = json.loads(as_json(metrics))
            write_report(self.output, values, states)
            write_bytes(
                f"{_folder(self.output)}/report.html", draw_report(values, runs_of(values, states), "").encode()
            )
        write_index(self.output, states)


def write_report(output: str, values: Json, states: Mapping[str, JobState]) -> str:
    """Draw the report of one run from its metrics, and give its path."""
    path = report_path(output, values["run_id"])
    write_bytes(path, draw_report(values, runs_of(values, states), "../../").encode())
    return path


def report_path(output: str, run_id: str) -> str:
    """Where the report of a run is."""
    return f"{_folder(output)}/runs/{run_id}/report.html"


def write_index(output: str, states: Mapping[str, JobState]) -> str:
    """Draw the index of all runs, and give its path."""
    path = f"{_folder(output)}/index.html"
    write_bytes(path, draw_index(states).encode())
    return path


def read_states(output: str) -> dict[str, JobState]:
    """What is known of the runs of each job that has told one."""
    states = {job: read_state(output, job) for job in jobs_kept(output)}
    return {job: state for job, state in states.items() if state.attempts}


def draw_report(values: Json, attempts: Sequence[Attempt], root: str) -> str:
    """The report as HTML; `attempts` are those of its job up to it, and `root` leads to the folder of the index."""
    template = _environment().get_template("report.html.j2")
    return template.render(report_view(values, attempts), root=root, n=_Numbers(values))


def draw_index(states: Mapping[str, JobState]) -> str:
    """The index as HTML, the newest run first."""
    return _environment().get_template("index.html.j2").render(index_view(states))


@dataclass(frozen=True)
class _Numbers:
    """Shows a number of the metrics together with its place there: what is shown can be checked."""

    values: Json

    def __call__(self, *path: str | int) -> Markup:
        """One number."""
        value: Any = self.values
        for key in path:
            value = value[key]
        return Markup('<data data-key="{}" value="{}">{}</data>').format(pointer(path), value, separated(value))

    def sum(self, *paths: Sequence[str | int]) -> Markup:
        """The sum of several numbers."""
        total = 0
        for path in paths:
            value: Any = self.values
            for key in path:
                value = value[key]
            total += value
        places = " ".join(pointer(path) for path in paths)
        return Markup('<data data-sum="{}" value="{}">{}</data>').format(places, total, separated(total))


def pointer(path: Sequence[str | int]) -> str:
    """The place of a value in JSON: its keys, each quoted as in a URL, so that a blank can stand between two places."""
    return "".join(f"/{quote(str(key), safe='.', errors='surrogatepass')}" for key in path)


def separated(value: object) -> str:
    """A number, or a text that is one, with all its digits, and with commas between the thousands."""
    text = str(value)
    if not _NUMBER.fullmatch(text):
        return text
    whole, point, rest = text.partition(".")
    return f"{int(whole):,}{point}{rest}" if not whole.startswith("-") else f"-{int(whole[1:]):,}{point}{rest}"


def _shown(value: object) -> object:
    """What a template puts on the page: every text passes here, so none can steer the screen of its reader."""
    if isinstance(value, str) and not hasattr(value, "__html__"):
        return visible(impersonal(redacted(value)), keep="\n")
    return value


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("etl_lib.telling"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["separated"] = separated
    environment.filters["breakable"] = _breakable
    return environment


def _breakable(text: str) -> Markup:
    """A name that may be broken behind its dots, slashes and underscores."""
    places = re.split(r"(?<=[./_-])(?![./_-])", str(_shown(text)))
    return Markup("<wbr>").join(places)


def runs_of(values: Json, states: Mapping[str, JobState]) -> list[Attempt]:
    """The attempts of the job of a run, up to that run."""
    state = states.get(values.get("job", ""), JobState())
    return [each for each in state.attempts if each.started_at <= values.get("started_at", "")]


def _folder(output: str) -> str:
    return output.rstrip("/")
