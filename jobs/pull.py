"""The pull job: what is new in an API or a database lands as files, which the orders job then loads.

./spark-submit.sh jobs/pull.py --config conf/shop.yaml
"""

import sys
from functools import partial
from pathlib import Path

# Plain `spark-submit jobs/pull.py` from a checkout finds the package beside this folder.
# Not by `__file__`, which Databricks does not set.
sys.path.insert(0, str(Path(sys._getframe().f_code.co_filename).resolve().parents[1]))

from etl_lib.commands.entry import exit_code, run_process
from etl_lib.commands.pull import pull

main, run = partial(exit_code, pull), partial(run_process, pull)

if __name__ == "__main__":
    run()
