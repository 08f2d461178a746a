"""The links that a node asks for."""

from typing import Any, cast

import pytest
from msgspec.structs import replace

from kraft.config import Config
from kraft.config.values import ClusterConfig, NodeConfig
from kraft.host.membership.formation import Formation
from kraft.host.membership.peers import GREETING_SECONDS, PARTING_SECONDS, SEEK_SECONDS, Peers
from kraft.kv.versions import MACHINE_VERSION
from kraft.node.values import Identity
from kraft.peerwire.hello import Hello
from kraft.peerwire.messages import NodeCondition
from kraft.raft.membership.configuration import Configuration, Member
from tests.host.fakes import Clock
from tests.host.membership.story import Observer


class Network:
    def __init__(self):
        self.asked = []

    def connect(self, peer, address):
        self.asked.append(("connect", peer, address))

    def introduce(self, peer, address):
        self.asked.append(("introduce", peer, address))

    def disconnect(self, peer):
        self.asked.append(("disconnect", peer))

    def congested(self):
        return []

    def windows(self):
        return {}

    def ping(self, peer, answered):
        self.asked.append(("ping", peer))

    def greet_again(self, peer):
        self.asked.append(("greet again", peer))

    def send(self, peer, messages):
        return False

    def take(self):
        """What was asked since the last time."""
        asked, self.asked = self.asked, []
        return asked


MEMBERS = tuple(Member(i, f"incarnation of {i}", f"host:{i[1]}") for i in ("K1", "K2", "K3"))


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def peers(clock):
    identity = Identity("K2", "incarnation of K2", "cluster", MEMBERS)
    formation = Formation(identity, "host:2", frozenset(["K1", "K2", "K3"]))
    config = Config(NodeConfig("K2", "data"), ClusterConfig())
    peers = Peers(config, clock, formation, cast(Any, Observer()), starts=1, session=1)
    peers.start(Network())
    return peers


def test_a_node_that_has_just_started_dials_every_member(peers):
    """It dials even those that dial it by rule: their pauses have grown while it was away."""
    peers.reconfigured(Configuration.of_voters(MEMBERS))
    assert peers.network.take() == [
        ("connect", "K1", "host:1"),
        ("introduce", "K1", "host:1"),
        ("connect", "K3", "host:3"),
        ("introduce", "K3", "host:3"),
    ]
    peers.reconfigured(Configuration.of_voters(MEMBERS))
    assert peers.network.take() == [("connect", "K1", "host:1"), ("connect", "K3", "host:3")]


def test_a_former_member_loses_its_link_after_a_while(peers, clock):
    """A node that is a member again by then keeps its link."""
    peers.reconfigured(Configuration.of_voters(MEMBERS))
    peers.network.take()
    peers.reconfigured(Configuration.of_voters(MEMBERS[:2]))
    clock.advance(PARTING_SECONDS - 1)
    assert peers.network.take() == [("connect", "K1", "host:1")]
    clock.advance(1)
    assert peers.network.take() == [("disconnect", "K3")]

    peers.reconfigured(Configuration.of_voters(MEMBERS))
    peers.reconfigured(Configuration.of_voters(MEMBERS[:2]))
    peers.reconfigured(Configuration.of_voters(MEMBERS))
    peers.network.take()
    clock.advance(PARTING_SECONDS)
    assert peers.network.take() == []


def test_a_group_that_the_node_has_left_keeps_no_member_in_the_cluster(peers, clock):
    """Its replica here was destroyed before it learned that K3 has left as well."""
    peers.reconfigured(Configuration.of_voters(MEMBERS), group=1)
    peers.reconfigured(Configuration.of_voters(MEMBERS[:2]))
    assert [member.id for member in peers.formation.members] == ["K1", "K2", "K3"]
    peers.forget(1)
    assert [member.id for member in peers.formation.members] == ["K1", "K2"]
    peers.network.take()
    clock.advance(PARTING_SECONDS)
    assert peers.network.take() == [("disconnect", "K3")]


def test_without_a_leader_a_node_dials_members_without_a_link(peers, clock):
    """A member may have moved, so that the node that dials by rule dials in vain."""
    peers.reconfigured(Configuration.of_voters(MEMBERS))
    peers.connected.add("K3")
    peers.network.take()
    peers.seek(0.0, leaderless=True)
    assert peers.network.take() == []

    peers.seek(SEEK_SECONDS, leaderless=True)
    peers.seek(SEEK_SECONDS + 1.0, leaderless=True)
    assert peers.network.take() == [("introduce", "K1", "host:1")]

    peers.seek(2 * SEEK_SECONDS, leaderless=False)
    peers.seek(2 * SEEK_SECONDS + 1.0, leaderless=True)
    assert peers.network.take() == []


