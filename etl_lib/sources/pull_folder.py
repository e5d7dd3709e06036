"""Pulled files: one folder a pull, pages that never change once they are there, and a manifest that tells all of it.

    <landing>/<pull_id>/page-00001.jsonl    one record a line
    <landing>/<pull_id>/_page-00002.raw     the exact bytes of a page that was not well-formed
    <landing>/<pull_id>/_manifest.json      what was asked and what has come

Names that begin with `_` or `.` are invisible to the jobs. Every file is written beside and moved in place when it is
whole. Nothing here needs Spark.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from secrets import token_hex
from typing import Annotated, Literal

import pyarrow.fs as pafs
from pydantic import AwareDatetime, Field, ValidationError

from etl_lib.process.errors import LakehouseError, WarehouseBusyError
from etl_lib.process.lock import folder_lock
from etl_lib.process.output import located, moved_in_place, write_bytes
from etl_lib.settings.strict_model import Section

MANIFEST = "_manifest.json"
LOCK = ".pull.lock"

Status = Literal["pulling", "incomplete", "complete", "abandoned"]
RESUMABLE = ("pulling", "incomplete")


class PulledFile(Section):
    """One page file: its name in the folder, size in bytes, lines, and SHA-256 (hex) of its bytes."""

    name: str
    bytes: int
    records: int
    sha256: str


class Manifest(Section):
    """One pull. The next one asks for what changed since `until`, if this one is `complete`."""

    pull_id: str
    source: str
    url: str
    """What was asked, without its query."""
    asked: str
    """A hash of all settings that give `next` its meaning: a pull goes on only under the same."""
    since: AwareDatetime | None
    """Where the window begins, before the overlap; None: from the beginning."""
    until: AwareDatetime
    """The clock at the start of the pull."""
    status: Status = "pulling"
    """`incomplete`: the pull ended at a page that does not name the next one. `abandoned`: it could not be resumed."""
    next: str | None = None
    """What comes next: a cursor, a page number or a link; None: the first page or, in a complete pull, nothing."""
    pages: int = 0
    """Pages that came, empty and malformed ones too; an empty page has no file."""
    records: int = 0
    """Lines in all files; a malformed page is one."""
    malformed_pages: int = 0
    files: Annotated[tuple[PulledFile, ...], Field(strict=False)] = ()
    checksum: str = hashlib.sha256().hexdigest()
    """SHA-256 (hex) over the `sha256` texts of the files, one after the other."""
    started_at: AwareDatetime
    ended_at: AwareDatetime | None = None


@dataclass(frozen=True)
class Pull:
    """What one call has pulled: the folder of the pull, its manifest, and whether an earlier call had begun it."""

    folder: str
    manifest: Manifest
    resumed: bool

    @property
    def is_complete(self) -> bool:
        """Whether all pages of the window have come."""
        return self.manifest.status == "complete"


class PullFolder:
    """The folder of one pull that is under way."""

    def __init__(self, landing: str, manifest: Manifest) -> None:
        """`landing` is a local path or a URI."""
        self.location = f"{landing.rstrip('/')}/{manifest.pull_id}"
        self.manifest = manifest

    def write_page(self, lines: Iterable[bytes]) -> PulledFile | None:
        """Write the next page, a line each; None, and no file, when there are no lines.

        When `lines` raises, nothing of the page is left.
        """
        name = f"page-{self.manifest.pages + 1:05d}.jsonl"
        digest, size, records = hashlib.sha256(), 0, 0
        with moved_in_place(f"{self.location}/{name}") as beside:
            with beside.system.open_output_stream(beside.path) as stream:
                for line in lines:
                    stream.write(line + b"\n")
                    digest.update(line + b"\n")
                    size += len(line) + 1
                    records += 1
            beside.is_wanted = records > 0
        return PulledFile(name=name, bytes=size, records=records, sha256=digest.hexdigest()) if records else None

    @property
    def raw_name(self) -> str:
        """The name for the exact bytes of the next page."""
        return f"_page-{self.manifest.pages + 1:05d}.raw"

    def write_raw(self, body: bytes | bytearray) -> None:
        """Write the next page as it came, beside the page that the jobs see."""
        write_bytes(f"{self.location}/{self.raw_name}", body)

    def page_landed(
        self, file: PulledFile | None, status: Status, following: str | None, *, malformed: bool = False
    ) -> None:
        """Note in one step that the next page is there, how the pull stands with it, and what comes after it."""
        now = self.manifest
        files = now.files if file is None else (*now.files, file)
        self._note(
            status=status,
            next=following,
            pages=now.pages + 1,
            records=now.records + (file.records if file else 0),
            malformed_pages=now.malformed_pages + malformed,
            files=files,
            checksum=hashlib.sha256("".join(each.sha256 for each in files).encode()).hexdigest(),
            ended_at=None if status == "pulling" else datetime.now(UTC),
        )

    def landed(self, records: int, checksum: str) -> None:
        """Note in one step that files which somebody else wrote into the folder are all there."""
        self._note(status="complete", pages=1, records=records, checksum=checksum, ended_at=datetime.now(UTC))

    def resume(self) -> None:
        """Note that the pull goes on."""
        self._note(status="pulling", ended_at=None)

    def abandon(self) -> None:
        """Note that the pull cannot go on; its pages stay."""
        self._note(status="abandoned", ended_at=datetime.now(UTC))

    def _note(self, **changes: object) -> None:
        self.manifest = self.manifest.model_copy(update=changes)
        write_bytes(f"{self.location}/{MANIFEST}", self.manifest.model_dump_json(indent=1).encode())


def new_pull(landing: str, source: str, url: str, asked: str, since: datetime | None) -> PullFolder:
    """Begin a pull in a folder of its own, whose window ends now."""
    now = datetime.now(UTC)
    pull_id = f"{now:%Y%m%dT%H%M%S}Z-{token_hex(3)}"
    return PullFolder(
        landing,
        Manifest(pull_id=pull_id, source=source, url=url, asked=asked, since=since, until=now, started_at=now),
    )


def unfinished_pull(landing: str, source: str, url: str, asked: str) -> PullFolder | None:
    """The newest pull of this source and URL, asked in the same way, that was cut off or is incomplete.

    Only a pull after which none was completed: an older one has nothing that the completed one has not.
    """
    for manifest in reversed(read_manifests(landing)):
        if (manifest.source, manifest.url, manifest.asked) == (source, url, asked):
            if manifest.status in RESUMABLE:
                return PullFolder(landing, manifest)
            if manifest.status == "complete":
                return None
    return None


def read_manifests(landing: str) -> list[Manifest]:
    """The manifests of all pulls in the landing folder, oldest first. LakehouseError for one that cannot be read."""
    system, inner = located(landing)
    found = system.get_file_info(pafs.FileSelector(inner, allow_not_found=True))
    folders = [info.path for info in found if info.type == pafs.FileType.Directory]
    paths = [f"{folder}/{MANIFEST}" for folder in folders]
    infos = system.get_file_info(paths) if paths else []
    manifests = [_read_manifest(system, info.path) for info in infos if info.type == pafs.FileType.File]
    return sorted(manifests, key=lambda manifest: (manifest.started_at, manifest.pull_id))


def _read_manifest(system: pafs.FileSystem, path: str) -> Manifest:
    with system.open_input_stream(path) as stream:
        content = stream.read()
    try:
        return Manifest.model_validate_json(content)
    except ValidationError as error:
        fields = sorted({".".join(str(part) for part in detail["loc"]) for detail in error.errors()})
        raise LakehouseError(
            f"{path}: not a manifest of a pull ({', '.join(fields) or 'no JSON'}); "
            "delete this file: the pages beside it stay, and only an unfinished pull would have gone on from it"
        ) from None


@contextmanager
def held(landing: str) -> Iterator[None]:
    """One pull at a time into a local landing folder; WarehouseBusyError when another is under way.

    On an object store there is no such lock: there it is for the scheduler to run one at a time.
    """
    busy = WarehouseBusyError(f"{landing}: another pull into this folder is under way; wait until it ends")
    with folder_lock(landing, LOCK, lambda _: busy):
        yield
