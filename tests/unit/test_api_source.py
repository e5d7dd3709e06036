"""The HTTP source against a real server: every page once, whole, exact, whatever goes wrong on the way."""

from __future__ import annotations

import hashlib
import ipaddress
import json
import logging
import ssl
import subprocess
import sys
import time
import traceback
import tracemalloc
from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydantic import ValidationError
from structlog.testing import capture_logs

from etl_lib.process.errors import ConfigError, LakehouseError, WarehouseBusyError
from etl_lib.process.secrets import reveal
from etl_lib.settings.api_settings import ApiSource
from etl_lib.settings.strict_model import Section, load_settings
from etl_lib.sources.api.answers import ApiError, CircuitOpenError
from etl_lib.sources.api.source import address, pull_orders
from etl_lib.sources.pull_folder import Pull, held, read_manifests
from tests.orders_api import (
    Fault,
    OrdersApi,
    body,
    cut,
    cut_without_length,
    drip,
    hang_up,
    silence,
    status,
)

CANARY = 'kanarienvogel"&/ä%'
TOKEN = "kanarienvogel-7f3a"  # noqa: S105 - a canary
BEARER: dict[str, Any] = {"token": "${TOKEN}"}
BASIC: dict[str, Any] = {"username": "${USER}", "password": "${PASSWORD}"}
SECRETS = {"${TOKEN}": TOKEN, "${USER}": "orders", "${PASSWORD}": CANARY}

ORDERS = [f'{{"order_id": "o{at}", "amount": {at}.10}}' for at in range(1, 8)]

PAGING: dict[str, dict[str, Any]] = {
    "cursor": {
        "paging": "cursor",
        "cursor_parameter": "cursor",
        "cursor_field": "meta.next",
        "records": "data.orders",
    },
    "pages": {"paging": "page", "page_parameter": "page"},
    "links": {"paging": "next_link"},
    "next": {"paging": "next_link", "next_link": "next", "records": "orders"},
}
KINDS = pytest.mark.parametrize("kind", list(PAGING))


@dataclass
class Source:
    """The API, the landing folder and the settings of a test; waits are short."""

    api: OrdersApi
    landing: Path
    kind: str = "pages"
    settings: dict[str, Any] = field(default_factory=dict)

    def pull(self, since: datetime | None = None, **settings: Any) -> Pull:
        given = {"url": self.api.url(f"/{self.kind}"), "longest_wait_s": 0.01, "timeout_s": 5, **PAGING[self.kind]}
        source = ApiSource(**{**given, **self.settings, **settings})
        return pull_orders(source, str(self.landing), since, SECRETS.__getitem__)

    def lines(self) -> list[str]:
        """What the jobs see in the landing folder."""
        paths = sorted(path for path in self.landing.rglob("*") if path.is_file() and path.name[0] not in "_.")
        return [line for path in paths for line in path.read_text(encoding="utf-8").split("\n")[:-1]]


@pytest.fixture
def api() -> Iterator[OrdersApi]:
    with OrdersApi(ORDERS) as api:
        yield api


@pytest.fixture
def source(api: OrdersApi, tmp_path: Path) -> Source:
    return Source(api, tmp_path / "landing")


# --- paging


@KINDS
def test_all_pages_land(source: Source, kind: str) -> None:
    source.kind = kind
    pull = source.pull()
    assert source.lines() == ORDERS
    assert pull.is_complete
    assert not pull.resumed
    assert (pull.manifest.records, pull.manifest.malformed_pages) == (7, 0)
    first = "1" if kind == "pages" else ""
    prefix = "c" if kind == "cursor" else ""
    last = ["5"] if kind == "pages" else []
    assert source.api.asked() == [first, *(prefix + number for number in ("2", "3", "4")), *last]
    assert sorted(path.name for path in Path(pull.folder).iterdir()) == [
        "_manifest.json",
        *(f"page-0000{number}.jsonl" for number in (1, 2, 3, 4)),
    ]


@KINDS
def test_no_orders_are_a_complete_pull_without_files(source: Source, kind: str) -> None:
    source.api.orders, source.kind = [], kind
    pull = source.pull()
    assert pull.is_complete
    assert (pull.manifest.records, pull.manifest.files, source.lines()) == (0, (), [])


@KINDS
def test_no_content_is_an_empty_page(source: Source, kind: str) -> None:
    source.kind = kind
    source.api.faults = {1: [status(204)]}
    assert source.pull().is_complete
    assert len(source.api.seen) == 1


