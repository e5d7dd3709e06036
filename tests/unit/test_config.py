"""Settings: strict YAML, environment variables in it, overrides; every problem told at once with its dotted path."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import pytest
import yaml
from pydantic import Field, ValidationError

from etl_lib.process.errors import ConfigError
from etl_lib.process.secrets import BareUrl, Secret
from etl_lib.settings.config import Settings
from etl_lib.settings.rules import RuleBook
from etl_lib.settings.strict_model import Location, Section, load_settings

CONF = Path(__file__).resolve().parents[2] / "conf"
LEAST: Mapping[str, Any] = {"warehouse": "/wh", "output": "/out", "rules": "/rules.yaml", "input": {"orders": "/in"}}


def load(
    folder: Path, tree: Mapping[str, Any], *overrides: str, environment: Mapping[str, str] | None = None
) -> Settings:
    """What a file with LEAST and this tree loads as."""
    path = folder / "settings.yaml"
    path.write_text(yaml.safe_dump({**LEAST, **tree}), encoding="utf-8")
    return load_settings(Settings, path, overrides, environment or {})


def problems(
    folder: Path, tree: Mapping[str, Any], *overrides: str, environment: Mapping[str, str] | None = None
) -> list[str]:
    """The problems that loading tells, one a line."""
    with pytest.raises(ConfigError) as caught:
        load(folder, tree, *overrides, environment=environment)
    assert caught.value.exit_code == 2
    head, *listed = str(caught.value).splitlines()
    assert head == f"{folder / 'settings.yaml'}: {len(listed)} problem(s) in the configuration:"
    return [line.strip() for line in listed]


def test_what_a_file_leaves_out_has_its_default(tmp_path: Path) -> None:
    settings = load(tmp_path, {})
    assert settings.model_dump() == {
        "warehouse": "/wh",
        "output": "/out",
        "rules": "/rules.yaml",
        "input": {
            "orders": "/in",
            "users": None,
            "products": None,
            "layout": "auto",
            "damaged": "stop",
            "prints": None,
            "taps": None,
            "pays": None,
        },
        "sources": {"orders": "files", "landing": None, "api": None, "jdbc": None},
        "sinks": (),
        "publish": {"parquet": None, "postgres": None, "redshift": None},
        "version_fields": ("updated_at", "created_at"),
        "window": "calendar",
        "window_weeks": 3,
        "target_week": "latest",
        "min_week_share": 0.5,
        "quality": {
            "max_rejected_share": 1.0,
            "min_records": {},
            "max_age_hours": {},
            "max_volume_z": None,
            "volume_runs": 5,
            "max_profile_shift": None,
            "invariants": "off",
            "effects": {
                **dict.fromkeys(("rejected", "records"), "stop"),
                **dict.fromkeys(("freshness", "volume", "profile"), "hold_publish"),
            },
        },
        "drift": {
            **dict.fromkeys(("new_field", "lost_field", "changed_type", "changed_case"), "warn"),
            "min_records": 10,
            "optional": (),
        },
        "telling": {
            "report": True,
            "progress": True,
            "traces": None,
            "lineage": None,
            "personal": (),
            "report_url": None,
            "alerts": {
                "routes": (),
                "repeat_after_hours": 24,
                "most_per_hour": 20,
                "retries": 3,
                "rejected_share": 0.1,
                "no_data_hours": {},
                "muted_until": {},
            },
            "metrics": {
                "folder": None,
                "pushgateway": {
                    "url": None,
                    "grouping": {},
                    "token": None,
                    "username": None,
                    "password": None,
                    "timeout_s": 10,
                    "ca_file": None,
                    "allow_http": False,
                },
            },
        },
        "maintenance": {"retention_hours": 168, "keep_days": 30},
        "health": {"max_age_hours": {}, "max_failures": 1},
        "logs": {"level": "info", "file": None},
        "lock_timeout_s": 0,
        "lease": {"enabled": False, "expires_s": 300},
        "samples": 20,
        "spark": {},
    }


def test_settings_cannot_be_changed_once_they_are_loaded(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        load(tmp_path, {}).warehouse = "/elsewhere"  # type: ignore[misc]


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    tree = {
        "warehouse": 5,
        "outptu": "/out",
        "input": {"layout": "csv", "order": "/in"},
        "quality": {"max_rejected_share": 2},
        "samples": "20",
        "spark": {"spark.ui.enabled": False},
    }
    found = problems(tmp_path, tree, "samples", "warehouse.path=/wh", "input.oders=/in")
    assert found == [
        "--set samples: expected dotted.key=value",
        "--set warehouse.path: warehouse is not a section",
        "input.layout: Input should be 'auto', 'lines' or 'array' (found 'csv')",
        "input.oders: unknown key",
        "input.order: unknown key",
        "outptu: unknown key",
        "quality.max_rejected_share: Input should be less than or equal to 1 (found 2)",
        "samples: Input should be a valid integer (found '20')",
        "spark.spark.ui.enabled: Input should be a valid string (found False)",
        "warehouse: Input should be a valid string (found 5)",
    ]


@pytest.mark.parametrize(
    ("tree", "at"),
    [
        pytest.param({"samples": True}, "samples", id="a boolean as number"),
        pytest.param({"samples": 2.0}, "samples", id="a fraction as whole number"),
        pytest.param({"samples": 0}, "samples", id="none of something"),
        pytest.param({"warehouse": ""}, "warehouse", id="an empty location"),
        pytest.param({"warehouse": None}, "warehouse", id="null"),
        pytest.param({"input": "/in"}, "input", id="a text as section"),
        pytest.param({"quality": None}, "quality", id="an empty section"),
        pytest.param({"quality": {"max_rejected_share": "0.1"}}, "quality.max_rejected_share", id="a text as share"),
        pytest.param({"quality": {"max_rejected_share": float("nan")}}, "quality.max_rejected_share", id="NaN"),
        pytest.param({"lock_timeout_s": True}, "lock_timeout_s", id="a boolean as seconds"),
        pytest.param({"lock_timeout_s": "5"}, "lock_timeout_s", id="a text as seconds"),
        pytest.param({"lock_timeout_s": -1}, "lock_timeout_s", id="negative seconds"),
        pytest.param({"version_fields": []}, "version_fields", id="no version field"),
        pytest.param({"version_fields": "created_at"}, "version_fields", id="a text as list"),
        pytest.param({"version_fields": ["created_at", 1]}, "version_fields.1", id="a number in a list of texts"),
        pytest.param({"version_fields": ["created_at", "modified_at"]}, "version_fields.1", id="no time of an order"),
        pytest.param({"spark": {"spark.x": 1}}, "spark.spark.x", id="a number as Spark setting"),
        pytest.param({"window": "weekly"}, "window", id="no such window"),
        pytest.param({"window_weeks": 0}, "window_weeks", id="a window of nothing"),
        pytest.param({"window_weeks": 53}, "window_weeks", id="a window of more than a year"),
        pytest.param({"window_weeks": "3"}, "window_weeks", id="a text as number of weeks"),
        pytest.param({"target_week": "reference"}, "target_week", id="no such target week"),
        pytest.param({"min_week_share": 1.5}, "min_week_share", id="more than all"),
        pytest.param({"min_week_share": -0.1}, "min_week_share", id="less than nothing"),
        pytest.param({"input": {"prints": ""}}, "input.prints", id="an empty location of prints"),
        pytest.param({"input": {"pays": 5}}, "input.pays", id="a number as location"),
    ],
)
def test_a_wrong_value_is_told_with_its_path_and_never_replaced(
    tmp_path: Path, tree: Mapping[str, Any], at: str
) -> None:
    found = problems(tmp_path, tree)
    assert [problem.split(": ")[0] for problem in found] == [at]


@pytest.mark.parametrize(
    ("tree", "setting", "value"),
    [
        pytest.param({"quality": {"max_rejected_share": 1}}, "quality.max_rejected_share", 1.0, id="1 is a share"),
        pytest.param({"lock_timeout_s": 5}, "lock_timeout_s", 5.0, id="whole seconds"),
        pytest.param({"lock_timeout_s": 0.5}, "lock_timeout_s", 0.5, id="half a second"),
        pytest.param({"version_fields": ["created_at"]}, "version_fields", ("created_at",), id="a list"),
        pytest.param({"window": "rolling"}, "window", "rolling", id="rolling"),
        pytest.param({"window_weeks": 1}, "window_weeks", 1, id="one week"),
        pytest.param({"window_weeks": 52}, "window_weeks", 52, id="a year of weeks"),
        pytest.param({"target_week": "last_complete"}, "target_week", "last_complete", id="the last full week"),
        pytest.param({"min_week_share": 0}, "min_week_share", 0.0, id="no share"),
    ],
)
def test_a_right_value_is_taken(tmp_path: Path, tree: Mapping[str, Any], setting: str, value: object) -> None:
    found: Any = load(tmp_path, tree)
    for part in setting.split("."):
        found = getattr(found, part)
    assert found == value


@pytest.mark.parametrize(
    ("text", "environment", "value"),
    [
        pytest.param("${PLACE}", {"PLACE": "/there"}, "/there", id="set"),
        pytest.param("${PLACE:-/here}", {"PLACE": "/there"}, "/there", id="set, with a default"),
        pytest.param("${PLACE:-/here}", {}, "/here", id="unset, with a default"),
        pytest.param("${PLACE:-/here}", {"PLACE": ""}, "/here", id="empty, with a default, as in a shell"),
        pytest.param("/a/${ONE}/${TWO}.json", {"ONE": "1", "TWO": "2"}, "/a/1/2.json", id="two in a text"),
        pytest.param("/a/$$HOME", {"HOME": "x"}, "/a/$HOME", id="two dollars stand for one"),
        pytest.param("/a/$${HOME}", {"HOME": "x"}, "/a/${HOME}", id="two dollars before a brace"),
        pytest.param("/a/$HOME", {"HOME": "x"}, "/a/$HOME", id="one dollar alone"),
        pytest.param("/a/${ONE}", {"ONE": "${TWO}", "TWO": "2"}, "/a/${TWO}", id="a value is not read again"),
    ],
)
def test_environment_variables_stand_in_for_text(
    tmp_path: Path, text: str, environment: Mapping[str, str], value: str
) -> None:
    assert load(tmp_path, {"warehouse": text}, environment=environment).warehouse == value


def test_a_variable_becomes_what_its_setting_is(tmp_path: Path) -> None:
    tree = {"samples": "${N}", "lock_timeout_s": "${WAIT:-1.5}", "spark": {"spark.x": "${N}"}}
    settings = load(tmp_path, {**tree, "input": {"orders": "/${N}", "users": "${USERS:-}"}}, environment={"N": "7"})
    assert (settings.samples, settings.lock_timeout_s, settings.spark) == (7, 1.5, {"spark.x": "7"})
    assert (settings.input.orders, settings.input.users) == ("/7", None)


def test_a_location_that_looks_like_a_number_stays_a_text(tmp_path: Path) -> None:
    settings = load(tmp_path, {"warehouse": "${PLACE}"}, "output=2024", environment={"PLACE": "007"})
    assert (settings.warehouse, settings.output) == (str(tmp_path / "007"), str(Path.cwd() / "2024"))


def test_every_variable_that_is_not_set_is_told(tmp_path: Path) -> None:
    found = problems(tmp_path, {"warehouse": "/${A}", "input": {"orders": "/${B}/${C}"}}, environment={"C": "c"})
    assert found == [
        "input.orders: the environment variable B is not set and has no default",
        "warehouse: the environment variable A is not set and has no default",
    ]


def test_an_unset_variable_is_one_problem_and_not_two(tmp_path: Path) -> None:
    found = problems(tmp_path, {"warehouse": "${A}"})
    assert found == ["warehouse: the environment variable A is not set and has no default"]


def test_an_override_reaches_any_setting_by_its_dotted_key(tmp_path: Path) -> None:
    settings = load(
        tmp_path,
        {"spark": {"spark.x": "1", "spark.y": "1"}},
        "input.users=/users.csv",
        "quality.max_rejected_share=0.25",
        "samples=3",
        "samples=4",
        "version_fields=[created_at]",
        "spark.x=2",
        "spark.sql.shuffle.partitions=64",
        "spark.note=a=b",
    )
    assert settings.input.users == "/users.csv"
    assert settings.quality.max_rejected_share == 0.25
    assert settings.samples == 4
    assert settings.version_fields == ("created_at",)
    assert settings.spark == {
        "spark.x": "2",
        "spark.y": "1",
        "spark.sql.shuffle.partitions": "64",
        "spark.note": "a=b",
    }


@pytest.mark.parametrize("dataset", ["orders", "prints", "taps", "pays"])
def test_a_location_that_a_job_needs_is_asked_for_by_name(tmp_path: Path, dataset: str) -> None:
    assert load(tmp_path, {"input": {dataset: "/in"}}).input.location(dataset) == "/in"
    with pytest.raises(ConfigError, match=rf"^input\.{dataset}: missing") as caught:
        load(tmp_path, {"input": {}}).input.location(dataset)
    assert caught.value.exit_code == 2


def test_an_override_names_the_input_and_the_windows_of_the_features(tmp_path: Path) -> None:
    settings = load(tmp_path, {}, "input.prints=/p.jsonl", "input.pays=pays.csv", "window=rolling", "window_weeks=1")
    assert (settings.input.prints, settings.input.taps) == ("/p.jsonl", None)
    assert settings.input.pays == str(Path.cwd() / "pays.csv")
    assert (settings.window, settings.window_weeks) == ("rolling", 1)


def test_an_empty_override_takes_an_optional_setting_away(tmp_path: Path) -> None:
    assert load(tmp_path, {"input": {"orders": "/in", "users": "/u.csv"}}, "input.users=").input.users is None


@pytest.mark.parametrize(
    ("override", "at"),
    [
        pytest.param("samples=many", "samples", id="a text as number"),
        pytest.param("samples=[", "samples", id="no YAML at all"),
        pytest.param("samples=", "samples", id="nothing as number"),
        pytest.param("input.layout=csv", "input.layout", id="no such choice"),
        pytest.param("window_weeks=three", "window_weeks", id="a word as number of weeks"),
        pytest.param("min_week_share=half", "min_week_share", id="a word as share"),
        pytest.param("inputs.orders=/in", "inputs", id="no such section"),
        pytest.param("input.orders.path=/in", "--set input.orders.path", id="a section that is a value"),
    ],
)
def test_a_wrong_override_is_told_with_its_key(tmp_path: Path, override: str, at: str) -> None:
    assert [problem.split(": ")[0] for problem in problems(tmp_path, {}, override)] == [at]


def test_relative_locations_count_from_the_file_and_those_of_overrides_from_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    conf, here = tmp_path / "conf", tmp_path / "here"
    conf.mkdir()
    here.mkdir()
    monkeypatch.chdir(here)
    tree = {"warehouse": "../wh", "output": "out", "rules": "rules.yaml", "input": {"orders": "${IN:-../in/*.json}"}}
    settings = load(conf, tree, "output=out", "input.users=../u.csv", "input.products=/p.csv")
    assert settings.warehouse == str(tmp_path / "wh")
    assert settings.rules == str(conf / "rules.yaml")
    assert settings.input.orders == str(tmp_path / "in/*.json")
    assert settings.output == str(here / "out")
    assert settings.input.users == str(tmp_path / "u.csv")
    assert settings.input.products == "/p.csv"


@pytest.mark.parametrize(
    "location", ["s3a://bucket/a//b", "catalog:main.orders", "/a/b", "file:/a/b", "abfss://c@a.dfs.core.windows.net/x"]
)
def test_an_absolute_location_is_left_as_it_is(tmp_path: Path, location: str) -> None:
    assert load(tmp_path, {"warehouse": location}, f"output={location}").warehouse == location
    assert load(tmp_path, {"warehouse": location}, f"output={location}").output == location


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"", "a configuration is a mapping of keys to values", id="empty"),
        pytest.param(b"- a\n- b\n", "a configuration is a mapping of keys to values", id="a list"),
        pytest.param(b"a: [1\n", "not a YAML file", id="broken YAML"),
        pytest.param(b"a: \xff\n", "not a YAML file", id="not UTF-8"),
        pytest.param(b"a: !!python/object:os.system x\n", "not a YAML file", id="a Python object"),
        pytest.param(
            b"warehouse: /w\nwarehouse: /v\noutput: /o\nrules: /r\ninput: {orders: /i}\n",
            "warehouse",
            id="a key that stands twice",
        ),
    ],
)
def test_a_file_that_is_no_configuration_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "settings.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_settings(Settings, path, (), {})
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.yaml: cannot read the configuration: No such file or directory"):
        load_settings(Settings, tmp_path / "absent.yaml")


def test_the_local_configuration_loads_without_an_environment() -> None:
    settings = load_settings(Settings, CONF / "local.yaml", (), {})
    root = CONF.parent
    assert settings.warehouse == str(root / "warehouse")
    assert settings.output == str(root / "output")
    assert settings.rules == str(CONF / "rules.yaml")
    assert settings.input.orders == str(root / "sample_data/orders")
    for dataset, name in (("prints", "prints.jsonl"), ("taps", "taps.jsonl"), ("pays", "pays.csv")):
        assert settings.input.location(dataset) == str(root / "sample_data/value_props" / name)
    assert settings.spark["spark.sql.warehouse.dir"].endswith("spark-warehouse")


@pytest.mark.parametrize(
    ("name", "environment", "warehouse"),
    [
        pytest.param("emr", {"ORDERS_WAREHOUSE": "s3a://lake/wh"}, "s3a://lake/wh", id="emr"),
        pytest.param("databricks", {}, "catalog:main.orders", id="databricks"),
        pytest.param("databricks", {"ORDERS_CATALOG": "dev"}, "catalog:dev.orders", id="databricks, other catalog"),
    ],
)
def test_a_cluster_differs_by_its_environment(name: str, environment: Mapping[str, str], warehouse: str) -> None:
    given = {"ORDERS_INPUT": "s3a://lake/in", "ORDERS_OUTPUT": "s3a://lake/out", **environment}
    settings = load_settings(Settings, CONF / f"{name}.yaml", (), given)
    assert settings.warehouse == warehouse
    assert settings.output == "s3a://lake/out"
    assert settings.input.orders == "s3a://lake/in/orders"
    for dataset in ("prints", "taps", "pays"):
        assert settings.input.location(dataset) == f"s3a://lake/in/{dataset}"
    assert settings.spark == {}
    assert Path(settings.rules).is_file()


def test_the_rules_load_and_a_broken_rule_is_told_with_its_name(tmp_path: Path) -> None:
    assert {"order_id_given", "price_given"} < set(load_settings(RuleBook, CONF / "rules.yaml").of("orders"))
    path = tmp_path / "rules.yaml"
    good = "{severity: warn, check: amount > 0, message: small}"
    text = f'orders:\n  big:\n    severity: error\n    check: amount > 0\n  "a\\0b": {good}\n  "": {good}\n'
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_settings(RuleBook, path)
    assert [line.strip() for line in str(caught.value).splitlines()[1:]] == [
        r"orders..[key]: String should match pattern '^[\w.-]+$'",
        "orders.a\x00b.[key]: String should match pattern '^[\\w.-]+$'",
        "orders.big.message: missing",
        "orders.big.severity: Input should be 'warn', 'reject' or 'fail' (found 'error')",
    ]


class Api(Section):
    """A source that needs a secret."""

    url: BareUrl | None = None
    token: Secret
    user: Secret | None = None
    folder: Location | None = None
    page_size: int = 100


class Files(Section):
    """A source that needs none."""

    folder: Location | None = None


class Feeds(Section):
    """Secrets at every kind of place."""

    api: Api | None = None
    either: Api | Files = Files()
    sinks: Annotated[tuple[Api, ...], Field(strict=False)] = ()
    by_name: dict[str, Api] = Field(default_factory=dict)
    keys: dict[str, Secret] = Field(default_factory=dict)


def load_feeds(
    folder: Path, tree: Mapping[str, Any] | str, *overrides: str, environment: Mapping[str, str] | None = None
) -> Feeds:
    path = folder / "feeds.yaml"
    path.write_text(tree if isinstance(tree, str) else yaml.safe_dump(tree), encoding="utf-8")
    return load_settings(Feeds, path, overrides, environment or {})


def feed_problems(folder: Path, tree: Mapping[str, Any] | str, *overrides: str) -> list[str]:
    """The problems that loading tells, one a line; the value `hunter2` is nowhere in the error and its trace."""
    with pytest.raises(ConfigError) as caught:
        load_feeds(folder, tree, *overrides)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))
    return [line.strip() for line in str(caught.value).splitlines()[1:]] or [str(caught.value)]


def test_a_secret_keeps_its_reference_wherever_it_stands(tmp_path: Path) -> None:
    api = {"token": "${TOKEN}", "user": "secret:file/run/secrets/user", "url": "https://${HOST}/", "folder": "in"}
    tree = {"api": api, "either": api, "sinks": [api], "by_name": {"a": api}}
    environment = {"TOKEN": "hunter2", "HOST": "example.com"}
    feeds = load_feeds(tmp_path, {**tree, "keys": {"x": "${TOKEN}"}}, environment=environment)
    for found in (feeds.api, feeds.either, feeds.sinks[0], feeds.by_name["a"]):
        assert isinstance(found, Api)
        assert (found.token, found.user) == ("${TOKEN}", "secret:file/run/secrets/user")
        assert (found.url, found.folder) == ("https://example.com/", str(tmp_path / "in"))
    assert feeds.keys == {"x": "${TOKEN}"}
    assert "hunter2" not in repr(feeds)


def test_a_secret_need_not_be_there_when_the_configuration_is_loaded(tmp_path: Path) -> None:
    feeds = load_feeds(tmp_path, {"api": {"token": "${NOT_SET}", "user": "secret:aws/not/there#user"}})
    assert feeds.api == Api(token="${NOT_SET}", user="secret:aws/not/there#user")  # noqa: S106 - a reference


def test_an_override_names_a_secret_by_reference(tmp_path: Path) -> None:
    given = {"api": {"token": "${A}", "user": "${U}"}}
    assert load_feeds(tmp_path, given, "api.token=${B}", "api.user=").api == Api(token="${B}")  # noqa: S106 - a reference
    found = load_feeds(tmp_path, given, "api.user=secret:file/run/a: #b").api
    assert found == Api(token="${A}", user="secret:file/run/a: #b")  # noqa: S106 - a reference


BY_VALUE = "a secret is given by reference, never by its value: write ${NAME} (an environment variable), secret:aws/"


@pytest.mark.parametrize(
    ("tree", "at"),
    [
        pytest.param({"api": {"token": "hunter2"}}, "api.token", id="in an optional section"),
        pytest.param({"api": {"token": "${A}", "user": "hunter2"}}, "api.user", id="of an optional setting"),
        pytest.param({"sinks": [{"token": "hunter2"}]}, "sinks.0.token", id="in a list"),
        pytest.param({"by_name": {"a": {"token": "hunter2"}}}, "by_name.a.token", id="in a mapping"),
        pytest.param({"keys": {"x": "hunter2"}}, "keys.x", id="as a value of a mapping"),
        pytest.param({"api": {"token": {"value": "hunter2"}}}, "api.token", id="as a section"),
        pytest.param({"api": {"token": ["hunter2"]}}, "api.token", id="as a list"),
        pytest.param({"api": {"token": 12345}}, "api.token", id="as a number"),
        pytest.param({"api": {"token": None}}, "api.token", id="null"),
        pytest.param({"api": {"token": "hunter2${TOKEN}"}}, "api.token", id="half a reference"),
    ],
)
def test_a_literal_secret_is_refused_and_not_shown(tmp_path: Path, tree: Mapping[str, Any], at: str) -> None:
    (found,) = feed_problems(tmp_path, tree)
    assert found.startswith(f"{at}: {BY_VALUE}")
    assert found.endswith("secret:file/<absolute path>")
    assert "12345" not in found


def test_a_default_for_a_secret_is_refused_and_not_shown(tmp_path: Path) -> None:
    told = "a default would be a secret in the open: write ${NAME} alone, and set the environment variable"
    assert feed_problems(tmp_path, {"api": {"token": "${TOKEN:-hunter2}"}}) == [f"api.token: {told}"]


@pytest.mark.parametrize("value", ["hunter2", "12345", "[hunter2]", "hunter2${TOKEN}", "'hunter2'", ""])
@pytest.mark.parametrize("key", ["api.token", "keys.x"])
def test_a_literal_secret_in_an_override_is_refused_and_not_shown(tmp_path: Path, key: str, value: str) -> None:
    (found,) = feed_problems(tmp_path, {"api": {"token": "${A}"}}, f"{key}={value}")
    assert found.startswith(f"{key}: {BY_VALUE}")
    assert "12345" not in found


@pytest.mark.parametrize(
    ("tree", "overrides", "found"),
    [
        pytest.param({"api": "hunter2"}, (), "api: Input should be a valid dictionary", id="a text as section"),
        pytest.param({"api": {"token": "${A}"}}, ("api=hunter2",), "api: Input should be", id="over a section"),
        pytest.param({"api": {"user": "${A}", "tokne": "hunter2"}}, (), "api.token: missing", id="a wrong key"),
        pytest.param({"keys": ["hunter2"]}, (), "keys: Input should be a valid dictionary", id="a list as mapping"),
        pytest.param({"sinks": "hunter2"}, (), "sinks: Input should be a valid tuple", id="a text as list"),
        pytest.param({"either": {"folder": {"password": "hunter2"}}}, (), "either.Api.folder", id="elsewhere"),
        pytest.param({"either": "hunter2"}, (), "either.Api: Input should be", id="a text as one of two sections"),
        pytest.param(
            {"api": {"token": "${A}", "page_size": {"password": "hunter2"}}},
            (),
            "api.page_size: Input should be a valid integer",
            id="a section as number",
        ),
        pytest.param({}, ("api.token: hunter2",), "--set api.token: expected dotted.key=value", id="no equals sign"),
    ],
)
def test_no_problem_near_a_secret_shows_it(
    tmp_path: Path, tree: Mapping[str, Any], overrides: tuple[str, ...], found: str
) -> None:
    assert feed_problems(tmp_path, tree, *overrides)[0].startswith(found)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param('api:\n  token: "hunter2\n', id="an open quote"),
        pytest.param("api:\n  token: *hunter2\n", id="an alias"),
        pytest.param("api:\n  token: !hunter2 x\n", id="a tag"),
        pytest.param("api:\n  token: !hunter2!x y\n", id="a tag handle"),
        pytest.param("api: {token: @hunter2}\n", id="a reserved character"),
        pytest.param("api:\n  token: hunter2: x\n", id="a colon"),
        pytest.param("api:\n  token: 2024-13-45 # hunter2\n", id="no date"),
    ],
)
def test_a_broken_file_does_not_show_the_broken_line(tmp_path: Path, text: str) -> None:
    (found,) = feed_problems(tmp_path, text)
    assert "not a YAML file: " in found


def test_a_broken_file_is_told_with_its_line(tmp_path: Path) -> None:
    (found,) = feed_problems(tmp_path, "api:\n  token: @hunter2\n")
    assert found.endswith("found character '@' that cannot start any token, in line 2, column 10")
    (found,) = feed_problems(tmp_path, "api: {}\nkeys: {}\napi: {}\n")
    assert found.endswith("the key 'api' stands twice, in line 1, column 1")


@pytest.mark.parametrize("url", ["https://u:${PW}@example.com", "https://example.com/?access_token=hunter2"])
def test_a_url_with_credentials_is_refused_with_its_path_and_not_shown(tmp_path: Path, url: str) -> None:
    path = tmp_path / "feeds.yaml"
    path.write_text(yaml.safe_dump({"api": {"token": "${A}", "url": url}}), encoding="utf-8")
    environment = {"PW": "hunter2"}
    with pytest.raises(ConfigError) as caught:
        load_settings(Feeds, path, (), environment)
    assert "\n  api.url: the URL has " in str(caught.value)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


def test_a_wrong_value_beside_a_secret_is_still_shown(tmp_path: Path) -> None:
    (found,) = feed_problems(tmp_path, {"api": {"token": "${A}", "page_size": "many"}})
    assert found == "api.page_size: Input should be a valid integer (found 'many')"


def test_no_override_that_looks_like_a_date_breaks_loading(tmp_path: Path) -> None:
    assert problems(tmp_path, {}, "samples=2024-13-45") == [
        "samples: Input should be a valid integer (found '2024-13-45')"
    ]
