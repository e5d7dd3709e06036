"""The report job: draws the reports of runs again, and the index of all runs.

./spark-submit.sh jobs/report.py --all
"""

import sys
from functools import partial
from pathlib import Path

# Plain `spark-submit jobs/report.py` from a checkout finds the package beside this folder.
# Not by `__file__`, which Databricks does not set.
sys.path.insert(0, str(Path(sys._getframe().f_code.co_filename).resolve().parents[1]))

from etl_lib.commands.about_runs.report import report
from etl_lib.commands.entry import exit_code, run_process

main, run = partial(exit_code, report), partial(run_process, report)

if __name__ == "__main__":
    run()
