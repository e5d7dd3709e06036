"""Secrets: found where their reference says, or a clear error; and never shown once they were revealed."""

from __future__ import annotations

import base64
import html
import io
import json
import logging
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus
from urllib.request import Request, urlopen

import boto3
import pytest
import structlog
from hypothesis import example, given, settings
from hypothesis import strategies as st

from etl_lib.commands.entry import exit_code
from etl_lib.process import redaction
from etl_lib.process.errors import ConfigError, LakehouseError
from etl_lib.process.logs import configure_logs
from etl_lib.process.redaction import redacted
from etl_lib.process.secrets import SecretError, reveal, without_credentials
from tests import aws as services

ROOT = Path(__file__).resolve().parents[2]
CANARY = 'c4n"ary/p@ss wörd\\+'
"""A secret that every quoting changes."""


@pytest.fixture(autouse=True)
def nothing_revealed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "_REVEALED", redaction._Revealed())


@pytest.fixture
def canary(monkeypatch: pytest.MonkeyPatch) -> str:
    """A secret that was revealed."""
    monkeypatch.setenv("CANARY", CANARY)
    return reveal("${CANARY}")


@pytest.fixture(scope="module")
def aws_server() -> Iterator[str]:
    with services.aws_server() as address:
        yield address


@pytest.fixture
def aws(aws_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """AWS Secrets Manager, empty at first, for the standard chain of credentials and nothing of this machine."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in {
        "AWS_ENDPOINT_URL": aws_server,
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_ACCESS_KEY_ID": "access",
        "AWS_SECRET_ACCESS_KEY": "any",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": str(tmp_path / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"),
    }.items():
        monkeypatch.setenv(name, value)
    yield boto3.Session().client("secretsmanager")
    services.forget(aws_server)


@pytest.fixture
def databricks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a job on Databricks finds: the module with `dbutils`, here with one secret in it."""
    package = tmp_path / "databricks" / "sdk"
    package.mkdir(parents=True)
    for folder in (package.parent, package):  # whole packages: another one of Databricks may be installed
        (folder / "__init__.py").touch()
    (package / "runtime.py").write_text(
        "class Secrets:\n"
        "    def get(self, scope, key):\n"
        "        if (scope, key) != ('orders', 'db-password'):\n"
        "            raise ValueError(f'Secret does not exist with scope: {scope} and key: {key}\\n  at a.java')\n"
        "        return 'of databricks'\n"
        "class Utilities:\n"
        "    secrets = Secrets()\n"
        "dbutils = Utilities()\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "databricks", raising=False)
    yield
    for name in ("databricks.sdk.runtime", "databricks.sdk", "databricks"):
        sys.modules.pop(name, None)


def post(url: str, body: bytes) -> None:
    with urlopen(Request(url, body, {"Content-Type": "text/plain"})) as answer:  # noqa: S310 - the server of this test
        answer.read()


def why_not(reference: str) -> str:
    """Why a reference gives no secret: the message, which begins with the reference."""
    with pytest.raises(SecretError) as caught:
        reveal(reference)
    assert isinstance(caught.value, LakehouseError)
    assert caught.value.exit_code == 2
    told, _, reason = str(caught.value).partition(f"{reference}: ")
    assert told == ""
    return reason


# One kind of reference after the other.


def test_an_environment_variable_is_read_when_its_secret_is_revealed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB_PASSWORD", "first")
    assert reveal("${DB_PASSWORD}") == "first"
    monkeypatch.setenv("DB_PASSWORD", "second")
    assert reveal("${DB_PASSWORD}") == "second"
    assert redacted("first second") == "*** ***"


def test_an_environment_variable_that_is_not_set_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DB_PASSWORD", raising=False)
    assert why_not("${DB_PASSWORD}").startswith("the environment variable DB_PASSWORD is not set; set it")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        pytest.param("", "the secret is empty", id="empty"),
        pytest.param(" \t  \n", "the secret is empty", id="blank"),
        pytest.param("abc", "the secret has fewer than 4 characters and could not be told apart", id="short"),
        pytest.param(b"pass\xffword", "the secret is not valid UTF-8", id="no text"),
    ],
)
def test_what_is_no_secret_is_refused_without_the_value(
    value: str | bytes, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DB_PASSWORD", os.fsdecode(value))
    told = why_not("${DB_PASSWORD}")
    assert told.startswith(reason)
    assert "abc" not in told
    assert "pass" not in told


def test_four_characters_are_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB_PASSWORD", "abcd")
    assert reveal("${DB_PASSWORD}") == "abcd"


@pytest.mark.parametrize(
    ("content", "value"),
    [
        pytest.param(b"of a file", "of a file", id="no newline"),
        pytest.param(b"of a file\n", "of a file", id="one newline"),
        pytest.param(b"of a file\r\n", "of a file", id="one newline of Windows"),
        pytest.param(b"of a file\n\n", "of a file\n", id="one of two newlines"),
        pytest.param(b" a\nb \n", " a\nb ", id="several lines"),
    ],
)
@pytest.mark.parametrize("prefix", ["secret:file", "secret:file/"], ids=["path", "slash and path"])
def test_a_mounted_file_gives_its_text_less_one_newline(
    content: bytes, value: str, prefix: str, tmp_path: Path
) -> None:
    path = tmp_path / "db password"
    path.write_bytes(content)
    assert reveal(f"{prefix}{path}") == value
    assert redacted(f"<{value}>") == "<***>"


def test_a_file_that_cannot_be_read_is_named_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "binary").write_bytes(b"pass\xffword")
    assert why_not(f"secret:file{tmp_path}/absent").startswith("the file cannot be read: No such file or directory;")
    assert why_not(f"secret:file{tmp_path}").startswith("the file cannot be read: Is a directory;")
    assert why_not(f"secret:file{tmp_path}/loop").startswith("the file cannot be read: Too many levels")
    assert why_not(f"secret:file{tmp_path}/binary") == "the file is not valid UTF-8; store the secret as text"


