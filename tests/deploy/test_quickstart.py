"""docs/systemd.md, done: its commands, as they stand there, on three machines with addresses of their own.

Only what needs a person or a network between machines is stood in for: `scp` copies a file from one machine's
folder to another's, and the first line of the third step names each machine, as the page says.
"""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.harness import wait_until
from tests.deploy.machine import Machine

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

PAGE = Path(__file__).resolve().parents[2] / "docs/systemd.md"
NETWORK = "kraft-quickstart"
ADDRESSES = {"K1": "10.0.0.1", "K2": "10.0.0.2", "K3": "10.0.0.3"}
FIRST_LINE = "name=K1 address=10.0.0.1"


def blocks(heading: str) -> list[str]:
    """The indented blocks below a heading of the page, without their indentation."""
    section = re.split(rf"^## .*{heading}.*$", PAGE.read_text(), flags=re.MULTILINE)[1].partition("\n## ")[0]
    found = re.findall(r"(?:^    .*\n)+", section, re.MULTILINE)
    return [re.sub(r"^    ", "", block, flags=re.MULTILINE) for block in found]


@pytest.fixture(scope="module")
def network(need) -> Iterator[str]:
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
def servers(network, boot_machine, package) -> dict[str, Machine]:
    """Three bare machines with the package in their home folder."""
    servers = {name: boot_machine(f"quickstart-{name}".lower(), network) for name in ADDRESSES}
    for server in servers.values():
        shutil.copy(package, server.root / "root")
    return servers


def give(server: Machine, name: str, commands: str) -> str:
    """What a root shell on a server prints for these commands; the first that fails ends it."""
    own = commands.replace(FIRST_LINE, f"name={name} address={ADDRESSES[name]}")
    return server.run("sh", "-c", f"cd /root; name={name}; set -e\n{own}")


def on_each(servers: dict[str, Machine], commands: str) -> list[str]:
    return [give(server, name, commands) for name, server in servers.items()]


def copy_as_said(servers: dict[str, Machine], commands: str) -> None:
    """Carry out the `scp` lines."""
    names = {address: name for name, address in ADDRESSES.items()}
    for source, address, target in re.findall(r"^scp (\S+) root@(\S+):(\S+)$", commands, re.MULTILINE):
        shutil.copy(servers["K1"].root / source[1:], servers[names[address]].root / target[1:])


def wait_well(server: Machine) -> None:
    """Until `kraft status` says so, of all three."""
    said = ""

    def well() -> bool:
        nonlocal said
        said = server.run("kraft", "status", f"{ADDRESSES['K1']}:10021", check=False)
        return "all well: 3 nodes" in said

    try:
        wait_until(well, "a cluster that is well")
    except AssertionError:
        unit = server.run("journalctl", "-u", "kraft@*", "-n", "20", "-o", "cat", "--no-pager")
        raise AssertionError(f"{said}\n{unit}") from None


def test_the_page_leads_to_a_cluster_and_back(servers):
    """From an empty machine to a key that is read elsewhere, a day's work, an upgrade, and away."""
    [install] = blocks("Install it")
    on_each(servers, install)

    secret, settings = blocks("Configure the nodes")
    give(servers["K1"], "K1", re.sub(r"^scp .*\n", "", secret, flags=re.MULTILINE))
    copy_as_said(servers, secret)
    checked = on_each(servers, settings)
    for name, said in zip(ADDRESSES, checked, strict=True):
        assert f"ok (node {name}, members: K1, K2, K3)" in said

    [start] = blocks("Start$")
    on_each(servers, start)

    look, use = blocks("Check")
    first = servers["K1"]
    wait_well(first)
    wait_until(lambda: "2/2 peers" in first.property("kraft@K1", "StatusText"), "the status line")
    assert "2/2 peers" in give(first, "K1", look)
    assert give(first, "K1", use).split() == ["OK", "hello"]

    [daily] = blocks("Day by day")
    give(servers["K2"], "K2", daily)
    wait_well(first)

    line, hold = blocks("stays open")
    file = first.root / "etc/kraft/K1.yaml"
    file.write_text(re.sub(r"^client: .*\n", line, file.read_text(), flags=re.MULTILINE))
    give(first, "K1", hold)
    wait_well(first)
    assert first.property("kraft-client@K1.socket", "NAccepted") == "0"  # it listens, the node accepts
    assert give(first, "K1", use).split() == ["OK", "hello"]

    [upgrade] = blocks("An upgrade")
    give(servers["K3"], "K3", upgrade.replace("install", "install --reinstall"))
    wait_well(first)

    [away] = blocks("Uninstall")
    give(servers["K3"], "K3", away.replace("purge", "purge --yes"))
    assert servers["K3"].run("ls", "/var/lib/kraft").split() == ["K3"]
    assert give(first, "K1", use.replace("10.0.0.3", "10.0.0.2")).split() == ["OK", "hello"]