def test_parameters_go_into_every_request_beside_those_of_the_url(source: Source) -> None:
    source.pull(
        url=source.api.url("/pages?status=paid"),
        parameters={"region": "a&b"},
        page_size_parameter="limit",
        page_size=2,
        first_page=2,
    )
    assert [seen.query for seen in source.api.seen] == [
        {"status": "paid", "region": "a&b", "limit": "2", "page": page} for page in ("2", "3", "4", "5")
    ]
    assert source.lines() == ORDERS[2:]


@KINDS
def test_since_is_asked_with_its_overlap(source: Source, kind: str) -> None:
    source.kind = kind
    since = datetime(2026, 3, 1, 1, 4, 30, 700000, tzinfo=UTC).astimezone()
    before = datetime.now(UTC)
    pull = source.pull(since, since_parameter="changed_since", overlap_s=60)
    asked = [seen.query.get("changed_since") for seen in source.api.seen]
    # a link is followed as it is
    expected = ["2026-03-01T01:03:30Z"] * (1 if kind in {"links", "next"} else len(asked))
    assert [value for value in asked if value] == expected
    assert pull.manifest.since == since
    assert before <= pull.manifest.until <= datetime.now(UTC)


def test_without_since_everything_is_asked(source: Source) -> None:
    assert source.pull(None, since_parameter="since").manifest.since is None
    assert source.pull(datetime(2026, 1, 1, tzinfo=UTC)).manifest.since is None
    assert all(set(seen.query) == {"page"} for seen in source.api.seen)


def test_a_time_without_a_zone_is_refused(source: Source) -> None:
    with pytest.raises(ConfigError, match="time zone"):
        source.pull(datetime(2026, 1, 1))


@pytest.mark.parametrize("kind", ["cursor", "links", "next"])
def test_a_server_that_leads_in_a_circle_is_told(source: Source, kind: str) -> None:
    source.kind = kind
    source.api.links = {3: "c2" if kind == "cursor" else f"/{kind}?at=2"}
    with pytest.raises(ApiError, match="page 3 names as the next one a page that has already come"):
        source.pull()


def test_a_server_that_does_not_know_the_page_parameter_is_told(source: Source) -> None:
    source.api.faults = {1: [body(b'[{"order_id": "same"}]') for _ in range(9)]}
    with pytest.raises(ApiError, match=r"pages 1 to 3 are the same; .* p \(page_parameter\)"):
        source.pull(page_parameter="p")


def test_a_link_header_with_several_relations_is_understood(source: Source) -> None:
    source.kind = "links"
    source.api.faults = {1: [body(b"[1]", Link='<?at=4>; title="a"; rel="last NEXT"')]}
    source.pull()
    assert source.api.asked() == ["", "4"]


def test_a_number_is_a_cursor_with_all_its_digits(source: Source) -> None:
    source.kind = "cursor"
    source.api.faults = {1: [body(b'{"meta": {"next": 4.0}, "data": {"orders": [1]}}')], 4: []}
    with pytest.raises(ApiError):
        source.pull(cursor_parameter="at", retries=0)
    assert source.api.asked() == ["", "4.0"]


# --- exact texts


TEXTS = [
    '{"amount": 1.10, "amount": 1.1}',
    '{"amount":1E400,"n":-0}',
    '{ "t" : "é \\u00e9 \\ud800 \u2028 😀 \\n ]," }',
    '"text"',
    "null",
    "[1, [2]]",
    "{}",
    '{"amount": NaN}',
    "1234567890123456789012345678901234567890.000",
    '{"deep": ' + "[" * 50 + "]" * 50 + "}",
]


@KINDS
def test_a_record_keeps_its_exact_text(source: Source, kind: str) -> None:
    source.api.orders, source.kind = TEXTS, kind
    source.pull()
    assert source.lines() == TEXTS


def test_line_breaks_between_tokens_become_spaces(source: Source) -> None:
    source.api.faults = {1: [body(b'\xef\xbb\xbf\r\n[\n  {\r\n "a":\t1.10\n}\n,\n2 ]\n\n')]}
    source.pull()
    assert source.lines()[:2] == ['{   "a":\t1.10 }', "2"]


