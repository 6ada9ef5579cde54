"""Emulated phones: a real arm64 adbd under qemu-user, in namespaces of its own.

There is no bionic, no GPU, no NNAPI and no heat in them; how adb, its shell, files and
processes behave is real.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from types import TracebackType

ARM64 = "MOBILEQ_ARM64_ROOT"
SCRIPTS = Path(__file__).resolve().parents[1] / "android" / "phone"
STAND_IN = SCRIPTS.parent / "stand_in" / "litert_benchmark_stand_in.py"
ISOLATED = ("unshare", "--user", "--map-root-user", "--mount", "--net")
BINFMT = "/proc/sys/fs/binfmt_misc"
PATIENCE = 60.0
"""Seconds for what takes a few."""


def missing() -> str | None:
    """Why there can be no emulated phone here; None if there can."""
    root = os.environ.get(ARM64)
    if not root or not (Path(root) / "phone").exists():
        return f"{ARM64} names no arm64 system with adbd ('make arm64' makes one)"
    for program in ("adb", "unshare", "nsenter", "ip"):
        if not any(
            (Path(folder) / program).exists()
            for folder in (*os.get_exec_path(), "/usr/sbin", "/sbin")
        ):
            return f"no {program} here"
    tried = subprocess.run(
        [*ISOLATED, "sh", "-c", f"mount -t binfmt_misc none {BINFMT}"],
        capture_output=True,
        text=True,
        check=False,
    )
    if tried.returncode != 0:
        return f"no namespaces with a binfmt_misc here ({tried.stderr.strip()})"
    return None


class Network:
    """Where emulated phones live, and an adb of their own; a context manager.

    Args:
        folder: For the adb program that reaches them.
    """

    def __init__(self, folder: Path) -> None:
        self.system = Path(os.environ[ARM64]).resolve()
        self._phones: list[Phone] = []
        emulator = str(self.system / "qemu-aarch64")
        self._holder = subprocess.Popen(
            [
                *(*ISOLATED, "--fork", "--kill-child"),
                *("sh", str(SCRIPTS / "network.sh"), emulator),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"},
        )
        assert self._holder.stdout is not None
        if self._holder.stdout.readline().strip() != "ready":
            _, said = self._holder.communicate()
            raise OSError(f"no namespaces: {said}")
        self.pid = int(
            subprocess.check_output(
                ["ps", "-o", "pid=", "--ppid", str(self._holder.pid)], text=True
            ).split()[0]
        )
        self.adb = folder / "adb"
        inside = f"nsenter --target {self.pid} --user --net --preserve-credentials"
        self.adb.write_text(f'#!/bin/sh\nexec {inside} adb "$@"\n')
        self.adb.chmod(0o755)

    def __enter__(self) -> Network:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for phone in self._phones:
            phone.kill()
        self.ask("kill-server")
        self._holder.kill()
        self._holder.communicate()

    def ask(self, *arguments: str) -> str:
        """Run adb; what it prints."""
        done = subprocess.run(
            [str(self.adb), *arguments],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        return done.stdout + done.stderr

    def phone(self, port: int, mebibytes: int = 256) -> Phone:
        """Start a phone and connect to it."""
        phone = Phone(self, port, mebibytes)
        self._phones.append(phone)
        return phone


class Phone:
    """An emulated phone that adb is connected to.

    Args:
        network: Where.
        port: Of its adbd; 5555 would be listed twice.
        mebibytes: Of its storage.
    """

    def __init__(self, network: Network, port: int, mebibytes: int) -> None:
        self._network = network
        self.serial = f"127.0.0.1:{port}"
        self._process = subprocess.Popen(
            [
                *("nsenter", "--target", str(network.pid), "--user", "--net"),
                *("--mount", "--preserve-credentials", "unshare", "--mount"),
                *("sh", str(SCRIPTS / "phone.sh"), str(network.system)),
                *(str(port), str(mebibytes)),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env={**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"},
        )
        end = time.monotonic() + PATIENCE
        while f"{self.serial}\tdevice" not in network.ask("devices"):
            if time.monotonic() > end:
                self.kill()
                raise OSError(f"{self.serial} does not answer")
            network.ask("connect", self.serial)
            time.sleep(0.2)

    def shell(self, script: str) -> str:
        """Run a script on the phone; what it prints."""
        return self._network.ask("-s", self.serial, "shell", script)

    def kill(self) -> None:
        """The battery falls out: adbd and all that it has started are gone."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