def test_aws_gives_a_secret_by_name_by_arn_and_by_a_key_of_its_json(aws: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    aws.create_secret(Name="prod/orders.api_token", SecretString="of aws")
    document = json.dumps({"username": "orders", "password": CANARY, "pin": 12345})
    arn = aws.create_secret(Name="prod/orders-db", SecretString=document)["ARN"]
    assert reveal("secret:aws/prod/orders.api_token") == "of aws"
    assert reveal("secret:aws/prod/orders-db#password") == CANARY
    assert reveal("secret:aws/prod/orders-db#pin") == "12345"
    assert reveal("secret:aws/prod/orders-db") == document
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    assert reveal(f"secret:aws/{arn}#username") == "orders"
    assert redacted(f"of aws, {CANARY}, 12345, orders") == "***, ***, ***, ***"


@pytest.mark.parametrize(
    ("stored", "key", "reason"),
    [
        pytest.param({"SecretString": "canary"}, "password", "no JSON object with the key 'password'", id="no JSON"),
        pytest.param({"SecretString": '["canary"]'}, "password", "no JSON object with the key", id="no object"),
        pytest.param({"SecretString": '{"x": "canary"}'}, "password", "no JSON object with the key", id="no such key"),
        pytest.param({"SecretString": '{"x": ["canary"]}'}, "x", "what the JSON object has at 'x' is no", id="no text"),
        pytest.param({"SecretString": '{"x": true}'}, "x", "what the JSON object has at 'x' is no text", id="boolean"),
        pytest.param({"SecretString": '{"x": ""}'}, "x", "the secret is empty", id="empty"),
        pytest.param({"SecretString": '{"x": "\\udcff canary"}'}, "x", "the secret is not valid UTF-8", id="surrogate"),
        pytest.param({"SecretBinary": b"canary"}, "x", "the secret is binary; store it as text", id="binary"),
    ],
)
def test_a_secret_of_aws_that_has_not_what_is_wanted_is_named(
    aws: Any, stored: dict[str, Any], key: str, reason: str
) -> None:
    aws.create_secret(Name="db", **stored)
    told = why_not(f"secret:aws/db#{key}")
    assert reason in told
    assert "canary" not in told


def test_a_secret_that_aws_does_not_know_is_named(aws: Any) -> None:
    aws.create_secret(Name="other", SecretString="of aws")
    told = why_not("secret:aws/db")
    assert told.startswith("AWS Secrets Manager does not give it: An error occurred (ResourceNotFoundException)")
    assert "secretsmanager:GetSecretValue" in told


def test_a_secret_that_these_credentials_may_not_read_is_named(aws: Any, aws_server: str) -> None:
    aws.create_secret(Name="db", SecretString="of aws")
    post(f"{aws_server}/moto-api/reset-auth", b"0")
    try:
        told = why_not("secret:aws/db")
    finally:
        post(f"{aws_server}/moto-api/reset-auth", b"inf")
    assert told.startswith("AWS Secrets Manager does not give it: An error occurred (403) when calling")
    assert "of aws" not in told


@pytest.mark.usefixtures("aws")
def test_without_a_region_that_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    assert "AWS Secrets Manager does not give it: You must specify a region" in why_not("secret:aws/db")


@pytest.mark.usefixtures("aws")
def test_without_credentials_or_a_server_aws_is_given_up_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{nobody.getsockname()[1]}")
        assert "Could not connect to the endpoint URL" in why_not("secret:aws/db")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert "Unable to locate credentials" in why_not("secret:aws/db")


def test_without_boto3_it_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    assert why_not("secret:aws/db") == "boto3 is not installed; install this package with its extra `aws`"


@pytest.mark.usefixtures("databricks")
def test_databricks_gives_a_secret_of_a_scope_or_says_why_not() -> None:
    assert reveal("secret:databricks/orders/db-password") == "of databricks"
    assert redacted("of databricks") == "***"
    told = why_not("secret:databricks/orders/other")
    assert told.startswith(
        "Databricks does not give it: ValueError: Secret does not exist with scope: orders and key: other. Check scope"
    )


def test_elsewhere_there_are_no_secrets_of_databricks() -> None:
    told = why_not("secret:databricks/orders/db-password")
    assert told.startswith("only Databricks has this kind of secret, and this is not Databricks (ModuleNotFoundError)")


@pytest.mark.parametrize(
    "text",
    [
        "hunter2",
        "$DB_PASSWORD",
        "${DB_PASSWORD:-hunter2}",
        "hunter2${DB_PASSWORD}",
        "${DB_PASSWORD}\n",
        "secret:aws/",
        "secret:aws/db#",
        "secret:databricks/scope",
        "secret:databricks/scope/a/b",
        "secret:file/",
        "secret:file:hunter2",
        "secret:vault/hunter2",
        "",
    ],
)
def test_what_is_no_reference_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(SecretError) as caught:
        reveal(text)
    assert "hunter2" not in str(caught.value)
    assert str(caught.value).startswith("a secret is given by reference, never by its value: write ${NAME}")


# What is shown of a secret.


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param(f"password={CANARY};", "password=***;", id="as it is"),
        pytest.param(f"postgresql://u:{quote(CANARY, safe='')}@h/db", "postgresql://u:***@h/db", id="in a URL"),
        pytest.param(f"?p={quote_plus(CANARY)}&q=1", "?p=***&q=1", id="in a query"),
        pytest.param(
            f"?p={quote(CANARY).replace('%', '%25').lower()}&q=1", "?p=***&q=1", id="quoted twice, lower case"
        ),
        pytest.param(json.dumps({"p": CANARY}), '{"p": "***"}', id="in JSON"),
        pytest.param(json.dumps({"p": CANARY}, ensure_ascii=False), '{"p": "***"}', id="in JSON, not ASCII"),
        pytest.param(json.dumps({"p": CANARY}).replace("/", "\\/"), '{"p": "***"}', id="in JSON of PHP"),
        pytest.param(json.dumps(json.dumps([CANARY])), r'"[\"***\"]"', id="in JSON in JSON"),
        pytest.param(repr({"p": CANARY}), "{'p': '***'}", id="in Python"),
        pytest.param(repr(CANARY.encode()), "b'***'", id="in Python's bytes"),
        pytest.param(f"<p>{html.escape(CANARY)}</p>", "<p>***</p>", id="in HTML"),
    ],
)
@pytest.mark.usefixtures("canary")
def test_a_secret_is_covered_in_every_writing(text: str, shown: str) -> None:
    assert redacted(text) == shown


