"""Fault points: the places before and after each step at which a test lets the process die.

`ORDERS_FAULT=dim_order.before` kills this process there with SIGKILL, as a machine that goes down would. Without the
variable a fault point costs one look at the environment.
"""

from __future__ import annotations

import os
import signal

VARIABLE = "ORDERS_FAULT"


def reach(point: str) -> None:
    """Die here if this is the point that was asked for."""
    if os.environ.get(VARIABLE) == point:
        os.kill(os.getpid(), signal.SIGKILL)
