"""The folder of a pull: whole files or none, and a manifest that tells all of them."""

from __future__ import annotations

import errno
import hashlib
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.fs as pafs
import pytest

from etl_lib.process.errors import LakehouseError, WarehouseBusyError
from etl_lib.process.output import located, read_bytes, write_bytes
from etl_lib.sources.pull_folder import (
    PullFolder,
    locked_folder,
    new_pull,
    read_manifests,
    unfinished_pull,
)
from tests.aws import s3_bucket

URL = "https://host/orders"


def begun(landing: Path | str, asked: str = "a", url: str = URL) -> PullFolder:
    return new_pull(str(landing), "api", url, asked, None)


def land(folder: PullFolder, *lines: bytes, status: str = "pulling", following: str | None = "2") -> None:
    folder.page_landed(folder.write_page(lines), status, following)  # type: ignore[arg-type]


def names(folder: PullFolder) -> list[str]:
    return sorted(os.listdir(folder.location))


def test_a_page_is_a_file_with_a_line_for_each_record(tmp_path: Path) -> None:
    folder = begun(tmp_path)
    land(folder, b'{"a":1.10}', "é".encode())
    content = (Path(folder.location) / "page-00001.jsonl").read_bytes()
    assert content == '{"a":1.10}\né\n'.encode()
    (file,) = folder.manifest.files
    assert (file.name, file.bytes, file.records) == ("page-00001.jsonl", len(content), 2)
    assert file.sha256 == hashlib.sha256(content).hexdigest()


def test_the_manifest_tells_all_pages(tmp_path: Path) -> None:
    folder = begun(tmp_path)
    land(folder, b"1", b"2")
    land(folder)
    land(folder, b"3", status="complete", following=None)
    assert names(folder) == ["_manifest.json", "page-00001.jsonl", "page-00003.jsonl"]
    (found,) = read_manifests(str(tmp_path))
    assert found == folder.manifest
    assert (found.pages, found.records, found.status, found.next) == (3, 3, "complete", None)
    hashes = [hashlib.sha256(content).hexdigest() for content in (b"1\n2\n", b"3\n")]
    assert [file.sha256 for file in found.files] == hashes
    assert found.checksum == hashlib.sha256("".join(hashes).encode()).hexdigest()
    assert found.ended_at is not None
    assert found.started_at == found.until <= found.ended_at


def test_a_page_without_an_entry_in_the_manifest_is_written_anew(tmp_path: Path) -> None:
    folder = begun(tmp_path)
    land(folder, b"1")
    folder.write_page([b"of a call that was killed"])
    again = unfinished_pull(str(tmp_path), "api", URL, "a")
    assert again is not None
    land(again, b"2")
    assert (Path(folder.location) / "page-00002.jsonl").read_bytes() == b"2\n"


def test_the_newest_unfinished_pull_of_the_same_kind_is_found(tmp_path: Path) -> None:
    assert unfinished_pull(str(tmp_path), "api", URL, "a") is None
    folders = [begun(tmp_path), begun(tmp_path), begun(tmp_path, asked="b"), begun(tmp_path, url="https://else/")]
    for folder in folders:
        land(folder, b"1")
    found = unfinished_pull(str(tmp_path), "api", URL, "a")
    assert found is not None
    assert found.manifest == folders[1].manifest
    assert unfinished_pull(str(tmp_path), "jdbc", URL, "a") is None


@pytest.mark.parametrize(("status", "is_found"), [("incomplete", True), ("complete", False), ("abandoned", False)])
def test_whether_a_pull_goes_on(tmp_path: Path, status: str, is_found: bool) -> None:
    land(begun(tmp_path), b"1", status=status)
    assert (unfinished_pull(str(tmp_path), "api", URL, "a") is not None) == is_found


def test_a_pull_before_a_complete_one_does_not_go_on(tmp_path: Path) -> None:
    land(begun(tmp_path), b"1")
    land(begun(tmp_path), b"1", status="complete", following=None)
    assert unfinished_pull(str(tmp_path), "api", URL, "a") is None


def test_manifests_come_in_the_order_of_their_pulls(tmp_path: Path) -> None:
    ids = []
    for _ in range(5):
        folder = begun(tmp_path)
        land(folder, b"1")
        ids.append(folder.manifest.pull_id)
    (tmp_path / "no pull").mkdir()
    write_bytes(f"{tmp_path}/_breaker.json", b"{}")
    assert [manifest.pull_id for manifest in read_manifests(str(tmp_path))] == ids
    assert read_manifests(f"{tmp_path}/nothing") == []


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pull_id": 1}'])
def test_a_manifest_that_cannot_be_read_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "_manifest.json").write_text(content, encoding="utf-8")
    with pytest.raises(LakehouseError, match=r"x/_manifest.json: not a manifest .* delete this file"):
        read_manifests(str(tmp_path))


def test_a_second_pull_into_a_folder_is_refused(tmp_path: Path) -> None:
    landing = str(tmp_path / "new" / "landing")
    with (
        locked_folder(landing),
        pytest.raises(WarehouseBusyError, match="another pull into this folder"),
        locked_folder(landing),
    ):
        pass
    with locked_folder(landing):
        pass


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = f"file://{tmp_path}/a b/_x.json"
    assert read_bytes(path) is None
    write_bytes(path, b"a longer text than the next one")
    write_bytes(path, b"1")
    assert read_bytes(path) == b"1"
    assert os.listdir(tmp_path / "a b") == ["_x.json"]


def test_while_a_file_is_written_its_name_is_invisible_to_jobs_and_a_failure_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    class Full:
        """A file system that has no place for the last step."""

        def __getattr__(self, name: str) -> Any:
            return getattr(pafs.LocalFileSystem(), name)

        def move(self, *_: str) -> None:
            seen.extend(os.listdir(tmp_path))
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("etl_lib.process.output.located", lambda path: (Full(), path))
    with pytest.raises(OSError, match="No space left"):
        write_bytes(f"{tmp_path}/page-00001.jsonl", b"1\n")
    assert seen == ["_page-00001.jsonl.writing"]
    assert os.listdir(tmp_path) == []


def test_a_pull_lands_on_an_object_store(monkeypatch: pytest.MonkeyPatch) -> None:
    with s3_bucket() as bucket:
        for name, value in bucket.environment.items():
            monkeypatch.setenv(name, value)
        landing = "s3a://lake/landing"
        folder = begun(landing)
        with locked_folder(landing):
            land(folder, b"1", b"2")
            land(folder, status="complete", following=None)
        assert read_bytes(f"{folder.location}/page-00001.jsonl") == b"1\n2\n"
        assert read_manifests(landing) == [folder.manifest]
        assert {key.rpartition("/")[2] for key in bucket.files()} == {"_manifest.json", "page-00001.jsonl"}
        assert located(landing)[1] == "lake/landing"


def test_the_window_ends_when_the_pull_begins(tmp_path: Path) -> None:
    before = datetime.now(UTC)
    folder = begun(tmp_path)
    assert before <= folder.manifest.until <= datetime.now(UTC)