@pytest.mark.parametrize("user", ["", "u", "us", "usr", "user"])
@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
def test_basic_authentication_shows_nothing_of_the_password(
    canary: str, user: str, encoding: str, encode: Callable[[bytes], bytes]
) -> None:
    login = encode(f"{user}:{canary}".encode(encoding)).decode()
    left = redacted(f"Authorization: Basic {login}").removeprefix("Authorization: Basic ")
    before, mask, after = left.partition("***")
    assert mask == "***"
    assert after.strip("=") == ""
    assert login.startswith(before)
    # 6 bits a digit: those that are left are of the user alone
    assert 6 * len(before) <= 8 * len(f"{user}:")


def test_a_secret_in_another_and_one_that_appears_are_covered(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"A": "abcd", "B": "abcdef", "C": "x***y"}.items():
        monkeypatch.setenv(name, value)
        reveal(f"${{{name}}}")
    assert redacted("abcdef abcd xabcdy") == "*** *** ***"


def test_before_anything_is_revealed_a_text_stays_as_it_is() -> None:
    assert redacted(CANARY) == CANARY


def escaped_in_json(text: str) -> str:
    return json.dumps(text)[1:-1]


WRITINGS: list[Callable[[str], str]] = [
    str,
    quote,
    quote_plus,
    lambda text: quote(text, safe=""),
    lambda text: quote(quote(text)),
    lambda text: quote(text, safe="").lower() if text == text.lower() else quote(text),
    escaped_in_json,
    lambda text: escaped_in_json(escaped_in_json(text)),
    lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
    lambda text: quote(escaped_in_json(text)),
    lambda text: repr(text)[1:-1],
    lambda text: ascii(text)[1:-1],
    lambda text: repr(text.encode())[2:-1],
    html.escape,
    lambda text: html.escape(text, quote=False),
    lambda text: quote(text, safe="!'()*~"),
    lambda text: quote(text, safe="", encoding="latin-1" if max(text) < "\u0100" else "utf-8"),
    lambda text: repr(f"{BOTH_QUOTES}{text}")[len(repr(BOTH_QUOTES)) - 1 : -1],
    lambda text: re.sub(r"(?<=\\u)\w{4}", lambda digits: digits[0].upper(), escaped_in_json(text)),
]
BOTH_QUOTES = "'\""
texts = st.text(st.characters(exclude_categories=["Cs"]))
values = st.text(st.characters(exclude_categories=["Cs"]), min_size=4).filter(lambda text: text.strip())