def test_a_hundred_thousand_orders_land_exactly_in_bounded_memory(tmp_path: Path) -> None:
    class Many(Sequence[str]):
        def __len__(self) -> int:
            return 100_000

        def __getitem__(self, at: Any) -> Any:
            if isinstance(at, slice):
                return [self[each] for each in range(*at.indices(len(self)))]
            return f'{{"order_id": "o{at}", "amount": {at % 997}.{at % 10}0, "note": "{"é" * (at % 90)}", "id": {at}}}'

    orders = Many()
    digest = hashlib.sha256()
    for at in range(len(orders)):
        digest.update(f"{orders[at]}\n".encode())
    with OrdersApi(orders, page_size=1000) as api:
        source = Source(api, tmp_path, "cursor")
        tracemalloc.start()
        try:
            pull = source.pull()
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    landed, size = hashlib.sha256(), 0
    for file in pull.manifest.files:
        content = (Path(pull.folder) / file.name).read_bytes()
        landed.update(content)
        size += len(content)
    assert (pull.manifest.records, len(pull.manifest.files)) == (100_000, 100)
    assert landed.hexdigest() == digest.hexdigest()
    # a page is about 150 kB; the server, in this process, has one in hand too
    assert size > 13_000_000
    assert peak < 3_000_000


# --- pages that are not well-formed


BROKEN = {
    "cut off": b'[{"order_id": "x"}, {"order_',
    "html": b"<html>\r\n<p>Sorry\n</html>",
    "nothing": b"",
    "blank": b" \n ",
    "trailing": b"[1] [2]",
    "a line break in a text": b'[{"order_id": "a\nb"}]',
    "not utf-8": b'[{"order_id": "\xff"}]',
    "utf-16": '[{"order_id": "x"}]'.encode("utf-16"),
    "no array": b'{"order_id": "x"}',
    "a text": b'"x"',
    "too deep": b"[" * 200_000,
    "no comma": b'[{"a": 1} {"a": 2}]',
    "NUL": b"[\x00]",
}


@pytest.mark.parametrize("content", list(BROKEN.values()), ids=list(BROKEN))
@pytest.mark.parametrize("kind", ["pages", "links"])
def test_a_malformed_page_is_one_line_and_the_pull_goes_on(source: Source, kind: str, content: bytes) -> None:
    source.kind = kind
    link = {"Link": '</links?at=3>; rel="next"'} if kind == "links" else {}
    source.api.faults = {2: [body(content, **link)]}
    pull = source.pull()
    assert pull.is_complete
    assert (pull.manifest.malformed_pages, pull.manifest.records) == (1, 6)
    folder = Path(pull.folder)
    assert (folder / "_page-00002.raw").read_bytes() == content
    line = (folder / "page-00002.jsonl").read_bytes()
    assert line.endswith(content.replace(b"\r", b" ").replace(b"\n", b" ") + b"\n")
    assert line.count(b"\n") == 1
    with pytest.raises(ValueError, match=r"Expecting value|codec"):
        json.loads(line)
    others = [path.read_text(encoding="utf-8") for path in sorted(folder.glob("page-*")) if "00002" not in path.name]
    assert "".join(others).split("\n")[:-1] == [*ORDERS[:2], *ORDERS[4:]]


ENVELOPES = {
    "another path": b'{"data": {"items": [1]}, "meta": {"next": "c3"}}',
    "no object": b'{"data": [1], "meta": {"next": "c3"}}',
    "null": b'{"data": {"orders": null}, "meta": {"next": "c3"}}',
    "twice": b'{"data": {"orders": [1], "orders": [2]}, "meta": {"next": "c3"}}',
    "no name": b'{"data": {"orders": [1]}, 1: 2}',
    "no colon": b'{"data" {"orders": [1]}}',
    "no cursor": b'{"data": {"orders": [1]}, "meta": {"next": {"is": "c3"}}}',
}


@pytest.mark.parametrize("content", list(ENVELOPES.values()), ids=list(ENVELOPES))
def test_a_malformed_page_that_names_no_next_one_ends_the_pull_and_is_asked_again(
    source: Source, content: bytes
) -> None:
    source.kind = "cursor"
    source.api.faults = {2: [body(content)]}
    first = source.pull()
    assert (first.manifest.status, first.manifest.malformed_pages, first.is_complete) == ("incomplete", 1, False)
    assert source.api.asked() == ["", "c2"]
    second = source.pull()
    assert (second.folder, second.resumed, second.is_complete) == (first.folder, True, True)
    assert source.api.asked() == ["", "c2", "c2", "c3", "c4"]
    assert second.manifest.until == first.manifest.until
    assert [line for line in source.lines() if line.startswith("{")] == ORDERS


def test_a_broken_server_ends_the_pull_and_no_page_is_lost(source: Source) -> None:
    source.api.faults = {number: [body(b"<html>down</html>")] for number in range(2, 20)}
    first = source.pull()
    assert (first.manifest.status, first.manifest.malformed_pages) == ("incomplete", 5)
    source.api.faults = {}
    second = source.pull()
    assert second.is_complete
    assert source.api.asked() == [*"123456", *"2345"]
    assert [line for line in source.lines() if line.startswith("{")] == ORDERS


