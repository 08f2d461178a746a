"""Which links a node asks for."""

import pytest

from kraft.config import Config
from kraft.config.values import Cluster, Node
from kraft.host.formation import Formation
from kraft.host.peers import PARTING_SECONDS, Peers
from kraft.host.ports import Identity
from kraft.raft.membership import Configuration, Member


class Network:
    def __init__(self):
        self.asked = []

    def connect(self, peer, address):
        self.asked.append(("connect", peer, address))

    def introduce(self, peer, address):
        self.asked.append(("introduce", peer, address))

    def disconnect(self, peer):
        self.asked.append(("disconnect", peer))

    def take(self):
        """What was asked since the last time."""
        asked, self.asked = self.asked, []
        return asked


class Clock:
    def __init__(self):
        self.calls = []

    def call_later(self, seconds, call):
        self.calls.append((seconds, call))


MEMBERS = tuple(Member(i, f"incarnation of {i}", f"host:{i[1]}") for i in ("K1", "K2", "K3"))


@pytest.fixture
def peers():
    identity = Identity("K2", "incarnation of K2", "cluster", MEMBERS)
    formation = Formation(identity, "host:2", frozenset(["K1", "K2", "K3"]))
    peers = Peers(Config(Node("K2", "data"), Cluster()), Clock(), formation, starts=1, session=1)
    peers.start(Network())
    return peers


def test_a_node_that_has_just_started_looks_for_everybody(peers):
    """Also for those that dial it by rule: while it was away their pauses have grown."""
    peers.reconfigured(Configuration.of_voters(MEMBERS))
    assert peers.network.take() == [
        ("connect", "K1", "host:1"),
        ("introduce", "K1", "host:1"),
        ("connect", "K3", "host:3"),
        ("introduce", "K3", "host:3"),
    ]
    peers.reconfigured(Configuration.of_voters(MEMBERS))
    assert peers.network.take() == [("connect", "K1", "host:1"), ("connect", "K3", "host:3")]


def test_a_member_that_left_is_let_go_after_a_while(peers):
    """Unless it is a member again by then."""
    peers.reconfigured(Configuration.of_voters(MEMBERS))
    peers.reconfigured(Configuration.of_voters(MEMBERS[:2]))
    peers.network.take()
    [(seconds, part)] = peers._clock.calls
    assert seconds == PARTING_SECONDS
    part()
    assert peers.network.take() == [("disconnect", "K3")]
    peers.reconfigured(Configuration.of_voters(MEMBERS))
    peers.network.take()
    part()
    assert peers.network.take() == []
