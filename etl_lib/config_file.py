"""Loading settings: a YAML file, environment variables in it, and overrides from the command line.

Strict: an unknown key, a missing key or a wrong type is an error with its dotted path, and all are told at once.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from etl_lib.errors import ConfigError
from etl_lib.section import Location

_VARIABLE = re.compile(r"\$(?:\$|\{(?P<name>\w+)(?P<fallback>:-(?P<default>[^}]*))?\})")
_HAS_SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]+:|/)")


class _StrictLoader(yaml.SafeLoader):
    """YAML in which a key that stands twice is an error: the first of two rules of one name would be lost."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} stands twice", node.start_mark)
        return super().construct_mapping(node, deep)


SettingsT = TypeVar("SettingsT", bound=BaseModel)


def load_settings(
    model: type[SettingsT],
    path: Path,
    overrides: Sequence[str] = (),
    environment: Mapping[str, str] = os.environ,
) -> SettingsT:
    """Read `path` as a `model`, with `${NAME}` and `${NAME:-default}` replaced and `a.b=value` overrides applied.

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
        explained = [_explain(detail) for detail in error.errors(include_url=False)]
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
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not a YAML file: {error}") from error
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: a configuration is a mapping of keys to values")
    return tree


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
        if not (isinstance(value, str) and "$" in value):
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

        container[key] = _typed(_VARIABLE.sub(replacement, value), _annotation(model, at))


def _resolve_locations(tree: Any, model: type[BaseModel], base: Path) -> None:
    for container, key, at in _leaves(tree):
        if _is_location(_annotation(model, at)):
            container[key] = _located(container[key], base)


def _override(tree: dict[str, Any], model: type[BaseModel], override: str, problems: list[str]) -> None:
    dotted, equals, text = override.partition("=")
    if not equals:
        problems.append(f"--set {override}: expected dotted.key=value")
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


def _annotation(model: Any, at: tuple[str, ...]) -> Any:
    """The declared type at a dotted path, or None where nothing is declared (validation then names the key)."""
    for part in at:
        if isinstance(model, type) and issubclass(model, BaseModel):
            field = model.model_fields.get(part)
            model = None if field is None else field.rebuild_annotation()
        else:
            model = None
    return model


def _is_location(annotation: Any) -> bool:
    return annotation == Location or Location in get_args(annotation)


def _typed(text: str, annotation: Any) -> Any:
    """A text from outside YAML as the value that YAML would have given, except where text is what is wanted."""
    if text == "":
        return None
    wanted = get_args(annotation) or (annotation,)
    if annotation is None or str in wanted or _is_location(annotation):
        return text
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text  # validation then says what was wanted


def _located(value: Any, base: Path) -> Any:
    if not isinstance(value, str) or _HAS_SCHEME.match(value):
        return value
    return os.path.normpath(base / value) if value else value


def _explain(detail: Any) -> str:
    at = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "extra_forbidden":
        return f"{at}: unknown key"
    if detail["type"] == "missing":
        return f"{at}: missing"
    return f"{at}: {detail['msg']} (found {detail['input']!r})"
