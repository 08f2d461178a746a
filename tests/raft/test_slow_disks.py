"""Elections where a write takes longer than an election timeout: they take their time, and they succeed.

A disk takes a number of ticks for a transaction, which has all writes that waited when it began.
"""

import random
from collections.abc import Callable

import pytest

from kraft.raft.messages import Vote
from tests.raft.network import Cluster, Peer
from tests.raft.values import SETTINGS

ELECTION = SETTINGS.election_ticks
SEEDS = 12
TERMS_MAX = 16  # of elections in which two candidates divide the votes; without end before


class SlowDisk:
    """The disk of one node: each transaction takes `most` ticks, or up to a quarter less."""

    def __init__(self, peer: Peer, dice: random.Random, most: int) -> None:
        self._peer = peer
        self._dice = dice
        self._most = most
        self._writes = 0  # of the transaction under way
        self._left = 0
        peer.auto_disk = False

    def tick(self) -> None:
        peer = self._peer
        if self._writes and self._left <= 0:
            for _ in range(self._writes):
                peer.finish_write()
            self._writes = 0
        if not self._writes and peer.writes:
            self._writes, self._left = len(peer.writes), self._most - self._dice.randrange(self._most // 4)
        self._left -= 1


class SlowCluster(Cluster):
    """`ticks` has the longest time of a write for each node; those without are fast."""

    def __init__(self, seed: int, size: int, ticks: dict[str, int]) -> None:
        super().__init__(size)
        dice = random.Random(seed)
        for peer in self.peers.values():
            peer.jitters = dice.randrange
            peer.state.restart_timer()
        self._slow = ticks
        self._dice = dice
        self._disks: list[SlowDisk] = []

    def elect_and_slow_down(self) -> None:
        """K1 leads, all have its entry, and from now on the disks are slow."""
        self.elect("K1").propose()
        self.settle()
        self._disks += [SlowDisk(self[name], self._dice, most) for name, most in self._slow.items()]

    def pass_tick(self) -> None:
        self.tick()
        for disk in self._disks:
            disk.tick()
        self.settle()

    def ticks_until(self, reached: Callable[[], bool], bound: int) -> int:
        for count in range(bound):
            if reached():
                return count
            self.pass_tick()
        raise AssertionError(f"not within {bound} ticks: {[p.state.role for p in self.peers.values()]}")

    def is_leaderless(self) -> bool:
        return not self.leaders()

    def leads_with_commit(self) -> bool:
        return any(self[name].state.leads_with_commit for name in self.leaders())


def terms(cluster):
    return max(peer.state.term for peer in cluster.peers.values())


@pytest.mark.parametrize("slow", [ELECTION // 2, ELECTION, 3 * ELECTION, 20 * ELECTION])
@pytest.mark.parametrize("size", [3, 5])
def test_where_all_disks_are_slow_a_leader_is_elected(size, slow):
    """A write may wait for one that is under way, and three follow each other: two votes and the no-op."""
    for seed in range(SEEDS):
        cluster = SlowCluster(seed, size, dict.fromkeys([f"K{i + 1}" for i in range(size)], slow))
        cluster.elect_and_slow_down()
        cluster["K1"].crash()
        cluster.ticks_until(cluster.leads_with_commit, 12 * ELECTION + 20 * slow)
        assert terms(cluster) <= TERMS_MAX, f"seed {seed}"


@pytest.mark.parametrize("slow", [3 * ELECTION, 20 * ELECTION])
def test_a_leader_that_hands_over_to_a_slow_disk_is_replaced(slow):
    """The successor enters its term at once, and asks for votes when that is on its disk."""
    for seed in range(SEEDS):
        cluster = SlowCluster(seed, 3, dict.fromkeys(["K1", "K2", "K3"], slow))
        cluster.elect_and_slow_down()
        cluster["K1"].node.transfer("K2")
        cluster.ticks_until(cluster.is_leaderless, 3 * SETTINGS.heartbeat_ticks)
        cluster.ticks_until(cluster.leads_with_commit, 12 * ELECTION + 12 * slow)
        assert terms(cluster) <= TERMS_MAX, f"seed {seed}"


@pytest.mark.parametrize("slow", [3 * ELECTION, 20 * ELECTION])
def test_a_fast_candidate_waits_for_the_votes_of_slow_disks(slow):
    """Votes that arrive after its timeout count as long as no newer term has begun."""
    for seed in range(SEEDS):
        cluster = SlowCluster(seed, 4, dict.fromkeys(["K3", "K4"], slow))
        cluster.elect_and_slow_down()
        cluster["K1"].crash()
        cluster.ticks_until(cluster.leads_with_commit, 12 * ELECTION + 12 * slow)
        assert terms(cluster) <= TERMS_MAX, f"seed {seed}"


def test_a_stall_that_is_over_delays_nobody():
    """K2 was stopped by its disk in the middle of a campaign, and is as fast as the others again."""
    cluster = SlowCluster(1, 3, {"K2": 1000})
    cluster.elect_and_slow_down()
    cluster["K1"].crash()
    cluster["K3"].node.drain(True)
    cluster["K2"].node.campaign()
    cluster.ticks_until(lambda: cluster["K2"].state.vote_durable and cluster["K2"].state.term > 2, 1100)
    cluster.drop(lambda a, b, m: isinstance(m, Vote))
    cluster["K2"].auto_disk = True
    cluster.ticks_until(cluster.leads_with_commit, 5 * ELECTION)


def test_a_divided_vote_after_a_stall_is_decided_soon():
    """Both candidates were held up by their disks for long, which are fast again."""
    cluster = SlowCluster(1, 3, {})
    cluster.elect("K1").propose()
    cluster.settle()
    cluster["K1"].crash()
    both = [cluster[name] for name in ("K2", "K3")]
    for peer in both:
        peer.auto_disk = False
        peer.state.elapsed = peer.state.timeout
    for _ in range(100 * ELECTION):
        cluster.pass_tick()
    assert [(peer.state.role, peer.state.term) for peer in both] == [("candidate", 3)] * 2
    for peer in both:
        while peer.writes:
            peer.finish_write()
        peer.auto_disk = True
    cluster.ticks_until(cluster.leads_with_commit, 25 * ELECTION)
