"""All of deploy/ schedules the jobs in the same way: no window, one run at a time, nothing late is lost."""

from __future__ import annotations

import re
from types import ModuleType

import pytest

from etl_lib.settings.arguments import FeatureArguments, OrderArguments, Scope
from jobs import orders
from tests.deploy import airflow_files, databricks_files, emr_files, schedulers_files
from tests.deploy.scheduled import ScheduledRun
from tests.job import Job
from tests.parsers import PARSERS

pytestmark = pytest.mark.deploy

PLATFORMS: dict[str, ModuleType] = {
    "airflow": airflow_files,
    "databricks": databricks_files,
    "emr": emr_files,
    "schedulers": schedulers_files,
}
"""The modules that read the files of one platform: `scheduled_runs()` and `single_runs()`."""

RUNS = [run for platform in PLATFORMS.values() for run in platform.scheduled_runs()]
DISTINCT = list({run.arguments: run for run in RUNS if run.job == "orders"}.values())
"""One run of the orders job for each command line: those that say the same need no proof each."""
VARIABLES = re.compile(r"\$\{(\w+)\}")
"""What a configuration takes from the environment and has no default for."""
ORDER = {
    "order_id": "o1",
    "user_id": "u1",
    "amount": 5,
    "currency": "EUR",
    "created_at": "2024-05-01T10:00:00Z",
    "items": [{"sku": "S1", "qty": 1, "price": 5}],
    "metadata": {"source": "web"},
}


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.description)
def test_a_scheduled_command_is_one_that_its_job_takes_and_has_no_window(run: ScheduledRun) -> None:
    arguments = PARSERS[run.job](run.arguments)
    assert run.settings_file().exists()
    if isinstance(arguments, OrderArguments):
        assert (arguments.scope, arguments.plan, arguments.apply_run_id) == (Scope(), False, None)
    if isinstance(arguments, FeatureArguments):
        assert (arguments.as_of, arguments.first, arguments.last) == (None, None, None)
        assert "target_week=last_complete" in arguments.overrides


@pytest.mark.parametrize("platform", PLATFORMS)
def test_one_run_at_a_time(platform: str) -> None:
    singles = PLATFORMS[platform].single_runs()
    assert singles
    assert [description for description, is_single in singles.items() if not is_single] == []


@pytest.mark.parametrize("run", DISTINCT, ids=lambda run: run.description)
def test_a_late_record_is_loaded_by_the_next_scheduled_run(
    run: ScheduledRun, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The description's own command with its own settings; only its places are on this disk, and it has no sinks."""
    for name in VARIABLES.findall(run.settings_file().read_text()):
        monkeypatch.setenv(name, run.environment.get(name) or "not-used-here")
    arguments = list(run.arguments)
    arguments[arguments.index("--config") + 1] = str(run.settings_file())
    places = [*job.options(), "--set=sinks=[]"]
    job.land("first.jsonl", ORDER)
    assert orders.main([*arguments, *places]) == 0
    job.land("late.jsonl", ORDER | {"order_id": "late", "created_at": "2024-04-30T23:59:00Z"})
    assert orders.main([*arguments, *places]) == 0
    assert job.read_keys() == {"o1", "late"}
