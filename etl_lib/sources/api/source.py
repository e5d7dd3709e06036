"""Orders from an HTTP API: every page lands as a file, and a pull that was cut off goes on where it stopped."""

from __future__ import annotations

import hashlib
import json
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta

import httpx
import structlog

from etl_lib.process.errors import ConfigError
from etl_lib.settings.api_settings import ApiSource, without_query
from etl_lib.sources.api.answers import Answer, ApiError
from etl_lib.sources.api.client import ApiClient
from etl_lib.sources.json_arrays import MalformedPageError, Page, malformed_line
from etl_lib.sources.pull_folder import PulledFile, PullFolder, Status, locked_folder, new_pull, unfinished_pull

MALFORMED_IN_A_ROW = 5
"""After so many malformed pages one after the other no further page is asked: the server is broken, not a page."""

# What a server answers when it knows a cursor or a page no more.
_GONE = {400, 404, 410, 422}

_ASKED = {
    *("url", "paging", "cursor_parameter", "cursor_field", "page_parameter", "first_page", "next_link"),
    *("page_size_parameter", "page_size", "since_parameter", "parameters"),
}

log = structlog.get_logger(__name__)


def pull_orders(settings: ApiSource, landing: str, since: datetime | None) -> PullFolder:
    """Pull all pages of what changed since a time (None: of everything) into a folder of its own in `landing`.

    An earlier pull that was cut off is finished first, in its folder and with its window, whatever `since` says. The
    next pull's `since` is the `until` of this one's manifest, if it is complete. Raises ApiError, and keeps what has
    landed; ConfigError for wrong settings; WarehouseBusyError while another pull into the same folder is under way.
    """
    if since is not None and since.tzinfo is None:
        raise ConfigError("since: expected a time with a time zone")
    with locked_folder(landing), closing(ApiClient(settings, landing)) as client:
        # A cursor or a page number has its meaning under these settings alone.
        asked = json.dumps(settings.model_dump(include=_ASKED), sort_keys=True)
        origin = ("api", address(settings), hashlib.sha256(asked.encode()).hexdigest())
        folder = unfinished_pull(landing, *origin)
        if folder is not None:
            log.info("going on with a pull that was cut off", folder=folder.location, pages=folder.manifest.pages)
            folder.resume()
            pages = folder.manifest.pages
            try:
                return _Pulling(settings, client, folder).run()
            except ApiError as error:
                is_forgotten = folder.manifest.pages == pages and folder.manifest.next is not None
                if not is_forgotten or error.status not in _GONE:
                    raise
                log.warning("the pull cannot go on, a new one begins", folder=folder.location, problem=str(error))
                folder.abandon()
        since = since.astimezone(UTC) if since is not None and settings.since_parameter is not None else None
        return _Pulling(settings, client, new_pull(landing, *origin, since)).run()


def address(settings: ApiSource) -> str:
    """What stands as `url` in the manifests of this source: its URL without the query."""
    return without_query(httpx.URL(settings.url))


class _Pulling:
    """One pull, page after page. In it, `at` names a page: by a cursor, its number or a link; None: the first page."""

    def __init__(self, settings: ApiSource, client: ApiClient, folder: PullFolder) -> None:
        self._settings = settings
        self._client = client
        self._folder = folder
        self._known: set[str] = set()
        self._malformed: list[str | None] = []
        """What named the malformed pages that came last, one after the other."""

    def run(self) -> PullFolder:
        folder = self._folder
        while folder.manifest.status == "pulling":
            self._one_page(folder.manifest.next)
        pull = folder.manifest
        if pull.status == "incomplete":
            log.warning("the pull ends at a malformed page, which the next one asks for again", folder=folder.location)
        log.info("pulled", status=pull.status, folder=folder.location, pages=pull.pages, records=pull.records)
        return folder

    def _one_page(self, at: str | None) -> None:
        started = time.monotonic()
        answer = self._client.get(self._address(at))
        file, named, is_malformed = self._land(answer)
        following = self._following(answer, named, at, is_empty=file is None)
        self._refuse_circles(file, following, is_malformed=is_malformed)
        self._malformed = [*self._malformed, at] if is_malformed else []
        status: Status = "complete" if following is None else "pulling"
        if is_malformed and (following is None or len(self._malformed) == MALFORMED_IN_A_ROW):
            status, following = "incomplete", self._malformed[0]  # where a later pull goes on
        self._folder.page_landed(file, status, following, malformed=is_malformed)
        log.info(
            "page landed",
            page=self._folder.manifest.pages,
            records=file.records if file else 0,
            bytes=len(answer.body),
            seconds=round(time.monotonic() - started, 3),
        )

    def _address(self, at: str | None) -> httpx.URL:
        settings = self._settings
        url = httpx.URL(settings.url)
        if settings.paging == "next_link" and at is not None:
            return self._client.beside(url, at)
        parameters = dict(settings.parameters)
        if settings.page_size_parameter is not None:
            parameters[settings.page_size_parameter] = str(settings.page_size)
        since = self._folder.manifest.since
        if settings.since_parameter is not None and since is not None:
            begin = since - timedelta(seconds=settings.overlap_s)
            parameters[settings.since_parameter] = f"{begin:%Y-%m-%dT%H:%M:%SZ}"
        if settings.page_parameter is not None and settings.paging == "page":
            parameters[settings.page_parameter] = at or str(settings.first_page)
        if settings.cursor_parameter is not None and settings.paging == "cursor" and at is not None:
            parameters[settings.cursor_parameter] = at
        return url.copy_merge_params(parameters)

    def _land(self, answer: Answer) -> tuple[PulledFile | None, str | None, bool]:
        """The file of a page (None if it is empty), what it names as the next one, and whether it is malformed."""
        if answer.is_empty:
            return None, None, False
        named = {"cursor": self._settings.cursor_field, "page": None, "next_link": self._settings.next_link}
        try:
            page = Page(answer.body, self._settings.records, named[self._settings.paging])
        except MalformedPageError as error:
            number = self._folder.manifest.pages + 1
            log.warning("malformed page, it goes to quarantine as one record", page=number, problem=str(error))
            line = malformed_line(answer.body, self._folder.write_raw(answer.body))
            return self._folder.write_page([line]), None, True
        return self._folder.write_page(page.lines()), page.next, False

    def _following(self, answer: Answer, named: str | None, at: str | None, *, is_empty: bool) -> str | None:
        """What names the next page, if there is one."""
        if self._settings.paging == "page":
            return None if is_empty else str(int(at or self._settings.first_page) + 1)
        if self._settings.paging == "cursor":
            return named
        link = named if self._settings.next_link is not None else answer.link
        return None if link is None else str(self._client.beside(answer.url, link))

    def _refuse_circles(self, file: PulledFile | None, following: str | None, *, is_malformed: bool) -> None:
        """ApiError when the server gives the same pages again and again: the pull would never end."""
        url, number = address(self._settings), self._folder.manifest.pages + 1
        if following in self._known:
            raise ApiError(f"{url}: page {number} names as the next one a page that has already come")
        if following is not None:
            self._known.add(following)
        before = [each.sha256 for each in self._folder.manifest.files[-2:]]
        if self._settings.paging == "page" and not is_malformed and file and before == [file.sha256] * 2:
            raise ApiError(
                f"{url}: the pages {number - 2} to {number} are the same; does the server know the parameter "
                f"{self._settings.page_parameter} (page_parameter)?"
            )
