"""The image is really built, by the project's own Dockerfile, and the sample really runs in it.

As an ordinary user, with a read-only root, and with nothing in it that does not run.
"""

from __future__ import annotations

import json
import re
import shutil
import tomllib
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import pytest
from cyclonedx.schema import OutputFormat, SchemaVersion
from cyclonedx.validation import make_schemabased_validator

from tests.image.buildah import ROOT, Buildah, Image, is_possible

pytestmark = [
    pytest.mark.image,
    pytest.mark.skipif(not is_possible(), reason="needs root on Debian, buildah, mmdebstrap and unshare"),
]

BILL = "opt/orders/sbom.cdx.json"


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    folder = tmp_path_factory.mktemp("image")
    buildah = Buildah(folder)
    yield Image.opened(buildah, buildah.build(buildah.base()))
    buildah("umount", "--all")
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def bill(image: Image) -> dict[str, Any]:
    text = (image.files / BILL).read_text()
    assert make_schemabased_validator(OutputFormat.JSON, SchemaVersion.V1_6).validate_str(text) is None
    found: dict[str, Any] = json.loads(text)
    return found


def test_the_sample_is_loaded_with_a_read_only_root_and_a_second_time_nothing_is_new(image: Image) -> None:
    first = image.run("jobs/orders.py", "--json")
    assert first.returncode == 0, first.stderr[-3000:]
    assert json.loads(first.stdout)["datasets"]["orders"]["outcomes"]["inserted"] == 34
    commits = sorted(image.work.glob("warehouse/*/_delta_log/*.json"))
    assert len(commits) >= 7
    again = image.run("jobs/orders.py", "--json")
    assert again.returncode == 0, again.stderr[-3000:]
    assert sorted(image.work.glob("warehouse/*/_delta_log/*.json")) == commits
    assert {path.stat().st_uid for path in image.work.rglob("*")} == {185}


def test_a_job_that_needs_no_spark_says_with_its_exit_code_how_the_others_are(image: Image) -> None:
    healthy = image.run("python", "/opt/orders/jobs/health.py", "--json")
    assert (healthy.returncode, json.loads(healthy.stdout)["is_healthy"]) == (0, True), healthy.stderr
    wrong = image.run("jobs/orders.py", "--since", "yesterday")
    assert wrong.returncode == 2


def test_nothing_but_the_working_directory_and_tmp_can_be_written_and_the_user_is_not_root(image: Image) -> None:
    assert image.config["User"] == "185"
    files = [path for path in image.files.rglob("*") if not path.is_symlink() and (path.is_dir() or path.is_file())]
    modes = {str(path.relative_to(image.files)): path.stat() for path in files}
    writable = {path for path, has in modes.items() if has.st_mode & 0o002 or has.st_uid == 185}
    assert writable == {"opt/spark/work-dir", "tmp", "var/tmp", "run/lock"}
    assert [path for path, has in modes.items() if path.startswith("opt/") and not has.st_mode & 0o004] == []
    tried = image.run("-c", "touch /opt/orders/jobs/x /var/tmp/x", entrypoint=["/bin/sh"])
    assert tried.stderr.count("Read-only file system") == 2


def test_only_what_runs_is_in_it(image: Image) -> None:
    project = image.files / "opt/orders"
    assert {path.name for path in project.iterdir()} == {
        ".venv", "sbom.cdx.json", "spark-submit.sh", "deploy", "sample_data", "conf", "etl_lib", "jobs",
    }  # fmt: skip
    assert {path.name for path in (project / "deploy").iterdir()} == {"docker-entrypoint.sh", "java"}
    locked = {re.split("[=;]", line)[0].strip() for line in _lines("requirements/local.txt", r"[a-z].*")}
    assert installed(image) == {re.sub("[-.]", "_", name) for name in locked}
    assert not list((image.files / "var/lib/apt/lists").glob("*_Packages*"))
    for folder in ("etl_lib", "jobs"):  # nobody could compile it later
        assert len(list((project / folder).rglob("*.pyc"))) == len(list((project / folder).rglob("*.py")))


def test_the_bill_of_materials_has_every_jar_with_its_checksum_and_every_package(
    image: Image, bill: dict[str, Any]
) -> None:
    told = {each["bom-ref"]: each for each in bill["components"]}
    jars = {
        f"jar:{path.name}": sha256(path.read_bytes()).hexdigest()
        for path in (image.files / "opt/spark/jars").glob("*.jar")
    }
    assert {ref: told[ref]["hashes"][0]["content"] for ref in told if ref.startswith("jar:")} == jars
    pinned = [line.split() for line in _lines("deploy/jars.sha256", r"[0-9a-f]{64} .*")]
    assert all(jars[f"jar:{name}"] == checksum for checksum, name in pinned)
    by_kind: dict[str, set[str]] = {}
    for each in bill["components"]:
        kind = each.get("purl", "").partition("/")[0]
        by_kind.setdefault(kind, set()).add(re.sub("[-.]", "_", each["name"]).lower())
    assert by_kind["pkg:pypi"] == installed(image)
    assert by_kind["pkg:deb"] >= {"libc6", "openjdk_17_jre_headless", "tini"}


def test_its_labels_say_what_it_is(image: Image) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    labels = {name.rpartition(".")[2]: value for name, value in image.config["Labels"].items()}
    assert (labels["title"], labels["version"]) == (project["name"], project["version"])
    assert labels["licenses"] == "Apache-2.0"


def installed(image: Image) -> set[str]:
    """Python's packages in the image, by the names of their folders."""
    return {
        path.name.split("-")[0].lower() for path in image.files.glob("opt/orders/.venv/lib/*/site-packages/*.dist-info")
    }


def _lines(file: str, form: str) -> list[str]:
    return [line for line in (ROOT / file).read_text().splitlines() if re.fullmatch(form, line)]
