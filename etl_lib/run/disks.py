"""Which disk may be full: the message of a run that found no space."""

from __future__ import annotations

import os
import shutil
import tempfile

from etl_lib.process.lock import local_folder
from etl_lib.settings.config import Settings


def full_disk_message(settings: Settings) -> str:
    """The local folders that a run writes to, each with the space that its disk has left, and what to do."""
    scratch = os.environ.get("SPARK_LOCAL_DIRS") or settings.spark.get("spark.local.dir", tempfile.gettempdir())
    places = {"warehouse": settings.warehouse, "output": settings.output, "Spark's scratch": scratch.split(",")[0]}
    told = [
        f"{name} {place} has {shutil.disk_usage(folder).free / 1e6:,.1f} MB free"
        for name, place in places.items()
        if (folder := local_folder(place)) is not None and folder.exists()
    ]
    return (
        f"a disk is full: {'; '.join(told)}. Make room and run the same command again: what was not committed is in no "
        "table, and a run that was staged is finished from its stage"
    )