def test_a_page_larger_than_allowed_is_an_error_that_names_the_setting(source: Source) -> None:
    source.api.faults = {2: [body(b"[" + b" " * 200_000 + b"]")]}
    with pytest.raises(ApiError, match=r"larger than 0\.1 MB.*max_page_mb"):
        source.pull(max_page_mb=0.1)
    assert source.lines() == ORDERS[:2]


# --- credentials


def test_a_bearer_token_is_sent(source: Source) -> None:
    source.api.authorization = f"Bearer {TOKEN}"
    assert source.pull(**BEARER).is_complete


def test_a_username_and_password_are_sent(source: Source) -> None:
    source.api.authorization = "Basic " + b64encode(f"orders:{CANARY}".encode()).decode()
    assert source.pull(**BASIC).is_complete


@pytest.mark.parametrize("code", [400, 401, 403, 404, 409, 422, 304, 206])
def test_a_refusal_is_told_and_not_tried_again(source: Source, code: int) -> None:
    source.api.faults = {1: [status(code, "what is wrong\n" + 600 * "x")]}
    with pytest.raises(ApiError, match=f"/pages: HTTP {code}") as caught:
        source.pull()
    assert len(source.api.seen) == 1
    assert caught.value.status == code
    if code != 304:
        assert "what is wrong " + 486 * "x" in str(caught.value)
        assert 487 * "x" not in str(caught.value)


@pytest.mark.parametrize("value", ["a\nb", "a b", "é", "", "a\x00"])
def test_a_token_that_no_header_can_hold_is_refused_before_anything_is_sent(source: Source, value: str) -> None:
    settings = ApiSource(url=source.api.url("/pages"), **BEARER, **PAGING["pages"])
    with pytest.raises(ConfigError, match=r"\$\{TOKEN\}: the secret has characters"):
        pull_orders(settings, str(source.landing), None, lambda _: value)
    assert source.api.seen == []


@pytest.mark.parametrize("kind", ["links", "next"])
@pytest.mark.parametrize("link", ["http://localhost:{port}/x", "https://127.0.0.1:{port}/x", "//127.0.0.2:{port}/x"])
def test_a_next_link_to_another_origin_is_refused(source: Source, kind: str, link: str) -> None:
    source.kind = kind
    port = source.api.url("").rpartition(":")[2]
    source.api.links = {2: link.format(port=port)}
    with pytest.raises(ApiError, match="another origin"):
        source.pull(**BEARER)
    assert source.api.asked() == ["", "2"]


@pytest.mark.parametrize(
    "link", ["http://u:p@127.0.0.1:{port}/x", "/next?at=3&key=" + TOKEN, "/next?k=kanarien%76ogel-7f3a"]
)
def test_a_next_link_with_credentials_is_refused(source: Source, link: str) -> None:
    source.kind = "next"
    source.api.links = {1: link.format(port=source.api.url("").rpartition(":")[2])}
    with pytest.raises(ApiError, match="credentials in it") as caught:
        source.pull(**BEARER)
    assert TOKEN not in str(caught.value)
    assert len(source.api.seen) == 1


def test_a_redirect_within_the_origin_is_followed(source: Source) -> None:
    source.api.faults = {2: [status(307, Location="/pages?page=2&moved=1")]}
    assert source.pull(**BEARER).is_complete
    assert source.api.asked() == ["1", "2", "2", "3", "4", "5"]
    assert {seen.headers["authorization"] for seen in source.api.seen} == {f"Bearer {TOKEN}"}
    assert source.lines() == ORDERS


def test_a_redirect_to_another_origin_is_not_followed(source: Source) -> None:
    with OrdersApi(ORDERS) as other:
        source.api.faults = {1: [status(302, Location=other.url("/pages?page=1"))]}
        with pytest.raises(ApiError, match="another origin"):
            source.pull(**BEARER)
        assert other.seen == []


