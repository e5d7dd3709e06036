"""The steps of a run while they last, on a terminal: names, times and bars below the logs."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from math import ceil
from threading import Event, Lock, Thread
from typing import Any

from pyspark.sql import SparkSession
from pyspark.sql.utils import is_remote
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TaskID, TextColumn
from rich.table import Column
from rich.text import Text

from etl_lib.process.log_stream import LogStream
from etl_lib.process.logs import log_stream
from etl_lib.settings.config import Settings
from etl_lib.telling.estimates import expected_seconds, share_done
from etl_lib.telling.state import JobState, read_state

_EACH_S = 0.2
_LATE = 1.2
"""A step that takes so many times longer than the last runs is called late."""

_step: ContextVar[str] = ContextVar("shown_step")
"""The step in which a query of Spark is run; threads that a step starts have copies of its context."""


def display_of(settings: Settings, job: str) -> StepDisplay | None:
    """The display of a run on the stream of the logs; None where it is off, or nobody would see it."""
    stream = log_stream()
    if not settings.telling.progress or not stream.can_show:
        return None
    history = JobState()
    with suppress(OSError):  # no folder yet, or nobody may look at it: it works without
        history = read_state(settings.output, job)
    return StepDisplay(stream, job, history)


class StepDisplay:
    """Watches the steps of one run. It is shown from the first step until it is hidden; a later step shows it again."""

    def __init__(self, stream: LogStream, job: str, history: JobState) -> None:
        """Show the steps on this stream; the last runs of the job tell how long they take."""
        self._stream = stream
        self._history = history
        self._console = Console(file=io.StringIO(), force_terminal=True, highlight=False, emoji=False)
        bar = _Bar(bar_width=30, complete_style="green", finished_style="green", pulse_style="green")
        self._progress = Progress(SpinnerColumn(), _Name(), bar, _Seconds(), _Note(), disable=True)
        self._progress.add_task(job, total=None, is_step=False)
        self._tasks: dict[str, TaskID] = {}
        self._lock = Lock()
        self._thread: Thread | None = None
        self._is_hidden = Event()

    def began(self, name: str, expected: Mapping[str, int]) -> None:
        """Show a step, and the display if it is hidden."""
        _step.set(name)
        seconds = expected_seconds(self._history, name, expected)
        with self._lock:
            self._tasks[name] = self._progress.add_task(name, total=None, is_step=True, expected_s=seconds)
            if self._thread is None:
                self._is_hidden.clear()
                self._thread = Thread(target=self._refresh, name="progress", daemon=True)
                self._thread.start()

    def ended(self, name: str) -> None:
        """Show it no longer: its line in the log takes its place."""
        with self._lock:
            if (task := self._tasks.pop(name, None)) is not None:
                self._progress.remove_task(task)

    def hide(self) -> None:
        """Leave the terminal to others."""
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is not None:
            self._is_hidden.set()
            thread.join()
            with suppress(OSError):  # the terminal is gone
                self._stream.show([])

    @contextmanager
    def following(self, spark: SparkSession) -> Iterator[None]:
        """Within the block a client of Spark Connect tells how many tasks its queries have done; others cannot."""
        if not is_remote():
            yield
            return
        spark.registerProgressHandler(self._tasks_done)
        try:
            yield
        finally:
            spark.removeProgressHandler(self._tasks_done)

    def _tasks_done(self, stages: Iterable[Any] | None, **_other: object) -> None:
        """What Spark Connect tells in the thread that waits for a query: the stages, each with its tasks."""
        numbers = [(stage.num_completed_tasks, stage.num_tasks) for stage in stages or ()]
        with self._lock:
            if (task := self._tasks.get(_step.get(""))) is not None and numbers:
                self._progress.update(task, tasks=tuple(map(sum, zip(*numbers, strict=True))))

    def _refresh(self) -> None:
        while not self._is_hidden.is_set():
            with suppress(OSError):
                self._stream.show(self._lines())
            self._is_hidden.wait(_EACH_S)

    def _lines(self) -> list[str]:
        self._console.size = size = self._stream.size
        with self._console.capture() as captured:
            self._console.print(self._progress.get_renderable())
        return captured.get().splitlines()[: size.lines - 2]


class _Name(TextColumn):
    def __init__(self) -> None:
        super().__init__("", table_column=Column(no_wrap=True))

    def render(self, task: Task) -> Text:
        return Text(f"  {task.description}") if task.fields["is_step"] else Text(task.description, style="bold")


class _Bar(BarColumn):
    """How much is done by the tasks of Spark Connect, or else by time; a pulse where neither is known."""

    max_refresh = None

    def render(self, task: Task) -> Any:
        if not task.fields["is_step"]:
            return Text("")
        tasks, expected_s = task.fields.get("tasks"), task.fields["expected_s"]
        if tasks:
            task.completed, task.total = tasks
        elif expected_s:
            task.completed, task.total = share_done(task.elapsed or 0, expected_s), 1
        return super().render(task)


class _Seconds(ProgressColumn):
    """The time since it began."""

    def render(self, task: Task) -> Text:
        return Text(clock(task.elapsed or 0), style="cyan")


class _Note(ProgressColumn):
    """The tasks of its query, or how much time is left by the last runs."""

    def render(self, task: Task) -> Text:
        tasks, expected_s, elapsed = task.fields.get("tasks"), task.fields.get("expected_s"), task.elapsed or 0
        note = ""
        if tasks:
            note = f"{tasks[0]:,} of {tasks[1]:,} tasks"
        elif expected_s and elapsed < expected_s:
            note = f"about {clock(ceil(expected_s - elapsed))} left"
        elif expected_s and elapsed > _LATE * expected_s:
            note = "longer than the last runs"
        return Text(note, style="dim")


def clock(seconds: float) -> str:
    """A duration as m:ss, from an hour on as h:mm:ss."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
