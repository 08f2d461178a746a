"""Why a group makes no progress, in words."""

from typing import Any, cast

import pytest

from kraft.config import Config
from kraft.config.values import ClusterConfig, NodeConfig
from kraft.host.membership.formation import Formation
from kraft.host.membership.peers import Peers
from kraft.host.membership.quorum_obstacle import election_obstacle, log_obstacle, slow_obstacle
from kraft.node.values import Identity
from kraft.peerwire.hello import Hello
from kraft.peerwire.messages import NodeCondition
from kraft.raft.membership.configuration import NOBODY, Configuration, Member
from tests.host.fakes import Clock
from tests.host.membership.story import Observer

MEMBERS = tuple(Member(f"K{n}", f"{n}" * 32, f"h:{n}") for n in range(1, 6))
THREE = Configuration.of_voters(MEMBERS[:3])
FULL, SLOW = NodeCondition(disk_full=True), NodeCondition(disk_slow=True)
DRAINED, FENCED = NodeCondition(drained=True), NodeCondition(fenced=True)
NOTHING = NodeCondition()


class Network:
    """Links, some of them full."""

    def __init__(self):
        self.full = ()

    def congested(self):
        return self.full


@pytest.fixture
def peers():
    """Those of K1, without links."""
    formation = Formation(Identity("K1", "1" * 32, "c", MEMBERS[:3]), "h:1", frozenset({"K1", "K2", "K3"}))
    config = Config(NodeConfig("K1", "data"), ClusterConfig())
    found = Peers(config, Clock(), formation, cast(Any, Observer()), starts=1, session=1)
    network: Any = Network()
    found.network = network
    return found


def linked(peers, **conditions):
    """Open links to the named nodes, which report these conditions; None for an earlier program."""
    for id_, condition in conditions.items():
        if id_ == "K1":
            peers.conditions.own = condition
            continue
        peers.link_up(id_, Hello(id_, id_[1] * 32, "c"))
        if condition is not None:
            peers.conditions.received(id_, condition)
    return peers


@pytest.mark.parametrize(
    ("conditions", "text"),
    [
        ({"K2": NOTHING}, ""),
        ({"K2": None}, ""),
        ({"K2": FULL, "K3": NOTHING}, ""),
        ({"K2": FULL, "K3": FULL}, "disk full on K2 and K3"),
        ({"K1": FULL, "K2": FULL, "K3": FULL}, "disk full on K1, K2 and K3"),
        ({"K1": FULL, "K2": NOTHING}, "disk full on K1, no link to K3"),
        ({"K2": FULL}, "disk full on K2, no link to K3"),
        ({}, "no link to K2 and K3"),
        ({"K2": SLOW, "K3": SLOW}, ""),
    ],
)
def test_what_keeps_a_majority_from_logging(peers, conditions, text):
    """Nothing is said while a majority can."""
    assert log_obstacle(linked(peers, **conditions), THREE) == text


def test_a_joint_configuration_needs_both_majorities(peers):
    """The new voters may be those that cannot."""
    joint = Configuration(
        MEMBERS[:3], ("K1", "K2", "K3"), target=Configuration(MEMBERS, ("K1", "K4", "K5"), ("K2", "K3"))
    )
    linked(peers, K2=NOTHING, K3=NOTHING, K4=FULL)
    assert log_obstacle(peers, joint) == "disk full on K4, no link to K5"
    linked(peers, K5=NOTHING)
    assert log_obstacle(peers, joint) == ""


def test_a_learner_does_not_count(peers):
    """Its full disk is no obstacle, and its link no help."""
    learner = Configuration(MEMBERS[:3], ("K1", "K2"), ("K3",))
    linked(peers, K3=NOTHING)
    assert log_obstacle(peers, learner) == "no link to K2"


def test_a_node_that_is_refused_is_missing_for_that_reason(peers):
    """Such as a program that is too old."""
    peers.formation.version.in_force = 2
    peers.formation.objection(Hello("K3", "3" * 32, "c", machine_max=1))
    assert log_obstacle(peers, THREE).startswith(
        "no link to K2, no link to K3 (K3 supports machine version 1"
    )


def lose_data(peers, *ids):
    """The named members greet with an empty directory."""
    for id_ in ids:
        assert peers.formation.objection(Hello(id_, "f" * 32))


