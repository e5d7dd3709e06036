"""Strict settings: a YAML file, environment variables in it, and overrides from the command line.

An unknown key, a missing key or a wrong type is an error with its dotted path, and all are told at once. No message
shows what was given for a secret, or for a section that has one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeVar, get_args

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
)
from pydantic_core import PydanticCustomError

from etl_lib.process.errors import ConfigError
from etl_lib.process.secrets import HIDDEN, holds_secret, is_secret

_VARIABLE = re.compile(r"\$(?:\$|\{(?P<name>\w+)(?P<fallback>:-(?P<default>[^}]*))?\})")
_HAS_SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]+:|/)")
_UNSET = "unset_variable"
"""The type of the error about environment variables that are not set: `unset` has the place and name of each."""


class _Origin(NamedTuple):
    """Where a configuration comes from: the context in which it is validated."""

    folder: Path
    environment: Mapping[str, str]


class _Override(str):
    """A value of the command line: it has no variables, and a location in it counts from the working directory."""

    __slots__ = ()


def _located(value: Any, info: ValidationInfo) -> Any:
    if not isinstance(value, str) or info.context is None or not value or _HAS_SCHEME.match(value):
        return value
    return os.path.normpath((Path.cwd() if isinstance(value, _Override) else info.context.folder) / value)


Location = Annotated[str, StringConstraints(min_length=1), BeforeValidator(_located)]
"""A path or URI; a relative one counts from the file (or, for an override, the directory) that names it."""

Share = Annotated[float, Field(ge=0, le=1)]


class Section(BaseModel):
    """A part of the configuration: no unknown keys, no coerced types, no changes after loading."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)

    @field_validator("*", mode="wrap")
    @classmethod
    def _read(cls, value: Any, validate: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
        """Replace the variables of a setting, unless it is a secret, which keeps its reference.

        A text with variables, or of the command line, is taken as a text where one is wanted, or else as YAML.
        """
        declared = cls.model_fields[info.field_name or ""].rebuild_annotation()
        text = value
        unset: list[tuple[str, str]] = []
        if info.context is not None and not is_secret(declared) and not _has_section(declared):
            text = _with_texts(value, partial(_replaced, info.context.environment, unset))
        if unset:
            raise PydanticCustomError(_UNSET, "environment variables are not set", {"unset": unset})
        try:
            return validate(text)
        except ValidationError:
            if not isinstance(text, _Override) and (not isinstance(text, str) or text == value):
                raise
        try:
            parsed = yaml.safe_load(text)
        except (yaml.YAMLError, ValueError):
            parsed = text  # validation then says what was wanted
        return validate(_with_texts(parsed, lambda _, part: _Override(part)))


def _has_section(declared: Any) -> bool:
    """Whether a declared type is a section, or has some in it: these read their own settings."""
    return (isinstance(declared, type) and issubclass(declared, Section)) or any(map(_has_section, get_args(declared)))


def _with_texts(value: Any, change: Callable[[str, str], Any], place: str = "") -> Any:
    """A value with its texts changed at any depth; `change` takes the place of a text, such as `.1.name`, and it."""
    if isinstance(value, dict):
        return {key: _with_texts(each, change, f"{place}.{key}") for key, each in value.items()}
    if isinstance(value, list):
        return [_with_texts(each, change, f"{place}.{number}") for number, each in enumerate(value)]
    return change(place, value) if isinstance(value, str) else value


def _replaced(environment: Mapping[str, str], unset: list[tuple[str, str]], place: str, text: str) -> str | None:
    """A text with its variables replaced, None if nothing is left; `unset` gets those that have no value."""

    def replacement(match: re.Match[str]) -> str:
        if match["name"] is None:  # `$$` stands for one dollar
            return "$"
        # as in a shell, `:-` also stands in for an empty variable
        value = environment.get(match["name"])
        value = (value or match["default"]) if match["fallback"] else value
        if value is None:
            unset.append((place, match["name"]))
        return value or ""

    return text if isinstance(text, _Override) or "$" not in text else _VARIABLE.sub(replacement, text) or None


SettingsT = TypeVar("SettingsT", bound=Section)


def load_settings(
    model: type[SettingsT],
    path: Path,
    overrides: Sequence[str] = (),
    environment: Mapping[str, str] = os.environ,
) -> SettingsT:
    """Read `path` as a `model`, with `${NAME}` and `${NAME:-default}` replaced and `a.b=value` overrides applied.

    A Secret keeps its reference as it is: `${NAME}` is looked up when the secret is revealed.
    Relative locations in the file count from the file's folder, those in an override from the working directory.
    Raises ConfigError with every problem found, each with its dotted path.
    """
    tree, problems = _read_yaml(path), []
    for override in overrides:
        problems += _override(tree, override)
    try:
        settings = model.model_validate(tree, context=_Origin(path.resolve().parent, environment))
    except ValidationError as error:
        problems += [line for detail in error.errors(include_url=False) for line in _explain(detail, model)]
    if problems:
        listed = "\n  ".join(sorted(problems))
        raise ConfigError(f"{path}: {len(problems)} problem(s) in the configuration:\n  {listed}")
    return settings


class _DoubledKeyError(yaml.constructor.ConstructorError):
    """A key stands twice in a mapping."""


class _StrictLoader(yaml.SafeLoader):
    """YAML in which a key that stands twice is an error: the first of two rules of one name would be lost."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise _DoubledKeyError(None, None, f"the key {key!r} stands twice", node.start_mark)
        return super().construct_mapping(node, deep)


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        tree = yaml.load(path.read_text(encoding="utf-8"), _StrictLoader)  # noqa: S506 - a safe loader
    except OSError as error:
        raise ConfigError(f"{path}: cannot read the configuration: {error.strerror}") from error
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"{path}: not a YAML file: {_yaml_problem(error)}") from None
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: a configuration is a mapping of keys to values")
    return tree


def _yaml_problem(error: yaml.YAMLError | ValueError) -> str:
    """What is wrong and where, but not the text itself: a secret may stand there."""
    if isinstance(error, UnicodeDecodeError | yaml.reader.ReaderError):
        return str(error)
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return "a number or a time that there is not; put quotes around a text that looks like one"
    problem = error.problem or "not understood"
    names_a_text = isinstance(error, yaml.composer.ComposerError | yaml.constructor.ConstructorError)
    if "tag" in problem or (names_a_text and not isinstance(error, _DoubledKeyError)):
        problem = "an anchor, alias or tag that means nothing here; put quotes around a text that begins with & * or !"
    return f"{problem}, in line {error.problem_mark.line + 1}, column {error.problem_mark.column + 1}"


def _override(tree: dict[str, Any], override: str) -> list[str]:
    """Put `dotted.key=value` into the tree; gives what is wrong with it."""
    dotted, equals, text = override.partition("=")
    if not equals:
        named = re.match(r"[\w.-]*", override)
        return [f"--set {named[0] if named else ''}: expected dotted.key=value"]
    # Spark's own settings have dots in their names: `spark.<name>` is one key of the section `spark`.
    *parts, key = ("spark", dotted) if dotted.startswith("spark.") else dotted.split(".")
    section: Any = tree
    for part in parts:
        section = section.setdefault(part, {}) if isinstance(section, dict) else None
    if not isinstance(section, dict):
        return [f"--set {dotted}: {'.'.join(parts)} is not a section"]
    section[key] = _Override(text) if text else None
    return []


def _explain(detail: Any, model: type[Section]) -> list[str]:
    path, given, kind = detail["loc"], detail["input"], detail["type"]
    at = ".".join(map(str, path))
    if kind == _UNSET:
        unset = detail["ctx"]["unset"]
        return [f"{at}{inner}: the environment variable {name} is not set and has no default" for inner, name in unset]
    if kind in {"extra_forbidden", "missing"}:
        return [f"{at}: {'unknown key' if kind == 'extra_forbidden' else kind}"]
    is_section = isinstance(given, BaseModel) or (isinstance(given, dict | list) and given)
    # What is in the place of a section may be a secret that lost its key.
    is_misplaced = kind in {"model_type", "dict_type", "tuple_type"}
    is_misplaced_secret = is_misplaced and holds_secret(model.model_fields[path[0]].annotation)
    is_hidden = is_section or is_misplaced_secret or kind == HIDDEN or path[-1] == "[key]"
    return [f"{at}: {detail['msg']}" + ("" if is_hidden else f" (found {given!r})")]