def reveal_all(found: list[str]) -> None:
    """Reveal these values; the registry is new for each example."""
    redaction._REVEALED = redaction._Revealed()
    for value in found:
        os.environ["EXAMPLE"] = value
        reveal("${EXAMPLE}")
    os.environ.pop("EXAMPLE", None)


@settings(deadline=None)
@given(
    found=st.lists(values.filter(lambda text: "\0" not in text), min_size=1, max_size=3),
    writing=st.sampled_from(WRITINGS),
    around=st.tuples(texts, texts, texts),
)
@example(found=["****"], writing=str, around=("*", "", "*"))
@example(found=["a\\\\b\\", '\\"\\"'], writing=escaped_in_json, around=("\\", "\\", "\\"))
@example(found=["0:0a"], writing=WRITINGS[5], around=("", "", ""))
@example(found=["%0aö"], writing=WRITINGS[5], around=("", "", ""))
@example(found=["(1 < it's ö!)"], writing=WRITINGS[-5], around=("", "", ""))
@example(found=["(1 < it's ö!)"], writing=WRITINGS[-4], around=("", "", ""))
@example(found=["(1 < it's ö!)"], writing=WRITINGS[-3], around=("", "", ""))
@example(found=["(1 < it's ö!)"], writing=WRITINGS[-2], around=("", "", ""))
@example(found=["(1 < it's ö!)"], writing=WRITINGS[-1], around=("", "", ""))
def test_no_writing_of_any_secret_survives(
    found: list[str], writing: Callable[[str], str], around: tuple[str, str, str]
) -> None:
    reveal_all(found)
    written = [writing(value) for value in found]
    text = around[0] + around[1].join(written) + around[2]
    left = redacted(text)
    assert [each for each in written if each in left] == []
    assert redacted(left) == left


@settings(deadline=None)
@given(
    value=values.filter(lambda text: "\0" not in text),
    user=texts,
    encode=st.sampled_from([base64.b64encode, base64.urlsafe_b64encode]),
)
@example(value="001Ï", user="", encode=base64.b64encode)
def test_no_login_with_any_password_survives(value: str, user: str, encode: Callable[[bytes], bytes]) -> None:
    reveal_all([value])
    login = encode(f"{user}:{value}".encode()).decode()
    for text in (login, quote(login, safe=""), escaped_in_json(login)):
        before, mask, after = redacted(text).rpartition("***")
        assert mask == "***"
        assert after in ("", "=", "==", "%3D", "%3D%3D")
        # the user may have the password in it, too
        assert text.startswith(before.partition("***")[0])


@settings(deadline=None)
@given(value=st.text("0123456789", min_size=6), text=st.text(st.characters(exclude_categories=["Cs", "Lu", "Nd"])))
@example(value="123456", text='{"a": "\\n\\\\", "%e": "basic xyz/=="}')
def test_a_text_without_secrets_stays_as_it_is(value: str, text: str) -> None:
    reveal_all([value])
    assert redacted(text) == text


