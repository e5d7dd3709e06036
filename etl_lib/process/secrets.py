"""Secrets: named by reference in the configuration, read when they are needed, taken out of all that is shown.

`reveal` remembers each value that it gives; `redacted` replaces it, in every form in which it travels, by `***`.
"""

from __future__ import annotations

import base64
import html
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from threading import Lock
from typing import Annotated, Any, get_args
from urllib.parse import unquote

from pydantic import AfterValidator, BaseModel, BeforeValidator
from pydantic_core import PydanticCustomError
from structlog.typing import EventDict

from etl_lib.process.errors import ConfigError, LakehouseError

MASK = "***"
SHORTEST = 4
"""The least number of characters of a secret: a shorter one cannot be told apart from other text."""
HIDDEN = "hidden_input"
"""The type of pydantic errors about a value that must not be shown."""

_KINDS = (
    "${NAME} (an environment variable), secret:aws/<name>#<json key>, secret:databricks/<scope>/<key> "
    "or secret:file/<absolute path>"
)
_BY_VALUE = f"a secret is given by reference, never by its value: write {_KINDS}"
_WITH_DEFAULT = "a default would be a secret in the open: write ${NAME} alone, and set the environment variable"


class SecretError(LakehouseError):
    """A secret cannot be read; the message names its reference."""

    exit_code = 2


class _UnreadableError(Exception):
    """Why a secret cannot be read, and what to do."""


def _reference(value: object) -> object:
    if isinstance(value, str) and any(kind.fullmatch(value) for kind in _READERS):
        return value
    has_default = isinstance(value, str) and value.startswith("${") and ":-" in value
    raise PydanticCustomError(HIDDEN, "{problem}", {"problem": _WITH_DEFAULT if has_default else _BY_VALUE})


_BY_REFERENCE = BeforeValidator(_reference)
Secret = Annotated[str, _BY_REFERENCE]
"""The type of a setting that names a secret; `reveal` gives its value. Any value but a reference is refused."""


def is_secret(declared: Any) -> bool:
    """Whether a declared type is Secret, or one with it, such as `Secret | None`."""
    inner = get_args(declared)
    return _BY_REFERENCE in inner or any(is_secret(each) for each in inner)


def holds_secret(declared: Any) -> bool:
    """Whether a value of a declared type can have a Secret in it, at any depth."""
    if isinstance(declared, type) and issubclass(declared, BaseModel):
        return any(holds_secret(field.rebuild_annotation()) for field in declared.model_fields.values())
    return is_secret(declared) or any(holds_secret(each) for each in get_args(declared))


def reveal(reference: str) -> str:
    """The value of a secret, read now; from here on `redacted` knows it.

    Raises SecretError, with the reference and never a value: unknown, not readable, empty, shorter than SHORTEST
    characters, or no reference at all.
    """
    for kind, read in _READERS.items():
        if found := kind.fullmatch(reference):
            try:
                value = _usable(read(**found.groupdict()))
            except _UnreadableError as reason:
                raise SecretError(f"{reference}: {reason}") from None
            _REVEALED.add(value)
            return value
    raise SecretError(_BY_VALUE)


def _usable(value: str) -> str:
    if not value.strip():
        raise _UnreadableError("the secret is empty; give it a value")
    if len(value) < SHORTEST:
        raise _UnreadableError(
            f"the secret has fewer than {SHORTEST} characters and could not be told apart from other text in logs; "
            "use a longer one"
        )
    try:
        value.encode()
    except UnicodeEncodeError:
        raise _UnreadableError("the secret is not valid UTF-8; store it as text") from None
    return value


def _from_environment(name: str) -> str:
    try:
        return os.environ[name]
    except KeyError:
        raise _UnreadableError(f"the environment variable {name} is not set; set it where the job starts") from None


def _from_aws(name: str, key: str | None) -> str:
    try:
        import boto3  # type: ignore[import-untyped, unused-ignore] # noqa: PLC0415 - only where AWS is used
        from botocore.config import Config  # type: ignore[import-untyped, unused-ignore] # noqa: PLC0415
        from botocore.exceptions import (  # type: ignore[import-untyped, unused-ignore] # noqa: PLC0415
            BotoCoreError,
            ClientError,
        )
    except ImportError:
        raise _UnreadableError("boto3 is not installed; install this package with its extra `aws`") from None
    # an ARN says where the secret is, a name alone does not
    arn = re.match(r"arn:[\w-]+:secretsmanager:([\w-]+):", name)
    patience = Config(connect_timeout=5, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 3})
    try:
        manager = boto3.Session().client("secretsmanager", region_name=arn and arn[1], config=patience)
        answer = manager.get_secret_value(SecretId=name)
    except (BotoCoreError, ClientError) as error:
        raise _UnreadableError(
            f"AWS Secrets Manager does not give it: {error}. Check its name, the region, and that these credentials "
            "may do secretsmanager:GetSecretValue"
        ) from None
    if "SecretString" not in answer:
        raise _UnreadableError("the secret is binary; store it as text")
    return str(answer["SecretString"]) if key is None else _member(answer["SecretString"], key)


