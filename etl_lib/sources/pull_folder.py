"""Pulled files: one folder a pull, pages that never change once they are there, and a manifest of all of it.

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
from datetime import UTC, datetime
from secrets import token_hex
from typing import Annotated, Literal

import pyarrow.fs as pafs
from pydantic import AwareDatetime, Field, ValidationError

from etl_lib.process.errors import LakehouseError, WarehouseBusyError
from etl_lib.process.lock import folder_lock
from etl_lib.process.output import located, write_bytes
from etl_lib.settings.strict_model import StrictModel

MANIFEST = "_manifest.json"
LOCK = ".pull.lock"

Status = Literal["pulling", "incomplete", "complete", "abandoned"]


class PulledFile(StrictModel):
    """One page file: its name in the folder, size in bytes, lines, and SHA-256 (hex) of its bytes."""

    name: str
    bytes: int
    records: int
    sha256: str


class PullManifest(StrictModel):
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


class PullFolder:
    """The folder of one pull, its manifest, and whether the pull was begun by an earlier call (`resumed`)."""

    def __init__(self, landing: str, manifest: PullManifest) -> None:
        """`landing` is a local path or a URI."""
        self.location = f"{landing.rstrip('/')}/{manifest.pull_id}"
        self.manifest = manifest
        self.resumed = False

    def write_page(self, lines: Iterable[bytes]) -> PulledFile | None:
        """Write the next page, a line each; None, and no file, when there are no lines."""
        content = b"".join(line + b"\n" for line in lines)
        if not content:
            return None
        name = f"page-{self.manifest.pages + 1:05d}.jsonl"
        write_bytes(f"{self.location}/{name}", content)
        digest = hashlib.sha256(content).hexdigest()
        return PulledFile(name=name, bytes=len(content), records=content.count(b"\n"), sha256=digest)

    def write_raw(self, body: bytes | bytearray) -> str:
        """Write the exact bytes of the next page, beside the page that the jobs see; gives the name of the file."""
        name = f"_page-{self.manifest.pages + 1:05d}.raw"
        write_bytes(f"{self.location}/{name}", body)
        return name

    def page_landed(
        self, file: PulledFile | None, status: Status, following: str | None, *, malformed: bool = False
    ) -> None:
        """Note in one step the next page, the status of the pull with it, and what names the page after it."""
        before = self.manifest
        files = before.files if file is None else (*before.files, file)
        self._note(
            status=status,
            next=following,
            pages=before.pages + 1,
            records=before.records + (file.records if file else 0),
            malformed_pages=before.malformed_pages + malformed,
            files=files,
            checksum=hashlib.sha256("".join(each.sha256 for each in files).encode()).hexdigest(),
            ended_at=None if status == "pulling" else datetime.now(UTC),
        )

    def landed(self, records: int, checksum: str) -> None:
        """Note in one step that files which somebody else wrote into the folder are all there."""
        self._note(status="complete", pages=1, records=records, checksum=checksum, ended_at=datetime.now(UTC))

    def resume(self) -> None:
        """Note that the pull goes on."""
        self.resumed = True
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
    manifest = PullManifest(
        pull_id=pull_id, source=source, url=url, asked=asked, since=since, until=now, started_at=now
    )
    return PullFolder(landing, manifest)


def unfinished_pull(landing: str, source: str, url: str, asked: str) -> PullFolder | None:
    """The newest pull of this source and URL, asked in the same way, that was cut off or is incomplete.

    Only a pull after which none was completed: an older one has nothing that the completed one has not.
    """
    for manifest in reversed(read_manifests(landing)):
        if (manifest.source, manifest.url, manifest.asked) == (source, url, asked):
            if manifest.status in ("pulling", "incomplete"):
                return PullFolder(landing, manifest)
            if manifest.status == "complete":
                return None
    return None


def read_manifests(landing: str) -> list[PullManifest]:
    """The manifests of all pulls in the landing folder, oldest first. LakehouseError for one that cannot be read."""
    system, inner = located(landing)
    entries = system.get_file_info(pafs.FileSelector(inner, allow_not_found=True))
    paths = [f"{entry.path}/{MANIFEST}" for entry in entries if entry.type == pafs.FileType.Directory]
    manifests = []
    for info in system.get_file_info(paths) if paths else []:
        if info.type == pafs.FileType.File:
            with system.open_input_stream(info.path) as stream:
                manifests.append(_manifest(info.path, stream.read()))
    return sorted(manifests, key=lambda manifest: (manifest.started_at, manifest.pull_id))


def _manifest(path: str, content: bytes) -> PullManifest:
    try:
        return PullManifest.model_validate_json(content)
    except ValidationError as error:
        fields = sorted({".".join(str(part) for part in detail["loc"]) for detail in error.errors()})
        raise LakehouseError(
            f"{path}: not a manifest of a pull ({', '.join(fields) or 'no JSON'}); "
            "delete this file: the pages beside it stay, and only an unfinished pull would have gone on from it"
        ) from None


@contextmanager
def locked_folder(landing: str) -> Iterator[None]:
    """One pull at a time into a local landing folder; WarehouseBusyError when another is under way.

    On an object store there is no such lock: there it is for the scheduler to run one at a time.
    """
    busy = WarehouseBusyError(f"{landing}: another pull into this folder is under way; wait until it ends")
    with folder_lock(landing, LOCK, lambda _: busy):
        yield
