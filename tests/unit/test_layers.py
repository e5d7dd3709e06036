"""etl_lib is built in layers, in the order of the way of a record: imports run downwards only."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LAYERS = (
    ("process",),
    ("settings",),
    ("tables",),
    ("run",),
    ("telling",),
    ("sources",),
    ("reading",),
    ("deciding",),
    ("applying",),
    ("upkeep", "value_props", "sinks"),
    ("commands",),
)
"""The packages of etl_lib, the lowest first. Those of one layer do not know each other."""
MOST_MODULES, MOST_LINES = 12, 300
PACKAGES = sorted(init.parent for init in (ROOT / "etl_lib").rglob("__init__.py") if init.parent.name != "etl_lib")
MODULES = sorted(path for package in PACKAGES for path in package.glob("*.py") if path.name != "__init__.py")


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports(source: str) -> Iterator[str]:
    """Every module that a module imports, wherever in it the import stands; of `from x import y` also x.y."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def packages_of(source: str) -> set[str]:
    """The packages of etl_lib, and `jobs`, from which a module imports."""
    parts = [name.split(".") for name in imports(source)]
    return {one[1] for one in parts if one[0] == "etl_lib" and len(one) > 1} | {
        "jobs" for one in parts if one[0] == "jobs"
    }


def lower(package: str) -> set[str]:
    """The packages from which a module of `package` may import: itself and all below."""
    at = next(number for number, layer in enumerate(LAYERS) if package in layer)
    return {package, "RELEASE", *(name for layer in LAYERS[:at] for name in layer)}


def test_every_package_has_its_layer() -> None:
    assert {path.name for path in PACKAGES if path.parent.name == "etl_lib"} == {name for row in LAYERS for name in row}
    assert [path.name for path in (ROOT / "etl_lib").glob("*.py")] == ["__init__.py"]


@pytest.mark.parametrize("module", MODULES, ids=named)
def test_imports_run_downwards_only(module: Path) -> None:
    package = module.relative_to(ROOT / "etl_lib").parts[0]
    assert packages_of(module.read_text(encoding="utf-8")) - lower(package) == set()


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from etl_lib.applying.steps import apply_batch", {"applying"}),
        ("from etl_lib.sinks.sql import statements", {"sinks"}),
        ("from etl_lib import run", {"run"}),
        ("import etl_lib.tables.ledger", {"tables"}),
        ("def late():\n    from jobs import orders", {"jobs"}),
        ("if TYPE_CHECKING:\n    from etl_lib.deciding.stage import Stage", {"deciding"}),
    ],
)
def test_each_kind_of_import_is_seen(source: str, found: set[str]) -> None:
    assert packages_of(source) == found


def test_no_modules_import_each_other_in_a_circle() -> None:
    names = {module: ".".join(module.relative_to(ROOT).with_suffix("").parts) for module in MODULES}
    known = set(names.values())
    graph = {name: known & set(imports(module.read_text(encoding="utf-8"))) for module, name in names.items()}
    assert set(TopologicalSorter(graph).static_order()) == known


def test_what_a_run_is_told_needs_no_spark() -> None:
    below = [path for path in MODULES if path.relative_to(ROOT / "etl_lib").parts[0] == "settings"]
    assert [named(path) for path in below if "pyspark" in path.read_text(encoding="utf-8")] == []


@pytest.mark.parametrize("package", PACKAGES, ids=named)
def test_a_package_is_small_and_says_what_it_is(package: Path) -> None:
    """Nothing is re-exported: a name is imported from where it is made."""
    assert len(list(package.glob("*.py"))) - 1 <= MOST_MODULES
    statements = ast.parse((package / "__init__.py").read_text(encoding="utf-8")).body
    assert len(statements) == 1
    assert isinstance(statements[0], ast.Expr)


@pytest.mark.parametrize("module", MODULES, ids=named)
def test_a_module_is_short(module: Path) -> None:
    assert len(module.read_text(encoding="utf-8").splitlines()) <= MOST_LINES
