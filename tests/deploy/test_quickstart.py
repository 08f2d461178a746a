"""docs/systemd.md, done: its commands, as they stand there, on three machines with addresses of their own."""

import re

import pytest

from tests.cluster.harness import wait_until
from tests.deploy import servers as pages
from tests.deploy.servers import ADDRESSES, copy_as_said, give, on_each, wait_well, without_copies

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


def blocks(heading: str) -> list[str]:
    return pages.blocks("systemd.md", heading)


def test_the_page_leads_to_a_cluster_and_back(servers):
    """From an empty machine to a key that is read elsewhere, a day's work, an upgrade, and away."""
    [install] = blocks("Install it")
    on_each(servers, install)

    secret, settings = blocks("Configure the nodes")
    give(servers["K1"], "K1", without_copies(secret))
    copy_as_said(servers, secret, servers["K1"].root)
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
