"""A node in another's place, a lost directory, an old one put back, a new address: each by one command."""

import re
import shutil

import pytest

from tests.cluster.harness import Cluster, Server, free_ports, wait_until
from tests.cluster.load import Load

pytestmark = pytest.mark.slow


def replace(cluster: Cluster, old: str, new: Server) -> None:
    """KRAFT REPLACE, done."""
    answer = cluster.order("REPLACE", old, new.id, "127.0.0.1", new.peer_port)
    assert answer == "OK", answer


def test_a_node_is_replaced_by_another_under_load(cluster):
    """One command; the old one, which may even be the leader, is out when the new one votes."""
    old = cluster.leader()
    [new] = cluster.standby("K4")
    rest = [server for server in cluster if server not in (old, new)]
    with Load(list(cluster)[:3], writers=4) as load:
        wait_until(new.status, "it is up")
        load.advance(100)
        replace(cluster, old.id, new)
        load.servers[:] = [*rest, new]
        cluster.wait_voters("K4", *(server.id for server in rest))
        load.advance(100)
    wait_until(lambda: old.problem().startswith(f"{old.id} was removed"), "the old one knows")
    cluster.wait_equal("K4", *(server.id for server in rest))
    for server in (new, *rest):
        load.check(server)


def test_a_wiped_directory_is_refused_with_a_way_back_that_works(cluster):
    """The node ends and names what to do; done so, it is a member again, and has all of the data."""
    lost = cluster.followers()[0]
    with Load(list(cluster), writers=4) as load:
        load.advance(100)
        lost.kill()
        shutil.rmtree(lost.data)
        lost.start()
        assert lost.exit_status() != 0
        [address] = re.findall(
            f"start this node with cluster.standby and run KRAFT REPLACE {lost.id} {lost.id} (\\S+) there",
            lost.output.splitlines()[-1],
        )
        assert address == f"127.0.0.1:{lost.peer_port}"
        shutil.rmtree(lost.data)
        cluster.wait_for_addition(lost)
        wait_until(lost.status, "it is up")
        replace(cluster, lost.id, lost)
        cluster.wait_voters("K1", "K2", "K3")
        load.advance(100)
    cluster.wait_equal()
    for server in cluster:
        load.check(server)


def test_an_old_copy_of_a_directory_is_refused_with_a_way_back_that_works(cluster, tmp_path):
    """It has forgotten entries and votes that others count on: they keep it out."""
    turned_back = cluster.followers()[0]
    copy = tmp_path / "copy"
    turned_back.terminate()
    shutil.copytree(turned_back.data, copy)
    turned_back.start()
    cluster.wait_serving(turned_back)
    assert turned_back.ask("SET", "x", "kept") == "OK"
    turned_back.terminate()
    shutil.rmtree(turned_back.data)
    shutil.copytree(copy, turned_back.data)

    turned_back.start()
    told = f"the data directory of {turned_back.id} is an old copy, or runs twice"
    cure = f"re-admit it with KRAFT REPLACE {turned_back.id} {turned_back.id} 127.0.0.1:"
    wait_until(lambda: told in turned_back.output, "it is told")
    assert cure in turned_back.output
    assert not turned_back.serves_writes()
    assert cluster.leader().ask("GET", "x") == b"kept"

    turned_back.terminate()
    shutil.rmtree(turned_back.data)
    cluster.wait_for_addition(turned_back)
    wait_until(turned_back.status, "it is up")
    replace(cluster, turned_back.id, turned_back)
    cluster.wait_voters("K1", "K2", "K3")
    assert turned_back.ask("GET", "x") == b"kept"


def test_a_node_moves_to_another_address(cluster):
    """Started at a new port it announces it; KRAFT ADDRESS makes it so, for good."""
    moved = cluster.followers()[0]
    moved.terminate()
    [moved.peer_port] = free_ports(1)
    cluster.members[moved.id] = f"127.0.0.1:{moved.peer_port}"
    moved.configure(cluster.members)
    moved.start()
    wait_until(moved.status, "it is up")
    answer = cluster.order("ADDRESS", moved.id, "127.0.0.1", moved.peer_port)
    assert answer == "OK", answer
    cluster.wait_serving(moved)

    others = [server for server in cluster if server is not moved]
    for server in others:  # whose files still name the old address: what the cluster decided counts
        server.terminate()
        server.start()
        cluster.wait_serving(server)
    cluster.wait_serving()
    cluster.wait_equal()