def test_what_stays_on_this_machine_goes_through_no_proxy(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    assert source.pull(retries=0).is_complete


def test_redirects_without_end_are_told(source: Source) -> None:
    source.api.faults = {1: [status(302, Location="/pages?page=1") for _ in range(20)]}
    with pytest.raises(ApiError, match="more than 5 redirects"):
        source.pull()


# --- failures that pass


PASSING: dict[str, Fault] = {
    "500": status(500, "oops"),
    "503": status(503),
    "429": status(429),
    "a cut body": cut,
    "a cut body of unknown length": cut_without_length,
    "no answer": hang_up,
    "not gzip": body(b"[1]", Content_Encoding="gzip"),
}


@pytest.mark.parametrize("fault", list(PASSING.values()), ids=list(PASSING))
def test_what_may_pass_is_tried_again(source: Source, fault: Fault) -> None:
    source.api.faults = {2: [fault, fault]}
    pull = source.pull()
    assert pull.is_complete
    assert source.api.asked() == ["1", "2", "2", "2", "3", "4", "5"]
    assert source.lines() == ORDERS
    assert not list(source.landing.rglob("*.writing"))


def test_a_server_that_does_not_answer_is_given_up_after_the_time_out(source: Source) -> None:
    source.api.faults = {1: [silence]}
    started = time.monotonic()
    assert source.pull(timeout_s=0.2).is_complete
    assert 0.2 <= time.monotonic() - started < 4
    assert source.api.asked()[:2] == ["1", "1"]


def test_a_server_that_sends_too_slowly_is_given_up(source: Source) -> None:
    source.api.faults = {1: [drip]}
    assert source.pull(page_timeout_s=0.2).is_complete
    assert source.lines() == ORDERS


@pytest.mark.parametrize(("code", "form"), [(429, "seconds"), (503, "date")])
def test_the_server_says_how_long_to_wait(source: Source, code: int, form: str) -> None:
    def later(handler: Any, _: bytes) -> None:
        # a date has whole seconds: it is between 1 and 2 seconds ahead
        moment = datetime.now(UTC) + timedelta(seconds=2)
        wait = "1" if form == "seconds" else format_datetime(moment, usegmt=True)
        handler.answer(code, b"", {"Retry-After": wait})

    source.api.faults = {2: [later]}
    started = time.monotonic()
    with capture_logs() as logs:
        source.pull(longest_wait_s=3)
    assert 0.9 <= time.monotonic() - started < 5
    (told,) = [event for event in logs if event["event"] == "asking again"]
    assert 0.9 <= told["wait_s"] <= 2
    assert f"HTTP {code}" in told["problem"]


@pytest.mark.parametrize("value", ["3600", "Fri, 31 Dec 2100 23:59:59 GMT", "9" * 400, "soon", "-1"])
def test_no_wait_is_longer_than_allowed(source: Source, value: str) -> None:
    source.api.faults = {1: [status(429, Retry_After=value)]}
    started = time.monotonic()
    assert source.pull(longest_wait_s=0.1).is_complete
    assert time.monotonic() - started < 3


@KINDS
def test_when_all_tries_fail_what_landed_stays_and_the_next_pull_goes_on_there(source: Source, kind: str) -> None:
    source.kind = kind
    source.api.faults = {3: [status(500, "out of order") for _ in range(3)]}
    since = datetime(2026, 1, 1, tzinfo=UTC)
    with pytest.raises(ApiError, match=r"3 attempt\(s\), the last: HTTP 500: out of order") as caught:
        source.pull(since, retries=2, since_parameter="since")
    assert caught.value.exit_code == 1
    assert source.lines() == ORDERS[:4]
    (cut_off,) = read_manifests(str(source.landing))
    assert (cut_off.status, cut_off.pages) == ("pulling", 2)
    asked = source.api.asked()
    pull = source.pull(datetime(2026, 2, 2, tzinfo=UTC), retries=2, since_parameter="since")
    assert (pull.resumed, pull.is_complete) == (True, True)
    prefix = "c" if kind == "cursor" else ""
    assert source.api.asked()[len(asked) :] == [prefix + page for page in ("345" if kind == "pages" else "34")]
    assert source.lines() == ORDERS
    assert (pull.manifest.since, pull.manifest.until) == (since, cut_off.until)
    assert len(read_manifests(str(source.landing))) == 1
    assert not source.pull(since_parameter="since").resumed


def test_a_failure_at_the_first_page_leaves_no_folder(source: Source) -> None:
    source.api.faults = {1: [status(500)]}
    with pytest.raises(ApiError):
        source.pull(retries=0)
    assert read_manifests(str(source.landing)) == []
    assert not source.pull().resumed


@pytest.mark.parametrize("changed", [{"page_size": 3, "page_size_parameter": "n"}, {"parameters": {"a": "b"}}])
def test_with_other_settings_a_pull_does_not_go_on(source: Source, changed: dict[str, Any]) -> None:
    source.api.faults = {3: [status(500)]}
    with pytest.raises(ApiError):
        source.pull(retries=0)
    pull = source.pull(**changed)
    assert not pull.resumed
    assert pull.manifest.records == len(ORDERS)


@pytest.mark.parametrize("code", [400, 404, 410, 422])
def test_a_cursor_that_the_server_forgot_begins_a_new_pull(source: Source, code: int) -> None:
    source.kind = "cursor"
    source.api.faults = {3: [status(500), status(code, "expired")]}
    with pytest.raises(ApiError):
        source.pull(retries=0)
    pull = source.pull(retries=0)
    assert (pull.resumed, pull.is_complete, pull.manifest.records) == (False, True, 7)
    assert [manifest.status for manifest in read_manifests(str(source.landing))] == ["abandoned", "complete"]


def test_a_refusal_in_the_middle_does_not_begin_anew(source: Source) -> None:
    source.api.faults = {3: [status(500), status(401), status(404)]}
    for expected in (500, 401):
        with pytest.raises(ApiError, match=f"HTTP {expected}"):
            source.pull(retries=0)
    source.api.faults = {4: [status(404)]}
    with pytest.raises(ApiError, match="HTTP 404"):
        source.pull(retries=0)
    assert [manifest.status for manifest in read_manifests(str(source.landing))] == ["pulling"]


def test_a_pull_that_is_cut_off_behind_its_last_page_is_complete(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    source.kind = "cursor"
    landed = []

    def lose_power(*_: Any, **__: Any) -> None:
        landed.append(1)
        if len(landed) == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr("etl_lib.sources.api.source.log", type("Log", (), {"info": lose_power, "warning": lose_power}))
    with pytest.raises(KeyboardInterrupt):
        source.pull()
    monkeypatch.undo()
    assert not source.pull().resumed
    assert source.api.asked() == ["", "c2", "c3", "c4"] * 2


KILLED = """
import sys
from etl_lib.sources.api.source import address, pull_orders
from etl_lib.settings.api_settings import ApiSource
pull_orders(ApiSource(url=sys.argv[1], paging="page", page_parameter="page"), sys.argv[2], None, str)
"""


def test_a_pull_that_is_killed_goes_on_at_the_page_after_the_last_landed_one(source: Source) -> None:
    source.api.faults = {3: [silence]}
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-c", KILLED, source.api.url("/pages"), str(source.landing)]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.DEVNULL) as process:
        while source.api.asked()[-1:] != ["3"]:
            assert process.poll() is None
            time.sleep(0.02)
        process.kill()
    pull = source.pull()
    assert (pull.resumed, pull.is_complete) == (True, True)
    assert source.api.asked() == ["1", "2", "3", "3", "4", "5"]
    assert source.lines() == ORDERS


def test_two_pulls_at_once_into_one_folder_are_refused(source: Source) -> None:
    with held(str(source.landing)), pytest.raises(WarehouseBusyError):
        source.pull()
    assert source.api.seen == []


# --- the circuit breaker


def breaker(source: Source) -> dict[str, Any]:
    states = json.loads((source.landing / "_breaker.json").read_text(encoding="utf-8"))
    return dict(states[source.api.url("/pages")])


def test_the_breaker_opens_stays_open_and_lets_one_request_through_after_its_time(source: Source) -> None:
    given: dict[str, Any] = {"breaker_failures": 3, "breaker_reset_s": 1.5, "retries": 1}
    source.api.faults = {2: [status(500) for _ in range(4)]}
    with pytest.raises(ApiError, match=r"2 attempt\(s\)"):
        source.pull(**given)
    assert (breaker(source)["state"], breaker(source)["failures"]) == ("closed", 2)
    # the third failure in a row, in another pull
    with pytest.raises(ApiError, match=r"1 attempt\(s\), .* the circuit breaker is open since 20.* from 20.* on"):
        source.pull(**given)
    opened = time.monotonic()
    assert breaker(source)["state"] == "open"
    asked = len(source.api.seen)
    with pytest.raises(CircuitOpenError, match=r"nothing was asked: the circuit breaker is open since 20.*_breaker"):
        source.pull(**given)
    assert len(source.api.seen) == asked
    time.sleep(max(0, 1.6 - (time.monotonic() - opened)))
    # the one request fails: open again at once, without further tries
    with pytest.raises(ApiError, match=r"1 attempt\(s\), .* open since"):
        source.pull(**given)
    assert len(source.api.seen) == asked + 1
    with pytest.raises(CircuitOpenError):
        source.pull(**given)
    pull = source.pull(**{**given, "breaker_reset_s": 0.01})
    assert (pull.resumed, pull.is_complete) == (True, True)
    assert (breaker(source)["state"], breaker(source)["failures"]) == ("closed", 0)
    assert source.lines() == ORDERS


def test_a_success_between_failures_keeps_the_breaker_closed(source: Source) -> None:
    source.api.faults = {page: [status(500)] for page in (1, 2, 3, 4)}
    assert source.pull(breaker_failures=2).is_complete


def test_a_rate_limit_or_a_refusal_does_not_open_the_breaker(source: Source) -> None:
    source.api.faults = {1: [*(status(429) for _ in range(4)), status(401)]}
    with pytest.raises(ApiError, match="HTTP 401"):
        source.pull(breaker_failures=1)
    assert source.pull(breaker_failures=1).is_complete


def test_the_breaker_of_one_url_is_not_that_of_another(source: Source) -> None:
    source.api.faults = {1: [status(500)]}
    with pytest.raises(ApiError):
        source.pull(breaker_failures=1, retries=0)
    source.kind = "links"
    source.api.faults = {2: [status(500)]}
    assert source.pull().is_complete
    source.kind = "pages"
    with pytest.raises(CircuitOpenError):
        source.pull()


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"%s": {"state": 1}}', '{"%s": 5}'])
def test_a_breaker_file_that_cannot_be_read_counts_as_closed(source: Source, content: str) -> None:
    source.landing.mkdir()
    text = content.replace("%s", source.api.url("/pages"))
    (source.landing / "_breaker.json").write_text(text, encoding="utf-8")
    source.api.faults = {1: [status(500)]}
    assert source.pull().is_complete
    assert breaker(source)["state"] == "closed"


# --- settings


class Whole(Section):
    source: ApiSource


def loaded(tmp_path: Path, **settings: Any) -> ApiSource:
    path = tmp_path / "conf.yaml"
    given = {"url": "https://host/orders", "paging": "next_link", **settings}
    path.write_text(json.dumps({"source": given}), encoding="utf-8")
    return load_settings(Whole, path).source


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "plain http": ({"url": "http://host/orders"}, "plain http .* allow_http"),
    "user in the url": ({"url": f"https://u:{TOKEN}@host/orders"}, r"source\.url: .*take it out"),
    "token in the url": ({"url": f"https://host/orders?access_token={TOKEN}"}, r"source\.url: .*`token`"),
    "token as a parameter": ({"parameters": {"api_key": TOKEN}}, r"source\.parameters: .*`api_key`"),
    "literal token": ({"token": TOKEN}, r"source\.token: a secret is given by reference"),
    "no url": ({"url": "/orders"}, "expected https://host/path"),
    "another scheme": ({"url": "ftp://host/orders"}, "expected https://host/path"),
    "not a url": ({"url": "https://host:port/"}, "expected https://host/path"),
    "no cursor": ({"paging": "cursor", "cursor_parameter": "c", "records": "a"}, "cursor_parameter and cursor_field"),
    "no page": ({"paging": "page"}, "page_parameter"),
    "no place for a link": ({"next_link": "next"}, "is itself the array"),
    "half a page size": ({"page_size": 5}, "go together"),
    "half a login": ({"username": "${USER}"}, "go together"),
    "two logins": ({"username": "${U}", "password": "${P}", "token": "${T}"}, "not both"),
    "a switch that there is not": ({"verify": False}, r"source\.verify: unknown key"),
}


