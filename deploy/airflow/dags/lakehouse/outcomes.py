"""What the end of a job means to Airflow: go on, try again, give up, or take the branch for stopped runs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.bases.branch import BranchMixIn
from airflow.sdk.exceptions import AirflowException, AirflowFailException

if TYPE_CHECKING:
    from airflow.sdk import Context

STOPPED = "stopped"
"""The id of the task that tells people about a closed gate."""
ENDED_BY_GATE = "ended_by_gate"
"""Under this key a job says so to the task that tells it."""

DONE, FAILED, REFUSED, GATE_CLOSED, BUSY = 0, 1, 2, 3, 5
"""The exit codes of all jobs."""
MEANINGS = {
    FAILED: "it failed, and its log says why; to run it again is safe",
    REFUSED: "wrong arguments or configuration; to run it again is useless",
    BUSY: "another run holds the warehouse",
}


class Concludes(BranchMixIn):
    """An operator that runs a job and knows its exit code."""

    inherits_from_skipmixin = True

    def conclude(self, context: Context, exit_code: int, output: str = "") -> None:
        """End the task as the job has ended.

        Takes the exit code, and what the job wrote if it was to tell its summary (`--json`); that becomes the XCom of
        the task. Raises AirflowFailException where another try is useless, AirflowException where it is not.
        """
        if exit_code == REFUSED:
            raise AirflowFailException(f"{self.task_id}: exit code {exit_code}: {MEANINGS[REFUSED]}")
        if exit_code not in (DONE, GATE_CLOSED):
            raise AirflowException(f"{self.task_id}: exit code {exit_code}: {MEANINGS.get(exit_code, 'it was killed')}")
        summary = summary_in(output)
        if summary:
            context["ti"].xcom_push(key="return_value", value=summary)
        if exit_code == GATE_CLOSED:
            context["ti"].xcom_push(key=ENDED_BY_GATE, value=True)
            self.do_branch(context, STOPPED)
        elif summary and summary["status"] != "planned":
            self.do_branch(context, None)  # a plan that found nothing: there is nothing to decide
        else:
            self.do_branch(context, sorted(self.downstream_task_ids - {STOPPED}))


class Stopped(BaseOperator):
    """Fails, so that the DAG run does, and people are told: a gate has ended one of the jobs before it."""

    def execute(self, context: Context) -> None:
        """Name the job that a gate has ended."""
        jobs = sorted(self.upstream_task_ids)
        ended = [job for job in jobs if context["ti"].xcom_pull(task_ids=job, key=ENDED_BY_GATE)]
        raise AirflowFailException(
            f"{', '.join(ended)}: a gate is closed, so no data table was changed, or for publish: the sinks stay as "
            f"they are. The tasks behind it were skipped. The job's log and report name the gate and the run; "
            f"docs/how-to/operations.md says what to do."
        )


def summary_in(output: str) -> dict[str, Any] | None:
    """What a run says of itself with `--json`, in a few words; None where the output has none."""
    for line in reversed(output.splitlines()):
        if line.startswith("{") and line.endswith("}"):
            told = json.loads(line)
            if "status" in told and "event" not in told:  # the lines of a log have an event
                return {key: told[key] for key in ("run_id", "status", "outcomes") if key in told}
    return None
