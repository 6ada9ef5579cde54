"""Programs in the images that `tools/image.sh` makes, by Docker or by buildah."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LIMIT = 1800  # seconds; the suite itself runs in one of the images


@dataclass(frozen=True)
class Image:
    """One image.

    Attributes:
        name: As `tools/image.sh` tags it, such as `mobileq:runtime`.
        docker: Whether Docker's engine runs it; else buildah.
    """

    name: str
    docker: bool

    @property
    def config(self) -> dict[str, Any]:
        """User, Env, Entrypoint, WorkingDir, Labels, as in the image."""
        if self.docker:
            return dict(json.loads(_ok(["docker", "inspect", self.name]))[0]["Config"])
        found = _ok(["buildah", "inspect", "--type", "image", self.name])
        return dict(json.loads(found)["Docker"]["config"])

    @property
    def bytes(self) -> int:
        """Size of all layers."""
        if self.docker:
            return int(json.loads(_ok(["docker", "inspect", self.name]))[0]["Size"])
        found = json.loads(_ok(["buildah", "images", "--json", self.name]))
        number, unit = found[0]["size"].split()
        return int(float(number) * {"KB": 1e3, "MB": 1e6, "GB": 1e9}[unit])

    def run(
        self,
        *command: str,
        work: Path | None = None,
        user: str | None = None,
        entrypoint: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        """Run the image's program, or another one, in a container that is then removed.

        Args:
            command: Arguments of the program; with the program if not `entrypoint`.
            work: Mounted at /work.
            user: As `--user`; else the image's.
            entrypoint: Whether the image's own program runs.
        """
        if self.docker:
            mount = ["--volume", f"{work}:/work"] if work else []
            named = ["--user", user] if user else []
            other = [] if entrypoint else ["--entrypoint", command[0]]
            rest = command if entrypoint else command[1:]
            return _run(
                ["docker", "run", "--rm", *mount, *named, *other, self.name, *rest]
            )
        return self._by_buildah(command, work, user, entrypoint)

    def _by_buildah(
        self,
        command: Sequence[str],
        work: Path | None,
        user: str | None,
        entrypoint: bool,
    ) -> subprocess.CompletedProcess[str]:
        """`buildah run`, which knows no entry point."""
        container = _ok(["buildah", "from", "--pull-never", self.name]).strip()
        try:
            mount = ["--volume", f"{work}:/work"] if work else []
            named = ["--user", user] if user else []
            program = self.config["Entrypoint"] if entrypoint else []
            options = ["--isolation", "chroot", *mount, *named]
            return _run(
                ["buildah", "run", *options, container, "--", *program, *command]
            )
        finally:
            _ok(["buildah", "rm", container])


def find_image(target: str) -> Image | str:
    """The image of a target of the Dockerfile, or why there is none."""
    name = f"mobileq:{target}"
    if shutil.which("docker") and _run(["docker", "info"]).returncode == 0:
        found = _run(["docker", "inspect", name])
        return Image(name, True) if found.returncode == 0 else f"{name} was not built"
    if shutil.which("buildah") is None:
        return "neither Docker's engine nor buildah is here"
    found = _run(["buildah", "inspect", "--type", "image", name])
    return Image(name, False) if found.returncode == 0 else f"{name} was not built"


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run a program of this machine."""
    return subprocess.run(
        command,
        env={"STORAGE_DRIVER": "overlay", **os.environ},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )


def _ok(command: Sequence[str]) -> str:
    """Output of a program that must succeed."""
    done = _run(command)
    assert done.returncode == 0, f"{command}: {done.stderr[-2000:]}"
    return done.stdout
