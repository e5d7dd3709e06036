"""A real HTTP server on loopback that serves orders in pages, and fails in every way that is asked of it."""

from __future__ import annotations

import json
import ssl
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

Fault = Callable[["Handler", bytes], None]
"""Answers a request in place of the server; gets the body that the page would have had."""


@dataclass(frozen=True)
class Seen:
    """One request as it arrived."""

    path: str
    query: dict[str, str]
    headers: dict[str, str]


class OrdersApi:
    """Pages of `orders`, each the exact text of a JSON value, under one path for each kind of paging.

    /cursor?cursor=c2    {"data": {"orders": […]}, "meta": {"next": "c3"}}, null on the last page
    /pages?page=2        […], empty behind the last page
    /links?at=2          […] with a Link header
    /next?at=2           {"orders": […], "next": "/next?at=3"}, without `next` on the last page
    """

    def __init__(self, orders: Sequence[str], page_size: int = 2, tls: ssl.SSLContext | None = None) -> None:
        self.orders = orders
        self.page_size = page_size
        self.authorization: str | None = None
        """With another Authorization header than this the answer is 401."""
        self.faults: dict[int, list[Fault]] = {}
        """By the number of a page: how its next requests are answered, one after the other."""
        self.links: dict[int, str] = {}
        """By the number of a page: what it gives as its next link or cursor instead of the right one."""
        self.seen: list[Seen] = []
        self.closing = Event()
        self._server = _Server(("127.0.0.1", 0), Handler)
        self._server.api = self
        self._scheme = "http" if tls is None else "https"
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"{self._scheme}://{host}:{self._server.server_port}{path}"

    def asked(self) -> list[str]:
        """Which pages were asked for, in order: the values of `cursor`, `page` or `at`; a first page has none."""
        names = ("cursor", "page", "at")
        return [next((seen.query[name] for name in names if name in seen.query), "") for seen in self.seen]

    def page(self, kind: str, number: int) -> tuple[bytes, dict[str, str]]:
        """The body and the headers of a page."""
        start = (number - 1) * self.page_size
        array = "[" + ",\n ".join(self.orders[start : start + self.page_size]) + "]"
        is_last = start + self.page_size >= len(self.orders)
        following = self.links.get(number)
        if kind == "cursor":
            following = following or (None if is_last else f"c{number + 1}")
            return f'{{"data": {{"orders": {array}}}, "meta": {{"next": {json.dumps(following)}}}}}'.encode(), {}
        following = following or (None if is_last else f"/{kind}?at={number + 1}")
        if kind == "next":
            member = "" if following is None else f', "next": {json.dumps(following)}'
            return f'{{"orders": {array}{member}}}'.encode(), {}
        headers = {"Link": f'</links?at=1>; rel="first", <{following}>; rel="next"'} if following else {}
        return array.encode(), headers if kind == "links" else {}


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16
    disable_nagle_algorithm = True

    @property
    def api(self) -> OrdersApi:
        return self.server.api  # type: ignore[attr-defined, no-any-return]

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = dict(parse_qsl(parts.query))
        self.api.seen.append(Seen(parts.path, query, {name.lower(): value for name, value in self.headers.items()}))
        credentials = self.headers.get("Authorization")
        if self.api.authorization is not None and credentials != self.api.authorization:
            self.answer(401, f"unknown credentials: {credentials}".encode())
            return
        number = int(query.get("page") or query.get("at") or query.get("cursor", "c1").removeprefix("c"))
        body, headers = self.api.page(parts.path.strip("/"), number)
        if faults := self.api.faults.get(number):
            faults.pop(0)(self, body)
        else:
            self.answer(200, body, headers)

    def answer(self, status: int, body: bytes, headers: dict[str, str] | None = None, *, length: int = -1) -> None:
        """Send a whole answer; with another `length` than that of the body, one that says so."""
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        if status != 204:
            self.send_header("Content-Length", str(len(body) if length < 0 else length))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """The tests look at `seen`."""


class _Server(ThreadingHTTPServer):
    api: OrdersApi

    def handle_error(self, request: Any, client_address: Any) -> None:
        # A client that has gone away is what some tests are about.
        if not isinstance(sys.exception(), ConnectionError | ssl.SSLError):
            super().handle_error(request, client_address)


def status(code: int, text: str = "", **headers: str) -> Fault:
    """Another status; `Retry_After="1"` is a header."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda handler, _: handler.answer(code, text.encode(), named)


def body(content: bytes, **headers: str) -> Fault:
    """Another body."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda handler, _: handler.answer(200, content, named)


def silence(handler: Handler, _: bytes) -> None:
    """No answer at all, until the server is closed."""
    handler.api.closing.wait(20)
    handler.close_connection = True


def drip(handler: Handler, page: bytes) -> None:
    """The body one byte after the other, for as long as the server runs."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(1 << 20))
    handler.end_headers()
    while not handler.api.closing.wait(0.02):
        handler.wfile.write(page[:1])
        handler.wfile.flush()
    handler.close_connection = True


def cut(handler: Handler, page: bytes) -> None:
    """Half of the body, and the connection is closed."""
    handler.answer(200, page[: len(page) // 2], length=len(page))
    handler.close_connection = True


def cut_without_length(handler: Handler, page: bytes) -> None:
    """Half of a body of which nothing tells the length."""
    handler.send_response(200)
    handler.send_header("Connection", "close")
    handler.end_headers()
    handler.wfile.write(page[: len(page) // 2])


def hang_up(handler: Handler, _: bytes) -> None:
    """The connection is closed without a word."""
    handler.close_connection = True