def test_a_majority_without_its_data_is_named_with_the_survivor(peers):
    """One that is only away may come back with its data."""
    lose_data(peers, "K2")
    assert log_obstacle(peers, THREE).startswith("no link to K3, no link to K2 (K2 has a new or foreign data")
    lose_data(peers, "K3")
    text = (
        "K2 and K3 have lost data, so that no majority has it: restore the data directories, or stop all "
        "nodes and run kraft recover on K1"
    )
    assert log_obstacle(peers, THREE) == election_obstacle(peers, THREE) == text
    assert peers.formation.objection(Hello("K3", "3" * 32, "c")) is None
    assert "kraft recover" not in log_obstacle(peers, THREE)


def test_several_survivors_are_to_be_compared(peers):
    """A learner has data as well, and perhaps more of it than a voter."""
    learner = Configuration(MEMBERS[:4], ("K1", "K2", "K3"), ("K4",))
    peers.formation.current = learner
    lose_data(peers, "K2", "K3")
    assert log_obstacle(peers, learner).endswith(
        "run kraft recover on that of K1 and K4 which has the latest log"
    )


def test_a_learner_that_is_left_alone_is_the_survivor():
    """It is told the same as a voter."""
    mine = Identity("K4", "4" * 32, "c", MEMBERS[:3])
    learner = Configuration(MEMBERS[:4], ("K1", "K2", "K3"), ("K4",))
    formation = Formation(mine, "h:4", frozenset({"K4"}), current=learner)
    config = Config(NodeConfig("K4", "data"), ClusterConfig())
    peers = Peers(config, Clock(), formation, cast(Any, Observer()), starts=1, session=1)
    lose_data(peers, "K1", "K3")
    assert log_obstacle(peers, learner).startswith("K1 and K3 have lost data")
    assert log_obstacle(peers, learner).endswith("of K2 and K4 which has the latest log")
    lose_data(peers, "K2")
    assert log_obstacle(peers, learner).endswith("run kraft recover on K4")


@pytest.mark.parametrize(
    ("conditions", "text"),
    [
        ({"K1": DRAINED, "K2": DRAINED, "K3": DRAINED}, "drained: K1, K2 and K3"),
        ({"K1": DRAINED, "K2": FENCED}, "drained: K1, no link to K3, wrong data on K2"),
        ({"K1": DRAINED, "K2": DRAINED, "K3": NOTHING}, ""),
        ({"K1": DRAINED, "K2": DRAINED, "K3": None}, ""),
        ({"K2": FULL, "K3": FULL}, "disk full on K2 and K3"),
    ],
)
def test_what_keeps_every_voter_from_leading(peers, conditions, text):
    """One voter that may lead is enough."""
    assert election_obstacle(linked(peers, **conditions), THREE) == text


@pytest.mark.parametrize(
    ("conditions", "text"),
    [
        ({"K2": SLOW, "K3": NOTHING}, ""),
        ({"K2": SLOW, "K3": SLOW}, "slow disk on K2 and K3"),
        ({"K1": SLOW, "K2": NOTHING}, "no link to K3, slow disk on K1"),
    ],
)
def test_slow_disks_that_every_majority_needs(peers, conditions, text):
    """They are named where writes are late, not where they fail."""
    assert slow_obstacle(linked(peers, **conditions), THREE) == text


def test_a_member_that_refuses_the_links_of_this_node_is_missing_for_that_reason(peers):
    """Such as one with another secret; that nothing listens there is no reason of its own."""
    peers.failures = {"K2": "refused by the peer: the peer's secret is another", "K3": "Connection refused"}
    assert log_obstacle(peers, THREE) == (
        "no link to K3, no link to K2 (refused by the peer: the peer's secret is another)"
    )


def test_a_replica_that_has_just_begun_knows_of_no_reason(peers):
    """Its node was added, and nobody has told it yet who votes."""
    obstacles = (log_obstacle, election_obstacle, slow_obstacle)
    assert [obstacle(peers, NOBODY) for obstacle in obstacles] == ["", "", ""]


@pytest.mark.parametrize(
    ("full", "text"),
    [((), ""), (("K2",), ""), (("K2", "K3"), "full link to K2 and K3")],
)
def test_full_links_that_every_majority_needs(peers, full, text):
    linked(peers, K2=NOTHING, K3=NOTHING).network.full = full
    assert slow_obstacle(peers, THREE) == text


def test_a_full_link_and_a_slow_disk_are_named_together(peers):
    linked(peers, K2=SLOW, K3=NOTHING).network.full = ("K2", "K3")
    assert slow_obstacle(peers, THREE) == "full link to K3, slow disk on K2"
