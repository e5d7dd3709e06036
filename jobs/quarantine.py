"""The quarantine job: rejected records listed, shown, replayed through the way of every record, or discarded.

./spark-submit.sh jobs/quarantine.py list --rule malformed_json
"""

import sys
from functools import partial
from pathlib import Path

# Plain `spark-submit jobs/quarantine.py` from a checkout finds the package beside this folder.
# Not by `__file__`, which Databricks does not set.
sys.path.insert(0, str(Path(sys._getframe().f_code.co_filename).resolve().parents[1]))

from etl_lib.commands.entry import exit_code, run_process
from etl_lib.commands.quarantine import work_on_quarantine

main, run = partial(exit_code, work_on_quarantine), partial(run_process, work_on_quarantine)

if __name__ == "__main__":
    run()
