"""docs/tls.md and the timer of docs/backup.md, done: a secure cluster on three machines, and its backup.

Their commands, as they stand there. "Your own machine" is the one that runs the test, in the network of the
three; `kraft` is the one that is tested.
"""

import os
import re
import sys
from pathlib import Path
from subprocess import run

import pytest

from tests.deploy.servers import (
    ADDRESSES,
    NETWORK,
    Servers,
    blocks,
    copy_as_said,
    give,
    on_each,
    wait_well,
    without_copies,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


class OwnMachine:
    """A shell in a folder that only its owner reads; it has the programs of this environment."""

    def __init__(self, folder: Path, ip: str) -> None:
        self.folder = folder
        self._ip = ip
        folder.chmod(0o700)

    def give(self, commands: str) -> str:
        """What it prints; the first command that fails ends it."""
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        done = run(
            [self._ip, "netns", "exec", NETWORK, "sh", "-c", f"set -e\n{commands}"],
            cwd=self.folder,
            env=os.environ | {"PATH": path},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, (commands, done.stdout, done.stderr)
        return done.stdout


@pytest.fixture
def own(tmp_path: Path, need) -> OwnMachine:
    folder = tmp_path / "own"
    folder.mkdir()
    return OwnMachine(folder, need("ip"))


def not_started(servers: Servers) -> None:
    """Do what comes before the first start in docs/systemd.md."""
    [install] = blocks("systemd.md", "Install it")
    on_each(servers, install)
    secret, settings = blocks("systemd.md", "Configure the nodes")
    give(servers["K1"], "K1", without_copies(secret))
    copy_as_said(servers, secret, servers["K1"].root)
    on_each(servers, settings)


def put_in_place(servers: Servers, options: str) -> None:
    """Put the lines of the page in the place of those that the files of the nodes have."""
    for name, server in servers.items():
        file = server.root / "etc/kraft" / f"{name}.yaml"
        lines = options.replace("K1", name).replace(ADDRESSES["K1"], ADDRESSES[name]).splitlines()
        sections = tuple(f"{line.partition(':')[0]}:" for line in lines)
        kept = [line for line in file.read_text().splitlines() if not line.startswith(sections)]
        file.write_text("\n".join([*kept, *lines, ""]))


def test_the_pages_lead_to_a_secure_cluster_and_its_backup(servers, own):
    not_started(servers)
    make, allow, options, start, use = blocks("tls.md", "A secure cluster")
    copy_as_said(servers, own.give(make), own.folder)
    on_each(servers, allow)
    put_in_place(servers, options)
    for name, server in servers.items():
        said = give(server, name, start.replace("K1", name))
        assert f"ok (node {name}, members: K1, K2, K3)" in said

    variables, *asked, typed, set_ = use.splitlines()
    own_words = "\n".join([variables, *asked])
    first = servers["K1"]
    ca = "--cacert /etc/kraft/ca.crt --cert /etc/kraft/K1.crt --key /etc/kraft/K1.key"
    wait_well(first, f"kraft status {ca} https://10.0.0.1")
    assert "all well: 3 nodes" in own.give(own_words)
    assert own.give(f"{variables}\n{typed} -c 'set greeting hi'").strip() == "OK"
    assert own.give(f"{variables}\n{set_}").strip() == "OK"
    assert own.give(f"{variables}\nkraft get -s 10.0.0.3:10011 greeting").strip() == "hello"
    with pytest.raises(AssertionError, match=r"certificate required|alert"):
        own.give("kraft get --tls --cacert kraft-certs/ca.crt -s 10.0.0.3:10011 greeting")
    exposure = first.run("systemd-analyze", "security", "--no-pager", "kraft@K1.service")
    assert float(re.findall(r"exposure level for \S+ (\S+)", exposure)[0]) <= 1.1

    address, certificate, files, image = blocks("backup.md", "By a systemd timer")
    give(first, "K1", address)
    own.give(without_copies(certificate))
    copy_as_said(servers, certificate, own.folder)
    give(first, "K1", files)
    seen = give(first, "K1", image)
    assert re.search(r"sound: \S+, 1 rows, index \d+", seen), seen
    assert "kraft-backup@K1.service" in seen
    assert first.run("stat", "-c", "%a %U", "/etc/kraft/backup-K1.env").split() == ["600", "root"]
    assert first.run("stat", "-c", "%a %U", "/var/lib/kraft-backup").split() == ["700", "kraft"]

    give(first, "K1", "echo BACKUP_KEEP=2 >> /etc/kraft/backup-K1.env")
    for _ in range(3):
        first.run("systemctl", "start", "kraft-backup@K1")
    listed = first.run("kraft", "backup", "list", "/var/lib/kraft-backup", "--json")
    assert listed.count('"created_ms"') == 2
