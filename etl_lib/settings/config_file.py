"""Loading settings: a YAML file, environment variables in it, and overrides from the command line.

Strict: an unknown key, a missing key or a wrong type is an error with its dotted path, and all are told at once.
No message shows what was given for a secret, or for a section that has one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from etl_lib.process.errors import ConfigError
from etl_lib.process.secrets import HIDDEN, holds_secret, is_secret
from etl_lib.settings.strict_model import Location

_VARIABLE = re.compile(r"\$(?:\$|\{(?P<name>\w+)(?P<fallback>:-(?P<default>[^}]*))?\})")
_HAS_SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]+:|/)")


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


SettingsT = TypeVar("SettingsT", bound=BaseModel)


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
    problems: list[str] = []
    tree = _read_yaml(path)
    _interpolate(tree, model, environment, problems)
    _resolve_locations(tree, model, path.resolve().parent)
    for override in overrides:
        _override(tree, model, override, problems)
    try:
        settings = model.model_validate(tree)
    except ValidationError as error:
        # A variable that is not set leaves a hole, which is one problem and not two.
        told = {problem.partition(":")[0] for problem in problems}
        explained = [_explain(detail, model) for detail in error.errors(include_url=False)]
        problems += [problem for problem in explained if problem.partition(":")[0] not in told]
        settings = None
    if problems or settings is None:
        listed = "\n  ".join(sorted(problems))
        raise ConfigError(f"{path}: {len(problems)} problem(s) in the configuration:\n  {listed}")
    return settings


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


def _leaves(tree: Any, at: tuple[str, ...] = ()) -> Iterator[tuple[Any, Any, tuple[str, ...]]]:
    """Every scalar as (its container, its key in there, its dotted path)."""
    children = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in list(children):
        here = (*at, str(key))
        if isinstance(value, dict | list):
            yield from _leaves(value, here)
        else:
            yield tree, key, here


def _interpolate(tree: Any, model: type[BaseModel], environment: Mapping[str, str], problems: list[str]) -> None:
    for container, key, at in _leaves(tree):
        value = container[key]
        annotation = _annotation(model, at)
        if not (isinstance(value, str) and "$" in value) or is_secret(annotation):
            continue

        def replacement(match: re.Match[str], at: tuple[str, ...] = at) -> str:
            name = match["name"]
            if name is None:  # `$$` stands for one dollar
                return "$"
            # as in a shell, `:-` also stands in for an empty variable
            found = (environment.get(name) or match["default"]) if match["fallback"] else environment.get(name)
            if found is None:
                problems.append(f"{'.'.join(at)}: the environment variable {name} is not set and has no default")
            return found or ""

        container[key] = _typed(_VARIABLE.sub(replacement, value), annotation)


def _resolve_locations(tree: Any, model: type[BaseModel], base: Path) -> None:
    for container, key, at in _leaves(tree):
        if _is_location(_annotation(model, at)):
            container[key] = _located(container[key], base)


def _override(tree: dict[str, Any], model: type[BaseModel], override: str, problems: list[str]) -> None:
    dotted, equals, text = override.partition("=")
    if not equals:
        named = re.match(r"[\w.-]*", override)
        problems.append(f"--set {named[0] if named else ''}: expected dotted.key=value")
        return
    # Spark's own settings have dots in their names: `spark.<name>` is one key of the section `spark`.
    at = ("spark", dotted) if dotted.startswith("spark.") else tuple(dotted.split("."))
    annotation = _annotation(model, at)
    value = _typed(text, annotation)
    section: Any = tree
    for part in at[:-1]:
        section = section.setdefault(part, {}) if isinstance(section, dict) else None
    if not isinstance(section, dict):
        problems.append(f"--set {dotted}: {'.'.join(at[:-1])} is not a section")
        return
    section[at[-1]] = _located(value, Path.cwd()) if _is_location(annotation) else value


def _annotation(model: type[BaseModel], at: tuple[str, ...]) -> Any:
    """The declared type at a dotted path, or None where nothing is declared (validation then names the key)."""
    declared: list[Any] = [model]
    for part in at:
        declared = [found for each in declared for found in _inside(each, part)]
    return Union[tuple(declared)] if declared else None  # noqa: UP007 - of a number known only here


def _inside(declared: Any, part: str) -> list[Any]:
    """The types that a declared type gives to one of its fields, keys or elements: several for a union of sections."""
    inner = get_args(declared)
    origin = get_origin(declared)
    if origin in (Union, UnionType):
        return [found for each in inner for found in _inside(each, part)]
    if origin is Annotated:
        return _inside(inner[0], part)
    if isinstance(declared, type) and issubclass(declared, BaseModel):
        field = declared.model_fields.get(part)
        return [] if field is None else [field.rebuild_annotation()]
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return [inner[1]]
    if isinstance(origin, type) and issubclass(origin, Collection):
        return [each for each in inner if each is not Ellipsis]
    return []


def _is_location(annotation: Any) -> bool:
    return annotation == Location or Location in get_args(annotation)


def _typed(text: str, annotation: Any) -> Any:
    """A text from outside YAML as the value that YAML would have given, except where text is what is wanted."""
    if text == "":
        return None
    wanted = get_args(annotation) or (annotation,)
    if annotation is None or str in wanted or _is_location(annotation) or is_secret(annotation):
        return text
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError):
        return text  # validation then says what was wanted


def _located(value: Any, base: Path) -> Any:
    if not isinstance(value, str) or _HAS_SCHEME.match(value):
        return value
    return os.path.normpath(base / value) if value else value


def _explain(detail: Any, model: type[BaseModel]) -> str:
    path = tuple(str(part) for part in detail["loc"])
    at = ".".join(path)
    if detail["type"] == "extra_forbidden":
        return f"{at}: unknown key"
    if detail["type"] == "missing":
        return f"{at}: missing"
    declared, given = _annotation(model, path), detail["input"]
    is_section = isinstance(given, dict | list) and given
    if is_section or detail["type"] == HIDDEN or declared is None or holds_secret(declared):
        return f"{at}: {detail['msg']}"
    return f"{at}: {detail['msg']} (found {given!r})"
