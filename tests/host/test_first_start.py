"""From empty directories to a cluster, with real hosts on the simulator's network."""

import pytest
from msgspec.structs import replace

from kraft.host.membership.formation import cluster_id
from kraft.kv.commands import Set
from kraft.node.errors import NoLeader
from tests.simulation.cluster import SimulatedCluster
from tests.simulation.network import Weather
from tests.simulation.world import World


def cluster(nodes=3):
    return SimulatedCluster(World(1), Weather(), nodes=nodes)


def identities(cluster):
    return {p.host.status().cluster for p in cluster.processes()}


def test_all_nodes_form_the_same_cluster_and_one_leads():
    trio = cluster()
    trio.start()
    assert trio.run(5, lambda: len(trio.leaders()) == 1)
    [formed] = identities(trio)
    assert formed == cluster_id(trio.nodes["K1"].durable.identity.members)


def test_a_single_node_forms_and_leads_alone():
    one = cluster(nodes=1)
    one.start()
    assert one.run(5, lambda: one.leaders() == ["K1"])


def test_no_node_forms_before_all_have_met():
    trio = cluster()
    trio.nodes["K1"].start()
    trio.nodes["K2"].start()
    trio.run(5)
    assert identities(trio) == {""}
    assert trio.leaders() == []
    trio.nodes["K3"].start()
    assert trio.run(5, lambda: len(trio.leaders()) == 1)


def test_a_link_that_never_works_does_not_prevent_a_cluster():
    """Only K1 meets all others, which must learn from it that there is a cluster now."""
    trio = cluster()
    trio.network.block([("K2", "K3"), ("K3", "K2")])
    trio.start()
    assert trio.run(10, lambda: len(trio.leaders()) == 1)
    assert trio.run(5, lambda: len(identities(trio)) == 1)


def test_links_of_nodes_that_form_together_are_left_alone():
    trio = cluster()
    trio.start()
    assert trio.run(10, lambda: len(trio.leaders()) == 1)
    trio.run(5)
    assert trio.world.counts["connection reset"] == 0


@pytest.mark.parametrize("accepted", [False, True])
def test_a_founder_that_a_member_disowns_goes_on_if_it_is_accepted_meanwhile(accepted):
    trio = cluster()
    trio.nodes["K1"].start()
    trio.nodes["K2"].start()
    trio.run(1)
    [first, second] = trio.processes()
    others = tuple(m for m in second.host.peers.formation.members if m.id != "K1")
    disowns = replace(first.host.peers.hello_of("K2"), cluster="c" * 32, members=others, current=others)
    assert "KRAFT ADD K1" in first.host.peer_receiver.check(disowns)
    if accepted:
        trio.nodes["K3"].start()
    trio.run(5)
    assert (trio.nodes["K1"].process is first) == accepted
    assert bool(trio.nodes["K1"].failures) != accepted


def test_a_founder_that_a_member_disowns_goes_on_while_the_disk_notes_its_cluster():
    """It was accepted a moment before, and its disk is slow."""
    trio = cluster()
    trio.nodes["K1"].start()
    trio.nodes["K2"].start()
    trio.run(1)
    [first, second] = trio.processes()
    others = tuple(m for m in second.host.peers.formation.members if m.id != "K1")
    disowns = replace(first.host.peers.hello_of("K2"), cluster="c" * 32, members=others, current=others)
    commits = []
    first.host._lifecycle._context.disk.commit = lambda *arguments: commits.append(arguments)
    trio.nodes["K3"].start()
    assert trio.run(5, lambda: bool(commits))
    assert "KRAFT ADD K1" in first.host.peer_receiver.check(disowns)
    trio.run(1)
    assert trio.nodes["K1"].process is first
    assert not first.host.peers.formation.formed
    [(_, durable)] = commits
    durable(True)
    assert first.host.peers.formation.formed


def test_a_full_disk_delays_the_forming():
    one = cluster(nodes=1)
    one.start()
    process = one.nodes["K1"].process
    assert process is not None
    process.disk.full = True
    one.run(3)
    assert identities(one) == {""}
    process.disk.full = False
    assert one.run(5, lambda: one.leaders() == ["K1"])


@pytest.mark.parametrize("late", [False, True], ids=["formed in time", "formed too late"])
def test_a_request_that_comes_too_early_waits_for_the_forming(late):
    """At any member. It is answered as soon as there is a leader, or refused after `client.leader_wait`."""
    trio = cluster()
    trio.nodes["K1"].start()
    trio.nodes["K2"].start()
    trio.run(1)
    answers: list[object] = []
    [first, second] = trio.processes()
    first.clock.run(lambda: first.host.write(0, [Set(b"k", b"v")], 1, answers.append))
    second.clock.run(lambda: second.host.read(0, answers.append))
    trio.run(3 if late else 0.5)
    assert all(isinstance(answer, NoLeader) for answer in answers)
    assert len(answers) == (2 if late else 0)
    trio.nodes["K3"].start()
    trio.run(10, lambda: len(answers) == 2)
    assert len(answers) == 2
    assert [isinstance(answer, NoLeader) for answer in answers] == [late, late]
