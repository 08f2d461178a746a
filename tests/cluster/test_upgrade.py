"""A rolling upgrade from an earlier release, node by node, under load; and the way back before the raise.

docs/upgrade.md promises what is tested here.
"""

from pathlib import Path

import pytest

from tests.cluster.harness import Cluster, Server
from tests.cluster.load import Load

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def roll(server: Server, library: Path | None, cluster: Cluster, load: Load) -> None:
    """Stop one node in order, start it with another program, and wait until it has taken its part."""
    server.terminate()
    load.advance(50)
    server.library = library
    server.start()
    cluster.wait_serving(server)
    load.advance(50)


def test_old_and_new_nodes_serve_together(make_cluster, earlier):
    """Either program leads, and the nodes of both take part, by log and by snapshot."""
    cluster = make_cluster(3, snapshot={"checkpoint_entries": 200, "keep_entries": 20})
    for server in cluster:
        server.library = earlier
    cluster.start()
    with Load(list(cluster), writers=6) as load:
        load.advance(100)
        for name in ("K1", "K3", "K2", "K3"):
            cluster.insist("TRANSFER", name, over=lambda name=name: cluster.leader().id == name)
            load.advance(100)
        roll(cluster["K1"], earlier, cluster, load)
    for server in cluster:
        load.check(server)
    cluster.wait_equal()
