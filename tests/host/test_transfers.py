"""Waiting for the outcome of a leadership transfer, and repeating transfers until leadership is gone."""

from typing import Any, ClassVar, cast

import pytest

from kraft.host.admin.transfers import GRACE_SECONDS, LeadershipTransfers
from kraft.node.errors import AdminRefused
from kraft.raft.errors import TransferRefused
from kraft.raft.membership.configuration import Configuration, Member
from kraft.raft.ports import RaftSettings
from kraft.raft.progress import FollowerStatus

PATIENCE = 2.0


class Raft:
    """The leader of a group of three."""

    def __init__(self):
        self.id = self.leader = "K1"
        self.state = self
        self.settings = RaftSettings(election_ticks=20, heartbeat_ticks=4)
        self.transferring = ""
        self.configuration = Configuration.of_voters(tuple(Member(i, i, i) for i in ("K1", "K2", "K3")))
        self.silent = {"K2": 0, "K3": 0}
        self.log, self.last_index = self, 9

    def progress(self):
        return tuple(FollowerStatus(i, 9, 10, "replicate", 0, silent) for i, silent in self.silent.items())


class Group:
    """Remembers the targets of its transfers."""

    id = 0

    def __init__(self):
        self.raft = Raft()
        self.given = []
        self.refuses = None

    @property
    def leads(self):
        return self.raft.state.leader == self.raft.state.id

    def transfer_leadership(self, to):
        if self.refuses:
            raise self.refuses
        self.given.append(to)
        self.raft.state.transferring = to


class Turns:
    def wake(self, group):
        pass


class Peers:
    """K2 and K3 are linked, and report nothing."""

    connected = frozenset({"K2", "K3"})
    failures: ClassVar[dict[str, str]] = {}

    def condition_of(self, node):
        return None


class Clock:
    def __init__(self):
        self.now = 0.0

    def seconds(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def group():
    return Group()


@pytest.fixture
def transfers(clock):
    return LeadershipTransfers(clock, PATIENCE, cast(Any, Turns()), cast(Any, Peers()))


def test_a_transfer_is_done_when_another_node_is_known_to_lead(transfers, group):
    """It is not done when it has begun, nor while no node leads."""
    outcomes: list[Any] = []
    transfers.begin(group, "", outcomes.append)
    assert group.given == ["K2"]
    for leader in ("K1", ""):
        group.raft.state.leader = leader
        transfers.tick()
    assert outcomes == []
    group.raft.state.leader = "K2"
    transfers.tick()
    transfers.tick()
    assert outcomes == ["K2"]


def test_a_transfer_has_failed_when_consensus_gave_it_up(transfers, group):
    """The text names the node that goes on leading."""
    outcomes: list[Any] = []
    transfers.begin(group, "K3", outcomes.append)
    group.raft.state.transferring = ""
    transfers.tick()
    assert [str(each) for each in outcomes] == ["K3 did not take over in time; K1 is still the leader"]


def test_a_transfer_ends_at_its_deadline(transfers, group, clock):
    """That holds even if no leader is known at all."""
    outcomes: list[Any] = []
    transfers.begin(group, "", outcomes.append)
    group.raft.state.leader = ""
    clock.now = PATIENCE + GRACE_SECONDS
    transfers.tick()
    assert isinstance(outcomes[0], AdminRefused)


def test_a_refusal_of_consensus_reaches_the_caller(transfers, group):
    """It arrives as an error that an administrator may read."""
    group.refuses = TransferRefused("K3 does not vote")
    outcomes: list[Any] = []
    transfers.begin(group, "K3", outcomes.append)
    assert [(type(each), str(each)) for each in outcomes] == [(AdminRefused, "K3 does not vote")]


def test_leadership_is_offered_until_a_voter_takes_it(transfers, group):
    """There is one attempt at a time, and the next one when it has failed; none while no voter answers."""
    group.raft.silent.update(K2=1000, K3=1000)
    transfers.transfer_away(group)
    assert group.given == []
    group.raft.silent["K2"] = 0
    transfers.transfer_away(group)
    transfers.transfer_away(group)
    assert group.given == ["K2"]
    group.raft.state.transferring = ""
    transfers.tick()
    transfers.transfer_away(group)
    assert group.given == ["K2", "K2"]