@pytest.mark.parametrize(("settings", "why"), list(REFUSED.values()), ids=list(REFUSED))
def test_settings_that_cannot_work_or_are_not_safe_are_refused(
    tmp_path: Path, settings: dict[str, Any], why: str
) -> None:
    with pytest.raises(ConfigError, match=why) as caught:
        loaded(tmp_path, **settings)
    assert TOKEN not in "".join(traceback.format_exception(caught.value))


def test_a_refused_setting_shows_no_value_without_a_file_either() -> None:
    with pytest.raises(ValidationError) as caught:
        ApiSource(url=f"https://u:{TOKEN}@host/orders", paging="next_link")
    assert TOKEN not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "settings",
    [
        {"url": "http://localhost:8080/orders"},
        {"url": "http://[::1]/orders"},
        {"url": "http://host/orders", "allow_http": True},
        {"token": "secret:file/run/secrets/token"},
    ],
)
def test_settings_that_are_safe_are_taken(tmp_path: Path, settings: dict[str, Any]) -> None:
    assert loaded(tmp_path, **settings).retries == 4


# --- TLS


def certificate(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """A server's side of TLS for 127.0.0.1, and the file with its private authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(days=1))
        .add_extension(address, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    ca_file = folder / "ca.pem"
    ca_file.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "key.pem").write_bytes(private)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(ca_file, folder / "key.pem")
    return context, ca_file


def test_a_private_authority_is_trusted_only_when_it_is_named(tmp_path: Path) -> None:
    context, ca_file = certificate(tmp_path)
    with OrdersApi(ORDERS, tls=context) as api:
        source = Source(api, tmp_path / "landing")
        with pytest.raises(ApiError, match=r"certificate is not trusted: self.signed .* ca_file"):
            source.pull()
        assert api.seen == []
        assert source.pull(ca_file=str(ca_file)).is_complete
        assert source.lines() == ORDERS


@pytest.mark.parametrize("content", [None, b"no certificate"])
def test_a_ca_file_that_cannot_be_read_is_named(source: Source, tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"ca_file: .*ca\.pem: no certificates in PEM"):
        source.pull(ca_file=str(path))


# --- what is told


def test_each_page_is_told_without_its_query(source: Source) -> None:
    with capture_logs() as logs:
        source.pull(parameters={"customer": "c-4711"})
    pages = [event for event in logs if event["event"] == "page landed"]
    assert [(event["page"], event["records"]) for event in pages] == [(1, 2), (2, 2), (3, 2), (4, 1), (5, 0)]
    assert all(event["bytes"] > 0 and event["seconds"] >= 0 for event in pages[:4])
    assert "4711" not in repr(logs)
    (manifest,) = read_manifests(str(source.landing))
    assert "4711" not in manifest.model_dump_json()
    with_query = ApiSource(url=source.api.url("/pages?customer=c-4711"), **PAGING["pages"])
    assert manifest.url == address(with_query) == source.api.url("/pages")


def echo(code: int) -> Fault:
    """The credentials in the answer, as a careless server would, once where only the first 500 characters end."""

    def fault(handler: Any, _: bytes) -> None:
        header = handler.headers["Authorization"]
        secret = TOKEN if header.startswith("Bearer") else CANARY
        handler.answer(code, f"{f'refused: {header} {secret} ':.<485}{secret}".encode())

    return fault


def babble(handler: Any, _: bytes) -> None:
    handler.wfile.write(b"SSH-2.0 \x00\r\n\r\n")
    handler.close_connection = True


def leading(location: str) -> Fault:
    return lambda handler, _: handler.answer(302, b"", {"Location": location})


FAILURES: dict[str, tuple[Fault, dict[str, Any]]] = {
    "401": (echo(401), {}),
    "429": (echo(429), {}),
    "500": (echo(500), {}),
    "open breaker": (echo(500), {"breaker_failures": 1}),
    "time-out": (silence, {"timeout_s": 0.1}),
    "cut": (cut, {}),
    "hang up": (hang_up, {}),
    "malformed": (body(b"<html>"), {}),
    "too large": (body(b" " * 2000), {"max_page_mb": 0.001}),
    "other origin": (leading(f"http://localhost/{TOKEN}"), {}),
    "secret in a redirect": (leading(f"/pages?page=1&k={TOKEN}"), {}),
    "not http": (babble, {}),
    "no such server": (hang_up, {"url": "http://127.0.0.1:9/pages"}),
    "no certificate": (hang_up, {"ca_file": "/nowhere"}),
}
LOGINS = {"bearer": BEARER, "basic": BASIC}


def test_a_secret_that_a_server_sends_back_escaped_is_not_shown(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API_USER", "orders-api")
    password = CANARY.rstrip("%")
    monkeypatch.setenv("API_PASSWORD", password)
    source.api.faults = {1: [status(403, json.dumps({"password": password, "in": quote(password)}))]}
    login: dict[str, Any] = {"username": "${API_USER}", "password": "${API_PASSWORD}"}
    settings = ApiSource(url=source.api.url("/pages"), **PAGING["pages"], **login)
    with pytest.raises(ApiError) as caught:
        pull_orders(settings, str(source.landing), None, reveal)
    assert 'HTTP 403: {"password": "***", "in": "***"}' in str(caught.value)


@pytest.mark.parametrize("login", list(LOGINS.values()), ids=list(LOGINS))
@pytest.mark.parametrize(("fault", "settings"), list(FAILURES.values()), ids=list(FAILURES))
def test_no_failure_shows_a_secret(
    source: Source, fault: Fault, settings: dict[str, Any], login: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    source.api.faults = {2: [fault, fault]}
    told = ""
    with capture_logs() as logs:
        for _ in range(2):
            try:
                source.pull(retries=1, **{**login, **settings})
            except LakehouseError as error:
                told += "".join(traceback.format_exception(error))
    assert told or source.lines()
    files = [path for path in source.landing.rglob("*") if path.is_file()]
    told += repr(logs) + caplog.text + "".join(f"{path} {path.read_text(encoding='utf-8')}" for path in files)
    told += "".join(f"{seen.path} {seen.query}" for seen in source.api.seen if seen.query.get("k") is None)
    for secret in (TOKEN, CANARY, "kanarienvogel", b64encode(f"orders:{CANARY}".encode()).decode()):
        if secret in told:
            at = told.index(secret)
            pytest.fail(told[max(0, at - 300) : at + 100])
