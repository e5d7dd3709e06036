"""The bill of materials of the image, as CycloneDX has it: Python's packages, Spark's jars, Debian's packages.

python deploy/sbom.py python.json debian.tsv JARS OUT

`python.json` is what cyclonedx-py says of the environment, `debian.tsv` what dpkg-query says of the system (name,
version, architecture), JARS the folder of Spark's jars. Ends with an error when OUT is not what the schema wants.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from zipfile import ZipFile

from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from cyclonedx.validation import make_schemabased_validator
from packageurl import PackageURL

VERSION = SchemaVersion.V1_6


def jars_in(folder: Path) -> Iterator[Component]:
    """Every jar with its checksum, and its Maven coordinates where it has them in it."""
    for path in sorted(folder.glob("*.jar")):
        name, version = re.fullmatch(r"(.+?)-(\d[^/]*)", path.stem).groups()
        group = _group_of(path, name)
        checksum = sha256(path.read_bytes()).hexdigest()
        yield Component(
            name=name,
            version=version,
            group=group,
            type=ComponentType.LIBRARY,
            bom_ref=f"jar:{path.name}",
            purl=PackageURL("maven", group, name, version) if group else None,
            hashes=[HashType(alg=HashAlgorithm.SHA_256, content=checksum)],
        )


def _group_of(jar: Path, artifact: str) -> str | None:
    """Its Maven group: a jar with others in it has one such file for each, told apart by the artifact."""
    with ZipFile(jar) as archive:
        for entry in archive.namelist():
            found = re.fullmatch(rf"META-INF/maven/([^/]+)/{re.escape(artifact)}/pom\.properties", entry)
            if found:
                return found[1]
    return None


def packages_in(listing: Path) -> Iterator[Component]:
    """Debian's packages."""
    for line in listing.read_text().splitlines():
        name, version, architecture = line.split("\t")
        yield Component(
            name=name,
            version=version,
            type=ComponentType.LIBRARY,
            bom_ref=f"deb:{name}:{architecture}",
            purl=PackageURL("deb", "debian", name, version, {"arch": architecture}),
        )


def main(python: str, debian: str, jars: str, out: str) -> None:
    """Write the bill."""
    bom = Bom.from_json(json.loads(Path(python).read_text()))
    bom.components.update(jars_in(Path(jars)), packages_in(Path(debian)))
    text = make_outputter(bom, OutputFormat.JSON, VERSION).output_as_string(indent=1)
    if problem := make_schemabased_validator(OutputFormat.JSON, VERSION).validate_str(text):
        sys.exit(f"{out}: {problem}")
    Path(out).write_text(text)


if __name__ == "__main__":
    main(*sys.argv[1:])
