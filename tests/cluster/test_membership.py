"""Nodes are added, removed and moved while clients write; what would do harm is refused with the way out."""

import shutil

import pytest

from tests.cluster.harness import Cluster, Server, free_ports, wait_until
from tests.cluster.load import Load
from tests.cluster.wire import Refusal

pytestmark = pytest.mark.slow

# Small enough that new nodes begin with a snapshot.
SNAPSHOT = {"checkpoint_entries": 100, "keep_entries": 0, "keep_bytes": 0}


def add(cluster: Cluster, server: Server) -> None:
    """Make a standby node a member."""
    answer = cluster.order("ADD", server.id, "127.0.0.1", server.peer_port)
    assert answer == "OK", answer


def restart(server: Server) -> None:
    """As a crash, and up again."""
    server.kill()
    server.start()


def remove(server: Server, load: Load) -> None:
    """Take a node out by another one's word; its clients go to whoever is left."""
    load.servers.remove(server)
    gone = server.id
    asked = load.servers[0]

    def removed() -> bool:
        answer = asked.order("REMOVE", gone)
        if answer == "OK" or "is not a member" in answer:
            return True
        # Another node that was just restarted may not have shown yet that it is well.
        down = " is down" in answer or " are down" in answer
        assert answer.prefix in ("CLUSTERDOWN", "UNCERTAIN") or down, answer
        return False

    wait_until(removed, f"{gone} is removed")
    wait_until(lambda: server.problem().startswith(f"{gone} was removed"), f"{gone} knows")
    answer = server.ask("SET", "x", "1")
    assert isinstance(answer, Refusal)
    assert answer.prefix == "CLUSTERDOWN"


@pytest.mark.timeout(180)
def test_three_to_five_to_one_to_three_nodes_under_load_with_kills(make_cluster):
    """Every change is made while clients write and nodes die; nothing acknowledged is lost.

    The nodes that were removed run on; they disturb nobody.
    """
    cluster = make_cluster(snapshot=SNAPSHOT)
    cluster.start()
    fourth, fifth = cluster.standby("K4", "K5")
    with Load(list(cluster)[:3], writers=5) as load:
        load.advance(200)
        wait_until(lambda: fourth.status() and fifth.status(), "the new nodes are up")
        add(cluster, fourth)
        restart(cluster.followers()[0])
        cluster.wait_voters("K1", "K2", "K3", "K4")
        load.servers.append(fourth)
        cluster.insist(*("ADD", "K5", "127.0.0.1", fifth.peer_port), over=lambda: "K5" in cluster.kinds())
        cluster.wait_voters("K1", "K2", "K3", "K4", "K5")
        load.servers.append(fifth)
        restart(cluster.leader())
        cluster.wait_serving()

        first = cluster.leader()
        remove(first, load)
        last = load.servers[-1]
        while len(load.servers) > 1:
            leader = cluster.leader()
            if len(load.servers) == 3:
                restart(leader)
                cluster.wait_serving(*load.servers)
            remove(next(s for s in load.servers if s is not last), load)
        assert cluster.kinds() == {last.id: "voter"}
        load.advance(100)

        gone = {server: len(server.events("role_changed")) for server in cluster if server is not last}
        sixth, seventh = cluster.standby("K6", "K7")
        wait_until(lambda: sixth.status() and seventh.status(), "the new nodes are up")
        for server in (sixth, seventh):
            add(cluster, server)
            load.servers.append(server)
        cluster.wait_voters(last.id, "K6", "K7")
        load.advance(200)
        assert all(server.running for server in gone)
        later = [event for server, seen in gone.items() for event in server.events("role_changed")[seen:]]
        assert not [event for event in later if event["role"] in ("candidate", "leader")]
    cluster.wait_equal(last.id, "K6", "K7")
    for server in (last, sixth, seventh):
        load.check(server)


def refusal(answer: object, *texts: str) -> None:
    """It is -ERR, and says all of these."""
    assert isinstance(answer, Refusal), answer
    assert answer.prefix == "ERR", answer
    for text in texts:
        assert text in answer, answer


def test_what_puts_the_quorum_at_risk_is_refused_with_the_safe_order(cluster):
    """With one of three down, the dead one goes first; the last voter never goes."""
    leader = cluster.leader()
    dead, other = cluster.followers()
    dead.kill()
    refused = f"{dead.id} is down: remove {dead.id} first"
    refusal(leader.order("REMOVE", other.id), refused, "FORCE")
    refusal(leader.order("DEMOTE", other.id), refused)
    refusal(cluster.order("ADD", "K9", "127.0.0.1", dead.peer_port), f"is the address of {dead.id}")
    assert cluster.order("REMOVE", dead.id, asked=other) == "OK"
    assert cluster.order("REMOVE", other.id) == "OK"
    assert cluster.kinds() == {leader.id: "voter"}
    refusal(leader.order("REMOVE", leader.id), f"{leader.id} is the last voter: add or promote another")
    refusal(leader.order("DEMOTE", leader.id), f"{leader.id} is the last voter: add or promote another")
    assert leader.ask("SET", "x", "served") == "OK"


def test_who_cannot_be_added_is_told_why(make_cluster):
    """Nobody at the address, another cluster's node, a removed directory; and how it can be after all."""
    cluster, foreign = make_cluster(2), make_cluster(1)
    stranger = foreign["K1"]
    stranger.id = "K9"
    stranger.configure({}, node={"id": "K9"})
    foreign.start()
    cluster.start()
    with stranger.client() as client:
        assert client.call("SET", "whose", "theirs") == "OK"
    answer = cluster.order("ADD", "K9", "127.0.0.1", stranger.peer_port)
    refusal(answer, "K9 belongs to cluster ", "check cluster.members and node.data of both")
    answer = cluster.order("ADD", "K8", "127.0.0.1", free_ports(1)[0])
    refusal(answer, "K8 cannot be reached at 127.0.0.1:", "cluster.standby")
    assert stranger.ask("GET", "whose") == b"theirs"

    assert cluster["K1"].ask("SET", "whose", "ours") == "OK"
    gone = cluster["K2"]
    assert cluster["K1"].order("REMOVE", "K2") == "OK"
    wait_until(lambda: gone.problem().startswith("K2 was removed"), "K2 knows")
    again = ("ADD", "K2", "127.0.0.1", gone.peer_port)
    refusal(cluster["K1"].order(*again), "removed", "wipe", "start", "with cluster.standby")
    gone.terminate()
    shutil.rmtree(gone.data)
    cluster.wait_for_addition(gone)
    wait_until(gone.status, "it is up")
    assert cluster["K1"].order(*again) == "OK"
    cluster.wait_voters("K1", "K2")
    assert gone.ask("GET", "whose") == b"ours"