def _member(document: str, key: str) -> str:
    try:
        found = json.loads(document)[key]
    except (ValueError, KeyError, TypeError):
        raise _UnreadableError(f"the secret is no JSON object with the key {key!r}; correct the key") from None
    if isinstance(found, bool) or not isinstance(found, str | int):
        raise _UnreadableError(f"what the JSON object has at {key!r} is no text; store it as text")
    return str(found)


def _from_databricks(scope: str, key: str) -> str:
    try:
        from databricks.sdk.runtime import (  # type: ignore[import-not-found, unused-ignore] # noqa: PLC0415
            dbutils,
        )
    except Exception as error:  # off Databricks its SDK fails in many ways
        raise _UnreadableError(
            f"only Databricks has this kind of secret, and this is not Databricks ({type(error).__name__}); "
            "name another kind for this environment, such as ${NAME}"
        ) from None
    try:
        return str(dbutils.secrets.get(scope=scope, key=key))
    except Exception as error:  # from Java or from the SDK, as the runtime has it
        reason = (str(error).splitlines() or [""])[0]
        raise _UnreadableError(
            f"Databricks does not give it: {type(error).__name__}: {reason}. Check scope and key, and that this job's "
            "identity may READ the scope"
        ) from None


def _from_file(path: str) -> str:
    try:
        text = Path(path).read_bytes().decode()
    except OSError as error:
        raise _UnreadableError(f"the file cannot be read: {error.strerror}; mount it, or correct the path") from None
    except UnicodeDecodeError:
        raise _UnreadableError("the file is not valid UTF-8; store the secret as text") from None
    return re.sub(r"\r?\n\Z", "", text)


_READERS: Mapping[re.Pattern[str], Callable[..., str]] = {
    re.compile(r"\$\{(?P<name>\w+)\}", re.ASCII): _from_environment,
    re.compile(r"secret:aws/(?P<name>[\w/+=.@:!-]+)(?:#(?P<key>.+))?", re.ASCII): _from_aws,
    re.compile(r"secret:databricks/(?P<scope>[\w.@-]+)/(?P<key>[\w.@-]+)", re.ASCII): _from_databricks,
    re.compile(r"secret:file(?P<path>/.+)"): _from_file,
}


class _Revealed:
    """The secrets that this process has read, and one pattern for all their forms."""

    def __init__(self) -> None:
        self._values: frozenset[str] = frozenset()
        self._lock = Lock()
        self.pattern: re.Pattern[str] | None = None

    def add(self, value: str) -> None:
        with self._lock:
            if value in self._values:
                return
            self._values |= {value}
            longest_first = sorted(self._values, key=len, reverse=True)
            self.pattern = re.compile("|".join(form for each in longest_first for form in _forms(each)))


_REVEALED = _Revealed()


def redacted(text: str) -> str:
    """The text with `***` for every secret revealed so far: as it is, in URLs, JSON, Python and HTML, in base64."""
    pattern = _REVEALED.pattern
    if pattern is None:
        return text
    # What is left can be a secret again, until nothing is found; each time the text gets shorter.
    while (shorter := pattern.sub(MASK, text)) != text:
        text = shorter
    return text


def redact(_logger: object, _method: str, event: EventDict) -> EventDict:
    """A structlog processor: no secret in any key or value of an event, at any depth.

    Stands before the renderer, and after what turns exceptions into text.
    """
    if _REVEALED.pattern is None:
        return event
    return {redacted(key): _shown(value) for key, value in event.items()}


