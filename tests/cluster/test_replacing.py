"""A node in another's place, a lost directory, an old one put back, a new address: each by one command."""

import re
import shutil

import pytest

from tests.cluster.harness import Cluster, Server, free_ports, wait_until
from tests.cluster.load import Load
from tests.cluster.wire import Refusal

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


def refused(answer: object) -> str:
    """The text of a refusal."""
    assert isinstance(answer, Refusal), answer
    assert answer.prefix == "ERR", answer
    return str(answer).removeprefix("ERR ")


def test_a_hot_spare_takes_the_place_of_a_voter_in_one_step(cluster):
    """It was a learner, and votes at once; no address is needed. A voter cannot do the same."""
    [spare] = cluster.standby("K5")
    wait_until(spare.status, "it is up")
    assert cluster.order("ADD", "K5", "127.0.0.1", spare.peer_port, "LEARNER") == "OK"
    old = cluster.followers()[0]
    other = next(server for server in cluster if server not in (old, spare, cluster.leader()))

    def replaced() -> bool:
        answer = cluster.order("REPLACE", old.id, "K5")
        if isinstance(answer, Refusal):
            assert "not caught up yet" in answer
        return bool(answer == "OK")

    wait_until(replaced, "the spare has caught up and votes")
    rest = [server.id for server in cluster if server is not old]
    assert cluster.kinds() == dict.fromkeys(rest, "voter")
    events = [event["joint"] for event in cluster.leader().events("configuration_changed")]
    assert events[-2:] == [True, False]
    wait_until(lambda: old.problem().startswith(f"{old.id} was removed"), "the old one knows")
    told = refused(cluster.order("REPLACE", other.id, "K5"))
    assert told.startswith("K5 is a voter already and cannot take another place")


def test_a_transfer_to_a_drained_node_is_refused_before_it_is_tried(cluster):
    """With the reason; and the same node takes over once it is not drained any more."""
    leader, to = cluster.leader(), cluster.followers()[0]
    assert to.order("DRAIN", "ON") == "OK"
    wait_until(
        lambda: "is drained: KRAFT DRAIN OFF" in str(leader.order("TRANSFER", to.id)), "the leader knows"
    )
    assert cluster.leader() is leader
    assert to.order("DRAIN", "OFF") == "OK"
    wait_until(lambda: cluster.order("TRANSFER", to.id) == "OK", "it takes over")


def test_an_address_where_something_else_listens_is_refused(cluster):
    """The client port of a node, the peer port of another, and a port where nothing listens."""
    leader = cluster.leader()
    moved, other = cluster.followers()
    told = refused(leader.order("ADDRESS", moved.id, f"127.0.0.1:{moved.client_port}"))
    assert f"{moved.id} says that its peer port is at 127.0.0.1:{moved.peer_port}" in told
    moved.kill()
    for port in (moved.client_port, other.client_port):  # nothing listens on the first now
        told = refused(leader.order("ADDRESS", moved.id, f"127.0.0.1:{port}"))
        assert f"{moved.id} cannot be reached at 127.0.0.1:{port}" in told
        assert "start it there first" in told
    told = refused(leader.order("ADDRESS", moved.id, f"127.0.0.1:{other.peer_port}"))
    assert f"is the address of {other.id}" in told
    moved.start()
    cluster.wait_serving(moved)


def test_an_addition_says_which_node_answered_instead(cluster):
    """The same standby node under another id."""
    [new] = cluster.standby("K5")
    wait_until(new.status, "it is up")
    told = refused(cluster.order("ADD", "K4", "127.0.0.1", new.peer_port))
    assert f"K4 cannot be reached at 127.0.0.1:{new.peer_port} (dialled K4, but K5 answered)" in told
