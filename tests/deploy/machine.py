"""A machine of its own with a real systemd, booted in a second: systemd-nspawn on the programs of this one.

Its `/usr` and its list of packages are those of this machine with a layer above that catches every write, so
a package can be installed and purged for real; the rest is empty but for a copy of `/etc`. It shares the
network, so its ports are on this machine's loopback.
"""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from tests.cluster.harness import wait_until

LAYER_BYTES = 512 << 20  # of a tmpfs: overlays need an upper layer that is no overlay itself
BOOT_SECONDS = 120.0
OVERLAID = ("usr", "var/lib/dpkg")
EMPTY = ("proc", "sys", "dev", "run", "tmp", "root", "opt", "home", "var/log", "var/tmp")


class CannotBoot(Exception):
    """What is missing here, in a few words."""


class Machine:
    """Booted by `boot`, gone without a trace after `close`. `network` names a namespace (`ip netns`)."""

    def __init__(self, folder: Path, name: str, network: str = "") -> None:
        self._name = name
        self._network = [f"--network-namespace-path=/run/netns/{network}"] if network else []
        self.layers = folder / "layers"
        self.root = self.layers / "root"
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._first = 0  # its PID 1, as seen from here

    def boot(self) -> None:
        """Until systemd says that all is up; CannotBoot where that does not work."""
        self.layers.mkdir(parents=True)
        size = f"size={LAYER_BYTES},mode=755"
        made = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", size, "kraft-test", self.layers], capture_output=True, text=True
        )
        if made.returncode:
            raise CannotBoot(f"the right to mount: {made.stderr.strip()}")
        self._furnish()
        overlays = [f"--overlay=/{each}:{self._layer(each)}:/{each}" for each in OVERLAID]
        with (self.layers / "console").open("wb") as console:
            self._nspawn = subprocess.Popen(
                [
                    *("systemd-nspawn", "--quiet", "--boot", "--register=no", "--keep-unit"),
                    *("--link-journal=no", "--console=pipe", f"--machine={self._name}"),
                    *overlays,
                    *self._network,
                    *("-D", self.root),
                ],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
            )
        try:
            self._first = wait_until(self._find_first, "a PID 1 of its own", BOOT_SECONDS)
            wait_until(self._is_up, "systemd is up", BOOT_SECONDS)
        except AssertionError as error:
            said = (self.layers / "console").read_text(errors="replace")[-500:]
            raise CannotBoot(f"systemd-nspawn that boots ({error}): {said}") from None

    def _furnish(self) -> None:
        for folder in (*OVERLAID, *EMPTY):
            (self.root / folder).mkdir(parents=True)
        for link in ("bin", "sbin", "lib", "lib64"):
            (self.root / link).symlink_to(f"usr/{link}")
        etc = self.root / "etc"
        shutil.copytree("/etc", etc, symlinks=True, ignore=shutil.ignore_patterns("*.wants", "kraft"))
        (etc / "machine-id").write_text("")
        (etc / "os-release").unlink(missing_ok=True)
        shutil.copy("/usr/lib/os-release", etc / "os-release")

    def _layer(self, name: str) -> Path:
        layer = self.layers / name.replace("/", "-")
        layer.mkdir()
        return layer

    def _find_first(self) -> int | None:
        assert self._nspawn is not None
        assert self._nspawn.poll() is None, "systemd-nspawn has ended"
        pid = self._nspawn.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return next((int(child) for child in children if _spaces(int(child)) != _spaces(pid)), None)

    def _is_up(self) -> bool:
        return self.run("systemctl", "is-system-running", check=False).strip() in ("running", "degraded")

    def run(self, *command: str, check: bool = True) -> str:
        """What a command inside prints; it must end with status 0 unless `check` is off."""
        done = subprocess.run(
            ["nsenter", "-t", str(self._first), "-m", "-u", "-i", "-n", "-p", "-C", "--", *command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
        )
        if check:
            assert done.returncode == 0, (command, done.returncode, done.stdout, done.stderr)
        return done.stdout

    def property(self, unit: str, name: str) -> str:
        """One property of a unit."""
        return self.run("systemctl", "show", "--value", "-p", name, unit).strip()

    def main_pid(self, unit: str) -> int:
        """The main process of a unit by the number that it has in here; 0 when there is none."""
        return int(self.property(unit, "MainPID"))

    def outer_pid(self, pid: int) -> int:
        """The number out here of a process inside."""
        spaces = _spaces(self._first)
        for path in Path("/proc").glob("[0-9]*"):
            try:
                if _spaces(int(path.name)) != spaces:
                    continue
                [line] = [x for x in (path / "status").read_text().splitlines() if x.startswith("NSpid:")]
            except OSError:
                continue  # it ended while it was looked at
            if int(line.split()[-1]) == pid:
                return int(path.name)
        raise AssertionError(f"no process {pid} inside")

    def close(self) -> None:
        """Halt it, and take everything away."""
        if self._nspawn is not None:
            if self._first and self._nspawn.poll() is None:
                os.kill(self._first, signal.SIGRTMIN + 4)  # poweroff.target
            try:
                self._nspawn.wait(20)
            except subprocess.TimeoutExpired:
                self._nspawn.kill()
                self._nspawn.wait()
        end = time.monotonic() + 10
        while subprocess.run(["umount", self.layers], capture_output=True).returncode:
            if time.monotonic() > end or not self.layers.is_mount():
                break


def _spaces(pid: int) -> str:
    """Which pid namespace a process lives in; '' when it is gone."""
    try:
        return str(Path(f"/proc/{pid}/ns/pid").readlink())
    except OSError:
        return ""