@pytest.mark.timeout(10)
def test_a_long_secret_and_a_hostile_text_take_no_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY", '\\"' * 40 + "/" * 40 + "%25" * 40 + "\n0123456789abcdef+/=" * 100)
    value = reveal("${CANARY}")
    assert redacted(f"<{value}>") == "<***>"
    for text in ("\\" * 100_000, '\\"' * 50_000, "%25" * 30_000, "/" * 100_000, "A" * 100_000):
        assert redacted(text) == text


# What is logged.


@pytest.fixture
def own_hooks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What `configure_logs` puts in place for the whole process is taken away again."""
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    factory = logging.getLogRecordFactory()
    yield
    logging.setLogRecordFactory(factory)


def fail_with(text: str) -> None:
    """A chain of errors with this text, the last of which nobody expects."""
    try:
        {}[text]
    except KeyError as error:
        error.add_note(f"note {text}")
        cause = ConfigError(f"config {text}")
        cause.__cause__ = error
        raise ExceptionGroup(f"group {text}", [ValueError(f"value {text}")]) from cause


class Connection:
    """An object that shows its password, as some do."""

    def __repr__(self) -> str:
        return f"Connection(password={CANARY!r})"


@pytest.mark.usefixtures("own_hooks")
def test_no_secret_is_in_any_value_of_a_log_event(canary: str, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs()
    structlog.contextvars.bind_contextvars(run=f"r {canary}")
    try:
        structlog.get_logger("etl_lib.test").info(
            f"connected with {canary}",
            url=f"postgresql://u:{quote(canary, safe='')}@h",
            nested={"headers": [("Authorization", f"Bearer {canary}")], f"key {canary}": {canary}},
            connection=Connection(),
            path=Path(canary),
            raw=canary.encode(),
            error=ValueError(canary),
            page=3,
            seconds=0.25,
            done=True,
            cursor=None,
            other=b"bytes",
            **{f"by {canary}": 1},
        )
    finally:
        structlog.contextvars.clear_contextvars()
    event = json.loads(capsys.readouterr().err)
    assert event.pop("timestamp")
    assert event == {
        "event": "connected with ***",
        "level": "info",
        "logger": "etl_lib.test",
        "run": "r ***",
        "url": "postgresql://u:***@h",
        "nested": {"headers": [["Authorization", "Bearer ***"]], "key ***": ["***"]},
        "connection": "Connection(password='***')",
        "path": "PosixPath('***')",
        "raw": "***",
        "error": "ValueError('***')",
        "page": 3,
        "seconds": 0.25,
        "done": True,
        "cursor": None,
        "other": "b'bytes'",
        "by ***": 1,
    }


@pytest.mark.usefixtures("own_hooks")
def test_the_trace_of_an_error_has_no_secret_in_it(canary: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(lambda _: fail_with(canary), []) == 1
    event = json.loads(capsys.readouterr().err)
    for told in ("KeyError: '***'", "note ***", "config ***", "group ***", "value ***"):
        assert told in event["exception"]
    assert "c4n" not in event["exception"]


@pytest.mark.usefixtures("own_hooks")
def test_the_message_of_an_expected_error_has_no_secret_in_it(canary: str, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(_argv: Sequence[str]) -> None:
        raise ConfigError(f"cannot connect with {canary}")

    assert exit_code(fail, []) == 2
    assert json.loads(capsys.readouterr().err)["event"] == "cannot connect with ***"


@pytest.mark.usefixtures("own_hooks")
def test_on_a_terminal_neither_values_nor_traces_nor_their_variables_show_a_secret(
    canary: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = os.openpty()
    with os.fdopen(theirs, "w", encoding="utf-8") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        configure_logs()
        password = canary
        try:
            fail_with(password)
        except ExceptionGroup:
            structlog.get_logger("etl_lib.test").exception("failed", connection=Connection(), login=password)
        print("THE END", file=terminal, flush=True)
        shown = b""
        while b"THE END" not in shown:  # a terminal hands over what has come so far
            shown += os.read(ours, 100_000)
    os.close(ours)
    told = shown.decode()
    assert "group ***" in told
    assert "Connection(password='***')" in told
    assert "c4n" not in told


@pytest.mark.usefixtures("own_hooks")
def test_other_libraries_logs_have_no_secret_in_them(canary: str) -> None:
    configure_logs()
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    other = logging.getLogger("some.library")
    other.addHandler(handler)
    try:
        other.warning("GET %s", quote(canary))
        try:
            fail_with(canary)
        except ExceptionGroup:
            other.exception("failed after %d tries", 3)
    finally:
        other.removeHandler(handler)
    assert stream.getvalue().startswith("GET ***\nfailed after 3 tries\n")
    assert "group ***" in stream.getvalue()
    assert "c4n" not in stream.getvalue()


def test_an_error_that_nobody_catches_has_no_secret_in_it() -> None:
    script = (
        "import threading\n"
        "from etl_lib.process.logs import configure_logs\n"
        "from etl_lib.process.secrets import reveal\n"
        "configure_logs()\n"
        "value = reveal('${CANARY}')\n"
        "def fail():\n"
        "    raise KeyError(value)\n"
        "thread = threading.Thread(target=fail, name='puller')\n"
        "thread.start()\n"
        "thread.join()\n"
        "raise KeyboardInterrupt(value)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "CANARY": CANARY, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ended.returncode != 0
    assert "Exception in thread puller:\nTraceback" in ended.stderr
    assert "KeyError: '***'" in ended.stderr
    assert "KeyboardInterrupt: ***" in ended.stderr
    assert "c4n" not in ended.stderr + ended.stdout


# URLs.


@pytest.mark.parametrize(
    "url",
    [
        "https://api.example.com/v1/orders?page_size=100&sort_key=id&keyset=1#top",
        "https://api.example.com/users/%40me?user_id=7",
        "http://127.0.0.1:8080",
        "jdbc:postgresql://h1:5432,h2:5432/orders?sslmode=verify-full&sslrootcert=/ca.pem&currentSchema=shop",
        "postgresql://h:5432/orders?application_name=x",
        "jdbc:sqlserver://h:1433;databaseName=orders;encrypt=true",
        "jdbc:oracle:thin:@//h:1521/orders",
        "jdbc:redshift:iam://h:5439/orders",
    ],
)
def test_a_url_without_credentials_is_taken_as_it_is(url: str) -> None:
    assert without_credentials(url) == url


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("https://hunter2@api.example.com", "`@`"),
        ("https://u:hunter2@api.example.com/orders", "`@`"),
        ("https://u:hunt/er2@api.example.com", "`@`"),
        ("https://:@api.example.com/hunter2", "`@`"),
        ("postgresql://u:hunter2@h/db", "`@`"),
        ("postgres://u:hun?ter2@h/db", "`@`"),
        ("jdbc:postgresql://u:hunter2@h/db", "`@`"),
        ("jdbc:oracle:thin:u/hunter2@//h:1521/db", "`@`"),
        ("https://h/?access_token=hunter2", "`token`"),
        ("https://h/?apiKey=hunter2", "`apikey`"),
        ("https://h/?API-KEY=hunter2", "`api_key`"),
        ("https://h/?key=hunter2", "`key`"),
        ("https://h/?User-Name=hunter2", "`user_name`"),
        ("https://h/?sig=hunter2", "`sig`"),
        ("https://h/?X-Amz-Signature=hunter2", "`signature`"),
        ("https://h/#id_token=hunter2", "`token`"),
        ("https://h/?p%61ssword=hunter2", "`password`"),
        ("jdbc:postgresql://h/db?sslmode=require&user=hunter2", "`user`"),
        ("jdbc:postgresql://h/db?password=hunter2", "`password`"),
        ("postgresql://h/db?sslkey=/hunter2&x=1", "`sslkey`"),
        ("postgresql://h/db?sslpassword=hunter2", "`password`"),
        ("jdbc:sqlserver://h:1433;databaseName=x;Password = hunter2", "`password`"),
        ("jdbc:sqlserver://h:1433;trustStorePassword=hunter2", "`password`"),
        ("jdbc:mysql://(host=h,user=hunter2)/db", "`user`"),
        ("jdbc:mysql://address=(host=h)(pwd=hunter2)/db", "`pwd`"),
        ("jdbc:db2://h:50000/db:pass=hunter2;", "`pass`"),
        ("host=h password=hunter2", "`password`"),
        ("https://h/?pass\nword=hunter2", "control character"),
    ],
)
def test_a_url_with_credentials_is_refused_and_not_shown(url: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        without_credentials(url)
    assert told in str(caught.value)
    assert "hun" not in str(caught.value)
    assert "er2" not in str(caught.value)