def _shown(value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return redacted(value)
    if isinstance(value, bytes | bytearray):
        text = value.decode(errors="backslashreplace")
        return value if redacted(text) == text else redacted(text)
    if isinstance(value, Mapping):
        return {_shown(key): _shown(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_shown(each) for each in value]
    # Renderers show any other object as its repr.
    text = repr(value)
    return value if redacted(text) == text else redacted(text)


_BACKSLASH = r"(?:\\|%(?:25)*5[Cc])"


def _forms(secret: str) -> Iterator[str]:
    """Patterns for a secret: with each character as it is or escaped, and within base64, such as `user:password`."""
    yield _written(secret)
    for encoded in _encodings(secret):
        yield from _in_base64(encoded)


def _written(text: str) -> str:
    runs = re.findall(r"\\+|[^\\]", text)
    return "".join(_backslashes(len(run)) if run[0] == "\\" else _character(run) for run in runs)


def _backslashes(number: int) -> str:
    # Each level of quoting doubles them; three levels at most, so that no text takes long.
    return rf"(?:{_BACKSLASH}{{{number},{8 * number}}}|(?:{_BACKSLASH}{{1,7}}(?:u00|x)5[Cc]){{{number}}})"


def _character(character: str) -> str:
    """A pattern for a character as it is, percent-encoded, or escaped in JSON, Python or HTML, also repeatedly."""
    if re.fullmatch(r"[A-Za-z0-9._-]", character):  # nothing escapes these
        return character.replace(".", r"\.")
    plain = {re.escape(each) for each in (character, html.escape(character), *("+" if character == " " else ""))}
    percent = {"(?i:" + "".join(f"%(?:25)*{byte:02x}" for byte in each) + ")" for each in _encodings(character)}
    quoted = {
        json.dumps(character)[1:-1],
        ascii(character)[1:-1],
        repr(character.encode())[2:-1],
        "".join(rf"\u{unit:04x}" for unit in _utf16(character)),
    }
    escaped = {
        "(?i:" + re.escape(each).replace(r"\\", _BACKSLASH + "{1,7}") + ")" for each in quoted if each.startswith("\\")
    }
    before = _BACKSLASH + "{0,7}" if character in "\"'/" else ""
    return f"(?:{before}(?:{'|'.join(sorted(plain | percent))})|{'|'.join(sorted(escaped))})"


def _encodings(text: str) -> list[bytes]:
    """What URLs and basic authentication make bytes of a text with; the longer first, or its end would be left."""
    found = [text.encode()]
    if not text.isascii() and max(text) < "\u0100":
        found.append(text.encode("latin-1"))
    return found


def _utf16(character: str) -> list[int]:
    units = character.encode("utf-16-be")
    return [int.from_bytes(units[at : at + 2], "big") for at in range(0, len(units), 2)]


def _in_base64(secret: bytes) -> Iterator[str]:
    """Patterns for the digits of base64 that a secret makes, behind 0, 1 or 2 bytes more than a multiple of three.

    The first and the last digit may have bits of their neighbours: any digit is taken there.
    """
    digit = "(?:[A-Za-z0-9_-]|" + _character("+") + "|" + _character("/") + ")"
    standard_or_url = {"+": f"(?:-|{_character('+')})", "/": f"(?:_|{_character('/')})"}
    for before in range(3):
        end = 8 * (before + len(secret))
        digits = base64.b64encode(bytes(before) + secret).decode()[-(-8 * before // 6) : end // 6]
        own = "".join(standard_or_url.get(each, each) for each in digits)
        yield (digit if before else "") + own + (digit if end % 6 else "")


_PARAMETER = re.compile(r"([^?&;,:()/#\s=]+)\s*=")
_SPEAKING = re.compile(
    "password|passwd|passphrase|pwd|secret|token|credential|signature|ssl_?key|api_?key|access_?key|private_?key"
)
_EXACT = re.compile("user|username|user_?name|uid|pass|key|sig|auth|authorization")


def without_credentials(url: str) -> str:
    """The URL (http, jdbc:…, postgresql …) as it is, or ConfigError, without the value, if it has credentials in it."""
    if problem := _credentials_in(url):
        raise ConfigError(problem)
    return url


def _bare(url: str) -> str:
    if problem := _credentials_in(url):
        raise PydanticCustomError(HIDDEN, "{problem}", {"problem": problem})
    return url


BareUrl = Annotated[str, AfterValidator(_bare)]
"""The type of a setting with a URL without credentials; a refused value is not shown."""


def _credentials_in(url: str) -> str | None:
    instead = f"take it out, and give user and password as settings of their own, by reference: {_KINDS}"
    if re.search(r"[\x00-\x1f\x7f]", url):
        return "the URL has a line break or another control character in it; take it out"
    # A password may have any character, so that no parser knows where user info ends. Oracle has an @ without any.
    if "@" in re.sub(r"^(jdbc:oracle:\w+:)@", r"\1", url):
        return f"the URL has an `@` in it, as behind a user or a password; {instead}; in a path write %40 for an @"
    for name in _PARAMETER.findall(unquote(url).lower().replace("-", "_")):
        if found := _EXACT.fullmatch(name) or _SPEAKING.search(name):
            return f"the URL has the parameter `{found[0]}` in it; {instead}"
    return None
