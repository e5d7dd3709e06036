"""Secrets: named by reference in the configuration, and read when they are needed.

Each value that `reveal` gives is from then on taken out of all that is shown (`redaction`).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, get_args
from urllib.parse import unquote

from pydantic import AfterValidator, BaseModel, BeforeValidator
from pydantic_core import PydanticCustomError

from etl_lib.process.errors import ConfigError, LakehouseError
from etl_lib.process.redaction import remember

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
        if match := kind.fullmatch(reference):
            try:
                value = _usable(read(**match.groupdict()))
            except _UnreadableError as reason:
                raise SecretError(f"{reference}: {reason}") from None
            remember(value)
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
        from botocore import config, exceptions  # type: ignore[import-untyped, unused-ignore] # noqa: PLC0415
    except ImportError:
        raise _UnreadableError("boto3 is not installed; install this package with its extra `aws`") from None
    # an ARN says where the secret is, a name alone does not
    arn = re.match(r"arn:[\w-]+:secretsmanager:([\w-]+):", name)
    patience = config.Config(connect_timeout=5, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 3})
    try:
        manager = boto3.Session().client("secretsmanager", region_name=arn and arn[1], config=patience)
        answer = manager.get_secret_value(SecretId=name)
    except (exceptions.BotoCoreError, exceptions.ClientError) as error:
        raise _UnreadableError(
            f"AWS Secrets Manager does not give it: {error}. Check its name, the region, and that these credentials "
            "may do secretsmanager:GetSecretValue"
        ) from None
    if "SecretString" not in answer:
        raise _UnreadableError("the secret is binary; store it as text")
    return str(answer["SecretString"]) if key is None else _member(answer["SecretString"], key)


def _member(document: str, key: str) -> str:
    try:
        value = json.loads(document)[key]
    except (ValueError, KeyError, TypeError):
        raise _UnreadableError(f"the secret is no JSON object with the key {key!r}; correct the key") from None
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise _UnreadableError(f"what the JSON object has at {key!r} is no text; store it as text")
    return str(value)


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
        if match := _EXACT.fullmatch(name) or _SPEAKING.search(name):
            return f"the URL has the parameter `{match[0]}` in it; {instead}"
    return None