def test_the_refusals_of_members_are_forgotten_once_there_is_a_leader(peers):
    """It counts this node as a member: the removal that one member knew of was not committed."""
    peers.formation.refused(greeting("K1", 1), "K2 was removed from the cluster: wipe it")
    peers.tick(0.0, "", NodeCondition())
    assert peers.formation.removed_unseen
    peers.tick(0.1, "K3", NodeCondition())
    assert not peers.formation.removed_unseen


def test_a_node_that_has_not_formed_dials_the_members_of_its_file_after_a_while(clock):
    """Even those that dial it by rule: if it was removed, none does, and it would wait for ever."""
    members = {"K1": "host:1", "K2": "host:2", "K3": "host:3"}
    formation = Formation(Identity("K2", "f" * 32), "host:2", frozenset(members))
    config = Config(NodeConfig("K2", "data"), ClusterConfig(members))
    peers = Peers(config, clock, formation, cast(Any, Observer()), starts=1, session=1)
    network = Network()
    peers.start(network)
    peers.connected.add("K3")
    peers.tick(SEEK_SECONDS - 0.1, "", NodeCondition())
    assert network.take() == []
    peers.tick(SEEK_SECONDS, "", NodeCondition())
    assert network.take() == [("introduce", "K1", "host:1")]


def greeting(id_, supported):
    return Hello(id_, f"incarnation of {id_}", "cluster", MEMBERS, machine_max=supported)


def test_the_version_that_a_peer_supports_is_known_while_its_link_is_open(peers):
    """Without a link the peer may run an older program by now."""
    k1, k2, _ = MEMBERS
    assert (peers.supported_by(k2), peers.supported_by(k1)) == (MACHINE_VERSION, 0)
    peers.link_up("K1", greeting("K1", 7))
    assert peers.supported_by(k1) == 7
    assert peers.supported_by(Member("K1", "of another directory", "host:1")) == 0
    peers.link_down("K1")
    assert peers.supported_by(k1) == 0


def test_the_obstacle_to_a_version_names_the_nodes(peers):
    """It names the nodes to upgrade, and those without a link, whose program is unknown."""
    peers.reconfigured(Configuration.of_voters(MEMBERS))
    peers.link_up("K1", greeting("K1", 1))
    assert peers.version_obstacle(1, 1) == ""
    text = "needs machine version 2, but version 1 is in force: upgrade K1, connect K3"
    assert peers.obstacle_text(2, 1) == peers.version_obstacle(2, 1) == text
    peers.link_up("K3", greeting("K3", 1))
    assert peers.obstacle_text(2, 1).endswith("in force: upgrade K1 and K3")
    peers.link_up("K1", greeting("K1", 2))
    peers.link_up("K3", greeting("K3", 2))
    assert peers.obstacle_text(2, 1).endswith("in force: the leader is about to raise it, try again")


def test_a_version_that_the_cluster_has_is_no_obstacle_while_a_member_is_away(peers):
    """A new group, or a new replica, has an older one until it follows."""
    peers.reconfigured(Configuration.of_voters(MEMBERS))
    assert peers.version_obstacle(2, 1).endswith("in force: connect K1 and K3")
    peers.version_raised(2)
    assert peers.version_obstacle(2, 1) == ""
    assert peers.version_obstacle(3, 1).endswith("in force: connect K1 and K3")


def test_a_link_that_is_lost_as_the_cluster_forms_is_no_obstacle(peers, clock):
    """It opens again at once; commands wait for that, in place of an error in the first seconds."""
    peers.reconfigured(Configuration.of_voters(MEMBERS))
    peers.link_up("K1", replace(greeting("K1", 2), cluster="", members=()))
    peers.greet_again()
    peers.link_down("K1")
    assert peers.version_obstacle(2, 1) == "", "K3, whose cluster this node has joined, is still to greet"
    assert peers.version_obstacle(3, 1).endswith("in force: connect K1 and K3")
    clock.advance(GREETING_SECONDS)
    assert peers.version_obstacle(2, 1).endswith("in force: connect K1 and K3")


def test_a_version_in_force_is_announced_and_parts_this_node_from_those_that_lack_it(peers):
    """Such a peer greets again, and is refused then."""
    peers.link_up("K1", greeting("K1", 1))
    peers.link_up("K3", greeting("K3", 2))
    assert (peers.hello().machine_min, peers.hello().machine_max) == (1, MACHINE_VERSION)

    peers.version_raised(2)

    assert peers.hello().machine_min == 2
    assert peers.network.take() == [("greet again", "K1")]
