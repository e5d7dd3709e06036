"""Building the image with Debian's buildah, and running what is in it, without a daemon or a container runtime.

Needs root on Debian, with buildah and mmdebstrap. Everything is kept in one folder, which may be deleted.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
PINNED_BASE = re.search(r"^ARG BASE=(\S+)$", DOCKERFILE, re.MULTILINE)[1]
OWN_AUTHORITIES = Path("/usr/local/share/ca-certificates")
"""Where Debian keeps the certificates that a company adds."""
PACKAGES = ("ca-certificates", "python3", "python3-venv")
"""What Debian must have for the build; the official image of Python has them."""


@dataclass(frozen=True)
class Buildah:
    """buildah with a storage of its own in `folder`."""

    folder: Path

    def __call__(self, *arguments: str | Path, timeout: float = 900) -> str:
        places = [f"--root={self.folder}/storage", f"--runroot={self.folder}/run", "--storage-driver=vfs"]
        done = subprocess.run(
            ["buildah", *places, *arguments], capture_output=True, text=True, timeout=timeout, check=False
        )
        assert done.returncode == 0, f"buildah {arguments[0]}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done.stdout.strip()

    def base(self) -> str:
        """The pinned base where its registry answers; else an image of Debian's packages, made by the same name."""
        try:
            self("pull", PINNED_BASE, timeout=120)
        except (AssertionError, subprocess.TimeoutExpired):
            return self._debian()
        return PINNED_BASE

    def _debian(self) -> str:
        files = self.folder / "debian.tar"
        # as in the official slim image: no manuals, no documentation
        slim = [f"--dpkgopt=path-exclude=/usr/share/{each}/*" for each in ("man", "doc")]
        included = f"--include={','.join(PACKAGES)}"
        subprocess.run(["mmdebstrap", "--quiet", "--variant=minbase", included, *slim, "bookworm", files], check=True)
        container = self("from", "scratch")
        self("add", container, files, "/")
        files.unlink()
        if OWN_AUTHORITIES.is_dir():
            self("add", container, OWN_AUTHORITIES, OWN_AUTHORITIES)
            self("run", "--isolation=chroot", container, "update-ca-certificates")
        self("commit", "--rm", container, "localhost/debian-python")
        return "localhost/debian-python"

    def build(self, base: str) -> str:
        """The image by the project's Dockerfile on this base; what pip is told on this machine holds in the build."""
        pip = self.folder / "pip.conf"
        pip.write_text(_settings_of_pip())
        secret = f"--secret=id=pip,src={pip}"
        self(
            "bud", "--isolation=chroot", secret, f"--build-arg=BASE={base}", "--tag=orders-lakehouse", self._checkout()
        )
        return "orders-lakehouse"

    def _checkout(self) -> Path:
        """What the build sees of the project, as it is where nobody else may read one's files."""
        checkout = self.folder / "checkout"
        checkout.mkdir()
        seen = re.findall("^!(.+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
        command = ["cp", "--recursive", "--parents", ".dockerignore", "Dockerfile", *seen, checkout]
        subprocess.run(command, cwd=ROOT, umask=0o077, check=True)
        return checkout


def _settings_of_pip() -> str:
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    ).stdout
    found = re.findall(r"^(?:global|:env:)\.([\w-]+)='(.*)'$", listed, re.MULTILINE)
    return "[global]\n" + "".join(f"{name} = {value}\n" for name, value in dict(found).items())


@dataclass(frozen=True)
class Image:
    """A built image: its files, mounted, and how it says that it is run."""

    files: Path
    config: dict[str, Any]
    work: Path
    """What is mounted as the working directory."""

    @classmethod
    def opened(cls, buildah: Buildah, name: str) -> Image:
        container = buildah("from", name)
        config = json.loads(buildah("inspect", container))["OCIv1"]["config"]
        work = buildah.folder / "work-dir"
        work.mkdir()
        os.chown(work, 185, 0)
        files = Path(buildah("mount", container))
        (files / "etc" / "hosts").write_text("127.0.0.1 localhost\n")  # as every runtime does
        return cls(files, config, work)

    def run(self, *arguments: str, entrypoint: Sequence[str] | None = None) -> subprocess.CompletedProcess[str]:
        """What `docker run --read-only --tmpfs /tmp --volume WORK:/opt/spark/work-dir IMAGE arguments` does.

        In name spaces of its own for mounts, processes and the host's name; the network is this machine's.
        """
        command = [*(self.config["Entrypoint"] if entrypoint is None else entrypoint), *arguments]
        places = [self.files, self.work, self.config["WorkingDir"], f"{self.config['User']}:0"]
        isolated = ["unshare", "--mount", "--pid", "--uts", "--fork", "bash", "-euc", _AS_A_CONTAINER, "run"]
        return subprocess.run(
            [*isolated, *places, *self.config["Env"], *command],
            capture_output=True, text=True, timeout=600, check=False,
        )  # fmt: skip


_AS_A_CONTAINER = """
root="$1" work="$2" directory="$3" user="$4"
shift 4
hostname localhost
mount --bind "$root" "$root"
mount -o remount,bind,ro "$root"
mount -t tmpfs tmpfs "$root/tmp"
chmod 1777 "$root/tmp"
mount --bind "$work" "$root$directory"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
chown "$user" /dev/stdout /dev/stderr # as every runtime does: the job opens them by name
exec chroot --userspec="$user" "$root" env --ignore-environment --chdir="$directory" "$@"
"""
"""Takes the root, what to mount as the working directory and where, the user, then variables and the command."""


def is_possible() -> bool:
    """Whether this machine can build: root, buildah and mmdebstrap."""
    return os.geteuid() == 0 and all(shutil.which(tool) for tool in ("buildah", "mmdebstrap", "unshare"))
