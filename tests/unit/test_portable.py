"""etl_lib and jobs use only what Spark Connect has, too: no SparkContext, RDD, JVM, cache or checkpoint."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted(path for folder in ("etl_lib", "jobs") for path in (ROOT / folder).rglob("*.py"))

NOT_PORTABLE = {
    *("sparkContext", "SparkContext", "_sc", "_jsc", "rdd", "RDD"),
    *("_jvm", "_jsparkSession", "_jdf", "_gateway", "py4j"),
    *("cache", "cacheTable", "persist", "checkpoint", "localCheckpoint"),
}

EXCEPTIONS = {
    # Only SparkContext makes the options of the spark-submit that started a job known. It is asked where spark-submit
    # has opened a gateway to its JVM and nowhere else: a client of Spark Connect never comes there.
    ("etl_lib/process/session.py", "submitted_options", "SparkContext"),
    # A module of Great Expectations, which calls its own runs so.
    ("etl_lib/upkeep/expectations.py", "check_batch", "checkpoint"),
}
"""A module, a function in it, and what it may use."""


def uses(source: str) -> Iterator[tuple[str, str]]:
    """What a module uses that is not portable, each with the innermost function around it, if any."""
    waiting: list[tuple[ast.AST, str]] = [(ast.parse(source), "")]
    while waiting:
        node, function = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            function = node.name
        yield from ((function, name) for name in names(node) if name in NOT_PORTABLE)
        waiting.extend((child, function) for child in ast.iter_child_nodes(node))


def names(node: ast.AST) -> list[str]:
    """The names by which one node takes something from an object or a module."""
    match node:
        case ast.Attribute(attr=name):
            return [name]
        case ast.Name(id="SparkContext" | "RDD" as name):
            return [name]
        case ast.Import(names=imported):
            return [part for alias in imported for part in alias.name.split(".")]
        case ast.ImportFrom(module=module, names=imported):
            return [*(module or "").split("."), *(alias.name for alias in imported)]
        case ast.Call(func=ast.Name(id="getattr" | "hasattr"), args=[_, ast.Constant(value=str(name)), *_]):
            return [name]
    return []


def test_no_module_uses_what_is_not_portable() -> None:
    found = {
        (path.relative_to(ROOT).as_posix(), function, name)
        for path in MODULES
        for function, name in uses(path.read_text(encoding="utf-8"))
    }
    assert found == EXCEPTIONS


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("spark.sparkContext.setLogLevel('WARN')", "sparkContext"),
        ("rows = frame.select('a').rdd.map(len)", "rdd"),
        ("spark._jvm.System.gc()", "_jvm"),
        ("spark._jsparkSession", "_jsparkSession"),
        ("getattr(spark, '_jvm')", "_jvm"),
        ("held = frame.cache()", "cache"),
        ("frame.where('a > 1').persist(level)", "persist"),
        ("frame.checkpoint()", "checkpoint"),
        ("frame.localCheckpoint()", "localCheckpoint"),
        ("spark.catalog.cacheTable('t')", "cacheTable"),
        ("from pyspark import SparkContext", "SparkContext"),
        ("from pyspark.rdd import RDD", "RDD"),
        ("import py4j.java_gateway", "py4j"),
    ],
)
def test_each_of_them_is_found(source: str, name: str) -> None:
    assert ("f", name) in set(uses(f"def f():\n    {source}\n"))


@pytest.mark.parametrize("source", ["checkpoint = rows.max()", "# frame.cache()", "'''frame.rdd'''", "cached(frame)"])
def test_names_that_only_look_so_are_left_alone(source: str) -> None:
    assert list(uses(source)) == []
