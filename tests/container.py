"""Images without an engine and without a registry: Debian's packages, buildah, and chroot."""

import json
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conftest import environment

BASE = "localhost/base:debian"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
RUN = """
mount --bind "$ROOT" "$ROOT" && mount -o remount,bind,ro "$ROOT"
mount --bind "$VAR" "$ROOT/project/var" && mount -t tmpfs tmpfs "$ROOT/tmp"
mount -t proc proc "$ROOT/proc" && mount --rbind /dev "$ROOT/dev"
mount -t tmpfs -o mode=1777 tmpfs "$ROOT/dev/shm"
"""
"""As `docker run --read-only` does, in a namespace of its own."""


def lacking() -> str | None:
    """Name what keeps this machine from building an image."""
    absent = [name for name in ("buildah", "debootstrap") if shutil.which(name) is None]
    return " and ".join(absent) or (None if os.geteuid() == 0 else "root, to build an image,")


@dataclass(frozen=True)
class Image:
    """An image laid out as a folder, with what it says of itself."""

    root: Path
    config: dict[str, Any]
    wheel: str = ""
    """SHA-256 of the wheel it was built from."""

    def command(self, var: Path, *command: str) -> list[str]:
        """Return what runs a command in it as its user: read-only but for `var` and /tmp."""
        enter = f'cd {self.config["WorkingDir"]} && exec "$@"'
        user = self.config["User"]
        chroot = ["chroot", f"--userspec={user}:{user}", str(self.root), "sh", "-c", enter, "sh"]
        told = ["env", "-i", *self.config["Env"], *chroot, *command]
        named = [f"ROOT={self.root}", f"VAR={var}"]
        script = f'set -e; {RUN}\nexec "$@"'
        unshare = ["unshare", "--mount", "--propagation", "private"]
        return [*unshare, "env", *named, "sh", "-c", script, "sh", *told]


class Builder:
    """Builds images in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        settings = folder / "storage.conf"
        settings.write_text(
            f'[storage]\ndriver = "vfs"\ngraphroot = "{folder}/images"\nrunroot = "{folder}/run"\n'
        )
        self.env = {"CONTAINERS_STORAGE_CONF": str(settings), "BUILDAH_ISOLATION": "chroot"}
        self.pip = folder / "pip.conf"
        index = os.environ.get("PIP_INDEX_URL") or os.environ.get("UV_DEFAULT_INDEX")
        told = f"index-url = {index}\n" if index else ""
        self.pip.write_text(f"[global]\ncert = {CERTIFICATES}\n{told}")
        self._make_base()

    @property
    def options(self) -> list[str]:
        """What `make image` needs to build here."""
        return ["ENGINE=buildah", f"BASE={BASE}", f"ARGS=--secret id=pip,src={self.pip}"]

    def build(self, name: str, context: Path, *options: str) -> None:
        self._buildah("build", "--quiet", "--tag", name, *options, str(context))

    @contextmanager
    def laid_out(self, name: str) -> Iterator[Image]:
        """Show an image as a folder until the end of the block."""
        container = self._buildah("from", name)
        try:
            root = Path(self._buildah("mount", container))
            said = json.loads(self._buildah("inspect", "--type", "image", name))
            yield Image(root, said["Docker"]["config"])
        finally:
            self._buildah("rm", container)

    def close(self) -> None:
        """Forget all images."""
        self._buildah("rm", "--all")
        self._buildah("rmi", "--all", "--force")

    def _make_base(self) -> None:
        """Make what stands for `python:X.Y-slim`: Debian's smallest, and its Python."""
        suite, context = platform.freedesktop_os_release()["VERSION_CODENAME"], self.folder / "base"
        wanted = ["Created-By: Packages", f"Codename: {suite}", "Component: main"]
        mirror = self._run("apt-get", "indextargets", "--format", "$(SITE)", *wanted).split()[0]
        packages = "--include=ca-certificates,python3,python3-venv"
        root = context / "root"
        self._run("debootstrap", "--variant=minbase", packages, suite, str(root), mirror)
        shutil.copy(CERTIFICATES, root / CERTIFICATES.relative_to("/"))
        for litter in ("var/cache/apt", "var/lib/apt/lists"):
            shutil.rmtree(root / litter)
        path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        (context / "Dockerfile").write_text(f"FROM scratch\nCOPY root /\nENV PATH={path}\n")
        self.build(BASE, context)
        shutil.rmtree(context)

    def _buildah(self, *arguments: str) -> str:
        return self._run("buildah", *arguments)

    def _run(self, *command: str) -> str:
        done = subprocess.run(
            command, env=environment() | self.env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, (
            f"{' '.join(command)}\n{done.stdout[-2000:]}{done.stderr[-4000:]}"
        )
        return done.stdout.strip()
