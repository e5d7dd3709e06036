"""The documentation says what the code says: tables, settings, rules, options, exit codes, commands and links."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel
from pyspark.sql import SparkSession

from etl_lib.commands import query
from etl_lib.commands.about_runs import alert
from etl_lib.deciding.ids_alike import SHARED_IDS
from etl_lib.deciding.outcomes import EVENT_OUTCOMES, OUTCOMES
from etl_lib.process.errors import LakehouseError
from etl_lib.settings.api_settings import ApiSource
from etl_lib.settings.config import Settings
from etl_lib.settings.jdbc_settings import JdbcItems, JdbcOrders, JdbcSource
from etl_lib.settings.rules import STRUCTURAL, RuleBook
from etl_lib.settings.sink_settings import ParquetSettings, PostgresSettings, RedshiftSettings
from etl_lib.settings.strict_model import load_settings
from etl_lib.settings.telling_settings import AlertKind, AlertRoute, LineageSettings, TraceSettings
from etl_lib.tables.schemas import ALL_TABLES, ETL_RUNS, VIEWS, Table, View
from etl_lib.value_props.expectations import WEEK_RULES
from tests.parsers import PARSERS

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("bench", "conf", "deploy", "docs", "sample_data", "tests")
PAGES = sorted([*ROOT.glob("*.md"), *(page for folder in FOLDERS for page in (ROOT / folder).rglob("*.md"))])
README = ROOT / "README.md"
TUTORIAL = ROOT / "docs" / "tutorial" / "sample.md"
COMMAND_LINE = ROOT / "docs" / "reference" / "command-line.md"
DICTIONARY = ROOT / "docs" / "reference" / "data-dictionary.md"
CONFIGURATION = ROOT / "docs" / "reference" / "configuration.md"
SOURCES = ROOT / "docs" / "how-to" / "sources-and-sinks.md"
OPERATIONS = ROOT / "docs" / "how-to" / "operations.md"
ARCHITECTURE = ROOT / "docs" / "explanation" / "architecture.md"
SAMPLE_OF_EVENTS = ROOT / "sample_data" / "value_props" / "README.md"

JOBS = {f"jobs/{name}.py": parse for name, parse in PARSERS.items()}


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


def section(page: Path, heading: str) -> str:
    """What stands under a heading, up to the next one of its level or above."""
    level = heading.index(" ")
    below = page.read_text(encoding="utf-8").partition(f"\n{heading}\n")[2]
    assert below, f"{named(page)} has no heading {heading!r}"
    return re.split(rf"^#{{1,{level}}} ", below, maxsplit=1, flags=re.MULTILINE)[0]


def rows(text: str) -> list[list[str]]:
    """The table rows whose first cell is code, as cells."""
    lines = (line for line in text.splitlines() if line.startswith("| `"))
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def code(cell: str) -> str:
    return cell.strip().strip("`")


@pytest.mark.usefixtures("spark")
@pytest.mark.parametrize("table", ALL_TABLES, ids=lambda table: table.name)
def test_the_dictionary_has_every_column_with_its_type(table: Table) -> None:
    listed = [
        (code(name), "".join(kind.lower().split()), null)
        for name, kind, null, _ in rows(section(DICTIONARY, f"## {table.name}"))
    ]
    declared = [
        (field.name, field.dataType.simpleString().lower(), "yes" if field.nullable else "no") for field in table.schema
    ]
    assert listed == declared


@pytest.mark.parametrize("table", ALL_TABLES, ids=lambda table: table.name)
def test_the_dictionary_begins_with_grain_key_and_partition(table: Table) -> None:
    def names(columns: tuple[str, ...]) -> str:
        return ", ".join(f"`{column}`" for column in columns) or "none"

    said = " ".join(section(DICTIONARY, f"## {table.name}").split())
    assert said.startswith(f"Grain: {table.grain}. Key: {names(table.key)}. Partition: {names(table.partition)}.")


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)
def test_the_dictionary_has_every_view_with_its_sql(spark: SparkSession, view: View) -> None:
    text = section(DICTIONARY, f"## {view.name}")
    keys = ", ".join(f"`{column}`" for column in view.key)
    assert " ".join(text.split()).startswith(f"Grain: {view.grain}. Key: {keys}. A view of `{view.source.name}`.")
    spark.createDataFrame([], ETL_RUNS.schema).createOrReplaceTempView(view.source.name)
    found = spark.sql(text.partition("```sql\n")[2].partition("```")[0])
    assert found.schema == spark.sql(view.query.format(source=view.source.name)).schema
    listed = [(code(name), "".join(kind.lower().split())) for name, kind, *_ in rows(text)]
    assert listed == [(field.name, field.dataType.simpleString()) for field in found.schema]
    assert " ".join(view.query.format(source=view.source.name).split()) in " ".join(text.split())


def test_the_readme_lists_every_table() -> None:
    listed = [code(row[0]) for row in rows(section(README, "## Tables"))]
    assert listed == [table.name for table in (*ALL_TABLES, *VIEWS)]


@pytest.mark.parametrize("part", ["Tutorial", "How-to", "Reference", "Explanation"])
def test_the_readme_lists_every_page_under_its_part(part: str) -> None:
    listed = set(re.findall(r"^- \[.+?\]\((.+?)\): ", section(README, f"### {part}"), re.MULTILINE))
    pages = {named(page) for page in (ROOT / "docs" / part.lower()).glob("*.md")}
    assert pages
    assert listed - {"docs/decisions/README.md", "docs/platforms.md"} == pages


def test_the_readme_is_read_in_five_minutes() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 250


def settings_of(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, bool]]:
    """Every setting by its dotted key, and whether it must be given."""
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from settings_of(inner, f"{prefix}{name}.")
        else:
            yield prefix + name, field.is_required()


def test_the_configuration_page_has_every_setting() -> None:
    listed = rows(section(CONFIGURATION, "## Settings").partition("\n### ")[0])
    assert {code(name): "must be given" in default for name, default, _ in listed} == dict(settings_of(Settings))


@pytest.mark.parametrize(
    ("model", "heading"),
    [
        (ApiSource, "### `sources.api`"),
        (JdbcSource, "### `sources.jdbc`"),
        (JdbcOrders, "### A table"),
        (JdbcItems, "### Items"),
        (ParquetSettings, "### `publish.parquet`"),
        (PostgresSettings, "### `publish.postgres`"),
        (RedshiftSettings, "### `publish.redshift`"),
    ],
)
def test_the_page_of_sources_has_every_setting(model: type[BaseModel], heading: str) -> None:
    listed = {code(name): default == "must be given" for name, default, _ in rows(section(SOURCES, heading))}
    assert listed == {name: field.is_required() for name, field in model.model_fields.items()}


@pytest.mark.parametrize(("model", "heading"), [(TraceSettings, "## Traces"), (LineageSettings, "## Lineage")])
def test_the_page_of_traces_and_lineage_has_every_setting(model: type[BaseModel], heading: str) -> None:
    page = ROOT / "docs" / "how-to" / "traces-and-lineage.md"
    listed = {code(name): default == "must be given" for name, default, _ in rows(section(page, heading))}
    assert listed == {name: field.is_required() for name, field in model.model_fields.items()}


def test_the_configuration_page_has_every_setting_of_a_route_and_the_runbook_every_kind_of_alert() -> None:
    listed = rows(section(CONFIGURATION, "### Routes of alerts"))
    required = {name: field.is_required() for name, field in AlertRoute.model_fields.items()}
    assert {code(name): default == "must be given" for name, default, _ in listed} == required
    kinds = list(get_args(AlertKind))
    assert [
        kind for name, _, meaning in listed if code(name) == "kinds" for kind in re.findall(r"`(\w+)`", meaning)
    ] == kinds
    assert sorted(re.findall(r"^### `(\w+)`$", section(OPERATIONS, "## Alerts"), re.MULTILINE)) == sorted(kinds)


@pytest.mark.parametrize("dataset", list(RuleBook.model_fields))
def test_the_configuration_page_has_every_rule(dataset: str) -> None:
    listed = [
        (code(name), severity, message)
        for name, severity, message in rows(section(CONFIGURATION, f"### Rules of {dataset}"))
    ]
    book = load_settings(RuleBook, ROOT / "conf" / "rules.yaml")
    assert listed == [(name, rule.severity, rule.message) for name, rule in book.of(dataset).items()]


def test_the_configuration_page_has_every_rule_of_weeks() -> None:
    assert {code(name): told for name, told in rows(section(CONFIGURATION, "### Rules of weeks"))} == WEEK_RULES


def test_the_configuration_page_has_every_rule_of_ids() -> None:
    listed = {code(name): told for name, told in rows(section(CONFIGURATION, "### Rules of ids"))}
    assert listed == {shared.rule: shared.message for shared in SHARED_IDS.values()}


def test_the_configuration_page_has_every_structural_rule() -> None:
    listed = {code(name): message for name, message in rows(section(CONFIGURATION, "### Structural rules"))}
    assert listed == STRUCTURAL


def test_the_configuration_page_has_every_variable() -> None:
    users = [*(ROOT / "conf").glob("*.yaml"), ROOT / "spark-submit.sh", ROOT / "deploy" / "setup.sh"]
    used = {name for file in users for name in re.findall(r"\bORDERS_[A-Z_]+\b", file.read_text(encoding="utf-8"))}
    assert used == set(re.findall(r"\bORDERS_[A-Z_]+\b", section(CONFIGURATION, "### Variables")))


def options_in(text: str) -> set[str]:
    return set(re.findall(r"--[a-z]+(?:-[a-z]+)*", text))


@pytest.mark.parametrize(
    ("script", "parse"),
    [*JOBS.items(), ("jobs/query.py", query.parse_arguments), ("jobs/alert.py", alert.parse_arguments)],
)
def test_the_command_line_page_has_every_option(
    script: str, parse: Callable[[Sequence[str]], object], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parse(["--help"])
    headings = ("## Every job", f"## `{script}`")
    listed = "".join(row[0] for heading in headings for row in rows(section(COMMAND_LINE, heading)))
    assert options_in(listed) == options_in(capsys.readouterr().out)


def test_the_command_line_page_has_every_exit_code() -> None:
    codes = {0, LakehouseError.exit_code, *(error.exit_code for error in LakehouseError.__subclasses__())}
    listed = re.findall(r"^\| (\d) \|", section(COMMAND_LINE, "## Exit codes"), re.MULTILINE)
    assert {int(number) for number in listed} == codes


def test_the_tutorial_shows_the_beginning_of_the_features_of_the_sample() -> None:
    def features(page: Path) -> str:
        return page.read_text(encoding="utf-8").partition("```csv\n")[2].partition("```")[0]

    assert features(TUTORIAL)
    assert features(SAMPLE_OF_EVENTS).startswith(features(TUTORIAL))


def test_the_architecture_names_every_outcome_and_every_module() -> None:
    text = ARCHITECTURE.read_text(encoding="utf-8")
    assert {code(row[0]) for row in rows(section(ARCHITECTURE, "## The way of a record"))} == set(OUTCOMES)
    assert {code(row[0]) for row in rows(section(ARCHITECTURE, "## The way of an event"))} == set(EVENT_OUTCOMES)
    modules = {path.stem for path in (ROOT / "etl_lib").rglob("*.py")} - {"__init__"}
    assert {module for module in modules if f"`{module}`" not in text} == set()


def test_every_promise_names_a_test_that_is_there() -> None:
    promised = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", ARCHITECTURE.read_text(encoding="utf-8"))
    assert promised
    missing = [name for file, name in promised if f"def {name}(" not in (ROOT / file).read_text(encoding="utf-8")]
    assert missing == []


def commands() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        for line in re.findall(r"^\s*\./spark-submit\.sh (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE):
            yield named(page), line


@pytest.mark.parametrize(("page", "line"), list(commands()))
def test_a_command_has_the_options_and_settings_of_its_job(
    page: str,  # noqa: ARG001 - the name of the case
    line: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ROOT)
    script, *arguments = shlex.split(line.replace("RUN_ID", "20240501T120000Z-abcdef"))
    if script == "jobs/query.py":
        assert query.parse_arguments(arguments).file.exists()
    else:
        given = JOBS[script](arguments)
        load_settings(Settings, given.config, given.overrides)


def without_code(page: Path) -> str:
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as they are made on GitHub."""
    headings = re.findall(r"^#+ (.+)$", without_code(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_relative_links_lead_somewhere(page: Path) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(page)):
        if re.match(r"https?:", target):
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        if not found.exists() or (anchor and anchor not in anchors(found)):
            broken.append(target)
    assert broken == []
