"""The orders job: semi-structured order events into trusted Delta tables.

./spark-submit.sh jobs/orders.py --since 2024-05-01
"""

import sys
from functools import partial
from pathlib import Path

# Plain `spark-submit jobs/orders.py` from a checkout finds the package beside this folder.
# Not by `__file__`, which Databricks does not set.
sys.path.insert(0, str(Path(sys._getframe().f_code.co_filename).resolve().parents[1]))

from etl_lib.commands.entry import exit_code, run_process
from etl_lib.commands.orders import load_orders

main, run = partial(exit_code, load_orders), partial(run_process, load_orders)

if __name__ == "__main__":
    run()
