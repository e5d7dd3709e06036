"""Real servers on loopback for alerts: a hook by HTTP, and mail with TLS and a login."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from aiosmtpd import handlers
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

LOGIN, PASSWORD = "alerts", "pass word/1"
IN_URL = "pass%20word%2F1"


@dataclass
class Hook:
    """What a hook got, and how it answers."""

    port: int
    got: list[dict[str, Any]] = field(default_factory=list)
    status: int = 200
    asked: int = 0
    """How many requests came, also those that it refused."""

    @property
    def titles(self) -> list[str]:
        """The titles of all messages that it took."""
        return [each["title"] for each in self.got]

    @property
    def url(self) -> str:
        """As Apprise writes it, with a secret in it."""
        return f"json://127.0.0.1:{self.port}/T0KEN-of-the-hook"


@contextmanager
def a_hook() -> Iterator[Hook]:
    """A server that takes what is posted; with another status than 200 it refuses all."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            hook.asked += 1
            if hook.status == 200:
                hook.got.append(body)
            self.send_response(hook.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Tests look at what it got."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hook = Hook(server.server_port)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield hook
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass
class Mailbox:
    """What a mail server took, and from whom."""

    port: int
    got: list[Message] = field(default_factory=list)

    def url(self, mode: str, password: str = IN_URL) -> str:
        """As Apprise writes it."""
        query = f"from=lake@example.com&to=ops@example.com&mode={mode}"
        return f"mailtos://{LOGIN}:{password}@127.0.0.1:{self.port}?{query}"


class _Own(handlers.Message):
    def __init__(self, box: Mailbox) -> None:
        super().__init__()
        self.box = box

    def handle_message(self, message: Message) -> None:
        self.box.got.append(message)


class _Server(Controller):
    def _trigger_server(self) -> None:
        """The system has chosen a port; the first connection, which this makes, goes there."""
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


def _login(*asked: Any) -> AuthResult:
    given = asked[-1]
    is_known = isinstance(given, LoginPassword) and (given.login, given.password) == (LOGIN.encode(), PASSWORD.encode())
    return AuthResult(success=is_known, handled=False)  # the server answers 535


@contextmanager
def a_mailbox(mode: str, certificate: tuple[Path, Path]) -> Iterator[Mailbox]:
    """A mail server that takes mail over TLS (`starttls`, or `ssl` from the first byte) of those that log in alone."""
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(*certificate)
    over = {"tls_context": tls, "require_starttls": True} if mode == "starttls" else {"ssl_context": tls}
    box = Mailbox(0)
    server = _Server(
        _Own(box), "127.0.0.1", 0, authenticator=_login, auth_required=True,
        auth_require_tls=mode == "starttls", server_hostname="mail.test", **over,
    )  # fmt: skip
    server.start()
    box.port = server.port
    try:
        yield box
    finally:
        server.stop()
