"""The Redshift Data API as a real HTTP server on loopback, whose statements are run by a real PostgreSQL.

Clauses that PostgreSQL does not know are cut off, as in tests/unit/test_postgres_sql.py. COPY is done here: the
manifest and the Parquet files that it lists are read from S3, and inserted by position, as Redshift does.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Sequence
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from threading import Thread
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import pyarrow.parquet as pq
from pg8000 import dbapi

from tests.postgres_server import PostgresServer

ONLY_IN_REDSHIFT = re.compile(
    r"\n(DISTKEY|DISTSTYLE|COMPOUND SORTKEY|BACKUP)[^\n]*|,\n  (PRIMARY|FOREIGN) KEY [^\n]*?(?=,?\n)"
)
COPY = re.compile(
    r"""COPY (?P<table>"[^"]+"\."[^"]+")\nFROM '(?P<manifest>s3://[^']+)'\n"""
    r"IAM_ROLE [^\n]+\nFORMAT AS PARQUET\nMANIFEST"
)

Download = Callable[[str], bytes]
"""The content of an S3 location (`s3://bucket/key`)."""


class RedshiftApi:
    """Batches are transactions that are over before they are asked for."""

    def __init__(self, server: PostgresServer, download: Download) -> None:
        self._postgres = server
        self._download = download
        self.targets: list[str] = []
        """The operations that were called."""
        self.copied: list[tuple[str, int]] = []
        """The tables that were loaded, and the files."""
        self._answers: dict[str, dict[str, Any]] = {}
        self._numbers = count(1)
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.api = self
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def answer(self, operation: str, request: dict[str, Any]) -> dict[str, Any]:
        self.targets.append(operation)
        if operation == "ExecuteStatement":
            return {"Id": self._execute([request["Sql"]])}
        if operation == "BatchExecuteStatement":
            return {"Id": self._execute(request["Sqls"])}
        found = self._answers[request["Id"]]
        names = ("Records",) if operation == "GetStatementResult" else ("Id", "Status", "Error", "SubStatements")
        return {name: found[name] for name in names if name in found}

    def _execute(self, statements: Sequence[str]) -> str:
        """Run statements as one transaction and keep how it went under an id."""
        statement_id = f"{next(self._numbers):08d}-0000-0000-0000-000000000000"
        parts: list[dict[str, Any]] = []
        answer: dict[str, Any] = {"Id": statement_id, "Status": "FINISHED", "SubStatements": parts}
        connection = self._postgres.connect()
        try:
            for statement in statements:
                parts.append({"Id": f"{statement_id}:{len(parts) + 1}", "Status": "FINISHED"})
                answer["Records"] = self._run(connection.cursor(), statement)
            connection.commit()
        except (dbapi.Error, AssertionError) as error:
            told = {"Status": "FAILED", "Error": f"ERROR: {error}"}
            parts[-1].update(told)
            answer.update(told)
        finally:
            connection.close()
        self._answers[statement_id] = answer
        return statement_id

    def _run(self, cursor: Any, statement: str) -> list[list[dict[str, Any]]]:
        if found := COPY.fullmatch(statement):
            self._copy(cursor, found["table"], found["manifest"])
            return []
        assert not statement.startswith("COPY"), statement
        cursor.execute(ONLY_IN_REDSHIFT.sub("", statement))
        return [list(map(_field, row)) for row in cursor.fetchall()] if cursor.description else []

    def _copy(self, cursor: Any, table: str, manifest: str) -> None:
        entries = json.loads(self._download(manifest))["entries"]
        assert entries, "COPY of a manifest without files is an error"
        cursor.execute(f"SELECT * FROM {table} LIMIT 0")  # noqa: S608
        columns = [column[0] for column in cursor.description]
        for entry in entries:
            assert entry["mandatory"] is True
            content = self._download(entry["url"])
            assert len(content) == entry["meta"]["content_length"]
            rows = pq.read_table(io.BytesIO(content))
            assert len(rows.column_names) == len(columns), f"{rows.column_names} for {columns}"
            marks = ", ".join("%s" for _ in columns)
            values = [[_naive(value) for value in row] for row in zip(*rows.to_pydict().values(), strict=True)]
            cursor.executemany(f"INSERT INTO {table} VALUES ({marks})", values)  # noqa: S608
        self.copied.append((table, len(entries)))


def _naive(value: Any) -> Any:
    """As COPY reads it: times without a zone."""
    return value.replace(tzinfo=None) if isinstance(value, datetime) else value


def _field(value: Any) -> dict[str, Any]:
    if value is None:
        return {"isNull": True}
    if isinstance(value, bool):
        return {"booleanValue": value}
    if isinstance(value, int):
        return {"longValue": value}
    return {"stringValue": json.dumps(value) if isinstance(value, dict) else str(value)}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        operation = self.headers["X-Amz-Target"].removeprefix("RedshiftData.")
        body = json.dumps(self.server.api.answer(operation, request)).encode()  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """The tests look at `targets`."""


class _Server(ThreadingHTTPServer):
    api: RedshiftApi


def from_s3(client: Any) -> Download:
    """Reads with a boto3 client."""

    def download(location: str) -> bytes:
        parts = urlsplit(location)
        content: bytes = client.get_object(Bucket=parts.netloc, Key=parts.path.lstrip("/"))["Body"].read()
        return content

    return download
