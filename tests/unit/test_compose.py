"""The files around a deployment agree with each other, with the code and with the docs. No container runs here."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from etl_lib.settings.config import Settings
from etl_lib.settings.launch import extra_jars
from etl_lib.settings.strict_model import load_settings

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = ROOT / "deploy" / "compose"
SHOP = COMPOSE / "shop.yaml"
TEXT = (COMPOSE / "docker-compose.yml").read_text()
FILE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = FILE["services"]
DOCKERFILE = (COMPOSE / "Dockerfile").read_text()
EXAMPLE = (ROOT / ".env.example").read_text()
EXAMPLES = {found[1]: found[2] for found in re.finditer(r"^#?([A-Z][A-Z0-9_]*)=(.*)$", EXAMPLE, re.MULTILINE)}
SECRET = re.compile("PASSWORD|SECRET|TOKEN|ACCESS_KEY|ROOT_USER")
IN_IMAGE = "/opt/orders/"


def variables(text: str) -> set[str]:
    """The names in `${NAME}`, `${NAME:-default}` and `${NAME:?message}`; `$$` is a dollar."""
    return set(re.findall(r"\$\{(\w+)[^}]*\}", text.replace("$$", "")))


def mounts() -> list[tuple[str, str]]:
    """(source, target) of every volume of every service."""
    pairs = [volume.split(":")[:2] for service in SERVICES.values() for volume in service.get("volumes", ())]
    return [(source, target) for source, target in pairs]


def job_environment() -> dict[str, str]:
    """What the job finds: literals and defaults of compose, and something for what has none."""
    values = {name: re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text) for name, text in SERVICES["job"]["environment"].items()}
    return {name: "example" if "$" in text else text for name, text in values.items()}


def test_every_variable_is_explained_in_the_example_of_an_environment() -> None:
    docs = (ROOT / "docs" / "how-to" / "sources-and-sinks.md").read_text()
    confs = [path.read_text() for path in (ROOT / "conf").glob("*.yaml")]
    used = variables("".join([TEXT, SHOP.read_text(), docs, *confs])) - {"NAME", "TMPDIR"}
    assert used - EXAMPLES.keys() == set()
    blocks = EXAMPLE.split("\n")
    assert all(blocks[at - 1] != "" for at, line in enumerate(blocks) if re.match(r"#?[A-Z_]+=", line))


def test_the_example_has_no_secret_and_compose_takes_them_all_from_the_environment() -> None:
    assert {name for name, value in EXAMPLES.items() if SECRET.search(name) and value} == set()
    found = [
        (name, text)
        for service in SERVICES.values()
        for name, text in service.get("environment", {}).items()
        if SECRET.search(name)
    ]
    assert len(found) >= 6
    for name, text in found:
        assert re.fullmatch(r"\$\{\w+:\?[^}]+\}", text), name


def test_defaults_of_compose_are_those_that_the_example_tells() -> None:
    told = dict(re.findall(r"\$\{(\w+):-([^}]*)\}", TEXT))
    assert told == {name: EXAMPLES[name] for name in told}


def test_images_are_pinned_and_the_jobs_are_built_from_this_repository() -> None:
    for name, service in SERVICES.items():
        tag = service["image"].partition(":")[2]
        assert tag, name
        assert tag != "latest", name
    for name in ("lakehouse", "job"):
        build = SERVICES[name]["build"]
        assert (COMPOSE / build["context"]).resolve() == ROOT
        assert (ROOT / build["dockerfile"]).is_file()
    assert SERVICES["job"]["build"]["additional_contexts"] == {"lakehouse": "service:lakehouse"}
    assert "\nFROM lakehouse\n" in DOCKERFILE
    assert SERVICES["airflow"]["image"] == SERVICES["job"]["image"] != SERVICES["lakehouse"]["image"]


def test_whoever_is_waited_for_says_when_it_is_ready() -> None:
    for name, service in SERVICES.items():
        for other, wait in service.get("depends_on", {}).items():
            if wait["condition"] == "service_healthy":
                assert SERVICES[other]["healthcheck"]["test"], f"{name} waits for {other}"
            else:
                assert wait["condition"] == "service_completed_successfully", name
                assert "restart" not in SERVICES[other], f"{other} would never complete"
    assert set(SERVICES["airflow"]["depends_on"]) == {"job"}  # MinIO has no lock that would keep them apart


def test_what_is_mounted_is_there_or_is_a_declared_volume() -> None:
    for source, target in mounts():
        assert target.startswith("/")
        assert (COMPOSE / source).exists() if source.startswith(".") else source in FILE["volumes"], source
    assert FILE["volumes"].keys() == {source for source, _ in mounts() if not source.startswith(".")}


def test_the_command_names_files_of_the_image_and_the_image_has_the_jars_that_the_set_up_pins() -> None:
    job, _, config = SERVICES["job"]["command"]
    copied = re.findall(rf"^COPY (\S+) {IN_IMAGE}", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    for path in (job, config.removeprefix(IN_IMAGE)):
        assert (ROOT / path).is_file(), path
    assert any(job.startswith(f"{source}/") for source in copied)

    set_up = (ROOT / "deploy" / "setup.sh").read_text()
    packages = dict(re.findall(r"^\s+(s3|postgres)\)\s+package=(\S+)", set_up, re.MULTILINE))
    arguments = dict(re.findall(r"^ARG (\w+)=(\S+)$", DOCKERFILE, re.MULTILINE))
    assert arguments["PACKAGES"] == ",".join(packages[jars] for jars in ("s3", "postgres"))
    excluded = {one for text in re.findall(r"excluded='([^']*)'", set_up)[1:] for one in text.split(",")}
    assert set(arguments["EXCLUDED"].split(",")) == excluded


def test_the_configuration_is_valid_and_needs_the_jars_that_are_fetched() -> None:
    environment = job_environment()
    settings = load_settings(Settings, SHOP, environment=environment)
    assert settings.sinks == ("parquet", "postgres")
    assert settings.publish.parquet is not None
    assert settings.publish.parquet.path == "s3a://lake/published"
    assert settings.publish.postgres is not None
    assert settings.publish.postgres.url == "jdbc:postgresql://postgres:5432/analytics"
    assert Path(settings.rules) == ROOT / "conf" / "rules.yaml"
    assert settings.spark["spark.hadoop.fs.s3a.endpoint"] == environment["AWS_ENDPOINT_URL"] == "http://minio:9000"
    assert extra_jars(settings) == ["postgres", "s3"]


def test_the_sample_files_that_are_mirrored_are_those_that_the_configuration_reads() -> None:
    settings = load_settings(Settings, SHOP, environment=job_environment())
    for location in settings.input.locations:
        assert location is not None
        assert (ROOT / "sample_data" / location.removeprefix("s3a://lake/landing/")).exists(), location
    assert 'mc mirror --quiet /sample_data "store/$$BUCKET/landing"' in TEXT
