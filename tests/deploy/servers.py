"""Three booted machines with the addresses of the documents, and what a page says, done on them.

Only what needs a person or a network between machines is stood in for: `scp` copies a file from one machine's
folder to another's, and the first line of the configuration names each machine, as the page says.
"""

import re
import shutil
from pathlib import Path

from tests.cluster.harness import wait_until
from tests.deploy.machine import Machine

DOCS = Path(__file__).resolve().parents[2] / "docs"
NETWORK = "kraft-quickstart"
ADDRESSES = {"K1": "10.0.0.1", "K2": "10.0.0.2", "K3": "10.0.0.3"}
FIRST_LINE = "name=K1 address=10.0.0.1"

Servers = dict[str, Machine]


def blocks(page: str, heading: str) -> list[str]:
    """The indented blocks below a heading of the page, without their indentation."""
    text = (DOCS / page).read_text()
    section = re.split(rf"^## .*{heading}.*$", text, flags=re.MULTILINE)[1].partition("\n## ")[0]
    found = re.findall(r"(?:^    .*\n)+", section, re.MULTILINE)
    return [re.sub(r"^    ", "", block, flags=re.MULTILINE) for block in found]


def give(server: Machine, name: str, commands: str) -> str:
    """What a root shell on a server prints for these commands; the first that fails ends it."""
    own = commands.replace(FIRST_LINE, f"name={name} address={ADDRESSES[name]}")
    return server.run("sh", "-c", f"cd /root; name={name}; set -e\n{own}")


def on_each(servers: Servers, commands: str) -> list[str]:
    """`give` it to every server."""
    return [give(server, name, commands) for name, server in servers.items()]


def copy_as_said(servers: Servers, commands: str, source: Path) -> None:
    """Carry out the `scp` lines; relative and absolute paths are below `source`."""
    names = {address: name for name, address in ADDRESSES.items()}
    lines = re.findall(r"^ *scp (.+) root@(\S+):(\S+)$", commands, re.MULTILINE)
    assert lines, commands
    for files, address, target in lines:
        for file in files.split():
            shutil.copy(source / file.lstrip("/"), servers[names[address]].root / target[1:])


def without_copies(commands: str) -> str:
    """The commands but for the `scp` lines."""
    return re.sub(r"^scp .*\n", "", commands, flags=re.MULTILINE)


def wait_well(server: Machine, ask: str = f"kraft status {ADDRESSES['K1']}:10021") -> None:
    """Until `ask`, given on that server, says so of all three."""
    said = ""

    def well() -> bool:
        nonlocal said
        said = server.run("sh", "-c", ask, check=False)
        return "all well: 3 nodes" in said

    try:
        wait_until(well, "a cluster that is well")
    except AssertionError:
        unit = server.run("journalctl", "-u", "kraft@*", "-n", "20", "-o", "cat", "--no-pager")
        raise AssertionError(f"{said}\n{unit}") from None
