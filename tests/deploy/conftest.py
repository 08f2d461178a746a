"""The Debian package, and machines to install it on, for the tests of this folder."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.deploy.machine import CannotBoot, Machine
from tests.deploy.servers import ADDRESSES, NETWORK, Servers

ROOT = Path(__file__).resolve().parents[2]
NEEDED = ("systemd-nspawn", "nsenter", "mount", "umount", "ip", "dpkg", "dbus-daemon")

BootMachine = Callable[..., Machine]


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory, need: Callable[[str], str]) -> Path:
    """Built from this checkout."""
    need("dpkg-deb")
    if not Path("/usr/bin/python3").exists():
        pytest.skip("needs /usr/bin/python3, which the package is for")
    folder = tmp_path_factory.mktemp("package")
    built = subprocess.run(
        [ROOT / "deploy/debian/build", folder],
        env=os.environ | {"DPKG_DEB_COMPRESSOR_TYPE": "none"},  # the packing would take longer than the rest
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert built.returncode == 0, built.stderr
    return Path(built.stdout.strip())


@pytest.fixture(scope="module")
def boot_machine(
    tmp_path_factory: pytest.TempPathFactory, need: Callable[[str], str]
) -> Iterator[BootMachine]:
    """`boot_machine(name)`: booted, halted at the end of the module."""
    for program in NEEDED:
        need(program)
    if os.geteuid() != 0:
        pytest.skip("needs root, to boot a machine")
    machines: list[Machine] = []

    def boot(name: str, network: str = "") -> Machine:
        machine = Machine(tmp_path_factory.mktemp("machine"), name, network)
        machines.append(machine)
        try:
            machine.boot()
        except CannotBoot as why:
            pytest.skip(f"needs {why}")
        return machine

    yield boot
    for machine in machines:
        machine.close()


@pytest.fixture(scope="module")
def network(need: Callable[[str], str]) -> Iterator[str]:
    """A network of its own, in which the three addresses are this machine's."""
    ip = need("ip")
    need("redis-cli")
    made = subprocess.run([ip, "netns", "add", NETWORK], capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"needs the right to make a network: {made.stderr.strip()}")
    try:
        inside = [ip, "-n", NETWORK]
        subprocess.run([*inside, "link", "set", "lo", "up"], check=True)
        for address in ADDRESSES.values():
            subprocess.run([*inside, "address", "add", f"{address}/32", "dev", "lo"], check=True)
        yield NETWORK
    finally:
        subprocess.run([ip, "netns", "delete", NETWORK], check=True)


@pytest.fixture(scope="module")
def servers(network: str, boot_machine: BootMachine, package: Path) -> Servers:
    """Three bare machines with the package in their home folder."""
    servers = {name: boot_machine(f"quickstart-{name}".lower(), network) for name in ADDRESSES}
    for server in servers.values():
        shutil.copy(package, server.root / "root")
    return servers
