"""A real PostgreSQL for the tests: a new cluster in a folder of its own, on a free port of the loopback.

    with postgres() as server, server.connect() as connection: ...

Passwords are asked for (scram-sha-256), there is no TLS, and nothing is synced to disk; afterwards all of it is gone.
PostgreSQL does not run as root: then the server runs as the system user `postgres`, which its Debian package makes.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pg8000 import dbapi

HOST = "127.0.0.1"
SYSTEM_USER = "postgres"
START_TIMEOUT_S = 60
START_ATTEMPTS = 3
SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "ssl": "off",
    "max_connections": "50",
    "shared_buffers": "32MB",
    "logging_collector": "off",
}


@dataclass(frozen=True)
class PostgresServer:
    """Where a running server is, and how to get in as its superuser."""

    port: int
    password: str = field(repr=False)
    log: Path
    host: str = HOST
    user: str = "owner"
    database: str = "postgres"

    def connect(self, **others: Any) -> dbapi.Connection:
        """A new connection; `others` are arguments of pg8000 instead of the usual ones."""
        usual = {"user": self.user, "host": self.host, "port": self.port, "database": self.database}
        return dbapi.connect(**{**usual, "password": self.password, "timeout": 60, **others})


@contextmanager
def postgres(settings: Mapping[str, str] | None = None) -> Iterator[PostgresServer]:
    """A server with `settings` in addition to SETTINGS, stopped and deleted at the end."""
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    try:
        if as_user():
            shutil.chown(folder, SYSTEM_USER, SYSTEM_USER)
        password = secrets.token_urlsafe(18)
        create_cluster(folder, password)
        with running(folder, password, {**SETTINGS, **(settings or {})}) as server:
            yield server
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def create_cluster(folder: Path, password: str) -> None:
    password_file = folder / "password"
    password_file.write_text(password)
    password_file.chmod(0o600)
    if as_user():
        shutil.chown(password_file, SYSTEM_USER, SYSTEM_USER)
    # C: sorted by bytes, on every machine alike.
    options = ["--username=owner", f"--pwfile={password_file}", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C"]
    command = [program("initdb"), f"--pgdata={folder / 'data'}", "--no-sync", *options]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False, **as_user())
    if done.returncode:
        raise RuntimeError(f"initdb failed:\n{done.stdout}{done.stderr}")
    password_file.unlink()


@contextmanager
def running(folder: Path, password: str, settings: Mapping[str, str]) -> Iterator[PostgresServer]:
    for attempt in range(1, START_ATTEMPTS + 1):
        server = PostgresServer(free_port(), password, folder / f"log-{attempt}")
        options = [text for name, value in settings.items() for text in ("-c", f"{name}={value}")]
        command = [program("postgres"), "-D", str(folder / "data"), "-p", str(server.port), *options]
        with server.log.open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, **as_user())
        try:
            if is_ready(server, process):
                yield server
                return
        finally:
            stop(process)
    raise RuntimeError(f"PostgreSQL did not start {START_ATTEMPTS} times; it says:\n{server.log.read_text()}")


def is_ready(server: PostgresServer, process: subprocess.Popen[bytes]) -> bool:
    """Whether it answers in time; not when it has ended, as it does when somebody else took the port."""
    until = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < until and process.poll() is None:
        try:
            server.connect(timeout=5).close()
        except (dbapi.Error, OSError):
            time.sleep(0.05)
        else:
            return True
    return False


def stop(process: subprocess.Popen[bytes]) -> None:
    """At once, without a checkpoint: nobody reads this cluster again."""
    if process.poll() is None:
        process.send_signal(signal.SIGQUIT)
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def free_port() -> int:
    with socket.socket() as found:
        found.bind((HOST, 0))
        return int(found.getsockname()[1])


def as_user() -> dict[str, Any]:
    """The arguments of `subprocess` with which PostgreSQL consents to run."""
    if os.geteuid() != 0:
        return {}
    return {"user": SYSTEM_USER, "group": SYSTEM_USER, "extra_groups": []}


def program(name: str) -> str:
    """Where a program of the server is: as pg_config says, where Debian puts it, or on the PATH."""
    folders = []
    if (pg_config := shutil.which("pg_config")) is not None:
        answer = subprocess.run([pg_config, "--bindir"], capture_output=True, text=True, check=False)
        folders.append(Path(answer.stdout.strip()))
    versions = Path("/usr/lib/postgresql").glob("*/bin")
    folders += sorted(versions, key=lambda folder: int("0" + folder.parent.name.partition(".")[0]), reverse=True)
    candidates = [*(folder / name for folder in folders), *filter(None, [shutil.which(name)])]
    for candidate in candidates:
        if os.access(candidate, os.X_OK):
            return str(candidate)
    raise RuntimeError(
        f"no PostgreSQL server here ({name} is not beside pg_config, in /usr/lib/postgresql or on the PATH): "
        "apt-get install postgresql"
    )
