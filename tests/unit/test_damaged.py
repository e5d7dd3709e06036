"""Files that cannot be read: found among others, with the cause and what to do about it."""

from __future__ import annotations

import errno
import gzip
from pathlib import Path
from typing import cast

import pytest
from pyspark.sql import SparkSession

from etl_lib.run.run import Run
from etl_lib.sources import new_files
from etl_lib.sources.landing import LandingFile, landing_files
from etl_lib.sources.new_files import Files, damaged_files, stage_readable
from tests.frames import collected

DENIED = (
    "java.io.FileNotFoundException: /landing/a.json (Permission denied)",
    "org.apache.hadoop.security.AccessControlException: Permission denied: user=etl, access=READ",
    "java.nio.file.AccessDeniedException: s3a://landing/a.json: getObject: Forbidden",
)


def error_of(*causes: str) -> str:
    """What Python gets of an error of Java."""
    return "An error occurred\n: [FAILED_READ_FILE]\n\tat a.b(C.scala:1)\n" + "".join(
        f"Caused by: {cause}\n\tat d.e(F.java:2)\n\t... 3 more\n" for cause in causes
    )


@pytest.mark.parametrize("cause", DENIED)
def test_a_file_that_is_not_this_user_s_is_told_so(cause: str) -> None:
    told = new_files._cause(error_of("java.lang.RuntimeException: outer", cause))
    assert told.startswith("this job may not read it; give its user the right to (")
    assert cause.rpartition(": ")[2] in told


def test_any_other_cause_is_told_as_it_is() -> None:
    assert new_files._cause(error_of("java.io.IOException: the moon is full")) == (
        "it cannot be read; look at it, and send it again (IOException: the moon is full)"
    )
    assert new_files._cause("no trace at all\nmore").endswith("(no trace at all)")


@pytest.mark.parametrize("is_named", [True, False])
def test_every_damaged_file_is_found_whether_spark_names_it_or_not(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_named: bool
) -> None:
    packed = gzip.compress(b"x\n" * 1000)
    for number in range(7):
        content = packed[:-9] if number in (1, 2, 6) else packed
        (tmp_path / f"{number} %41+é.gz").write_bytes(content)
    (tmp_path / "_hidden.gz").write_bytes(packed[:-9])
    files = collected(landing_files(spark, str(tmp_path), "input.orders"))
    files += collected(landing_files(spark, f"{tmp_path}/_hidden.gz", "input.orders"))
    if not is_named:
        monkeypatch.setattr(new_files, "_named", lambda *_: None)
    found = damaged_files(spark, files)
    assert sorted(Path(file.path).name[0] for file in found) == ["1", "2", "6", "_"]
    assert all(isinstance(file, LandingFile) for file in found)
    assert damaged_files(spark, [file for file in files if file not in found]) == {}


def test_a_full_disk_says_nothing_of_the_files() -> None:
    def stage(_files: Files) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    nobody_is_asked = cast("Run", None)
    with pytest.raises(OSError, match="No space left"):
        stage_readable(nobody_is_asked, {"orders": [LandingFile("/a", 1, 1)]}, stage)
