"""The health job: whether the other jobs are well, without Spark.

.venv/bin/python jobs/health.py
"""

import sys
from functools import partial
from pathlib import Path

# Plain `spark-submit jobs/health.py` from a checkout finds the package beside this folder.
# Not by `__file__`, which Databricks does not set.
sys.path.insert(0, str(Path(sys._getframe().f_code.co_filename).resolve().parents[1]))

from etl_lib.commands.about_runs.health import check_health
from etl_lib.commands.entry import exit_code, run_process

main, run = partial(exit_code, check_health), partial(run_process, check_health)

if __name__ == "__main__":
    run()
