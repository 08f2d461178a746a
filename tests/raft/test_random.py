"""Whole clusters under drawn faults: loss, duplication, reordering, partitions, slow disks, crashes.

The checker looks at every step. At the end everything heals, and a leader must make progress with everybody.
The full simulator, with host, codecs and storage, lives in tests/simulation.
"""

import random

import pytest

from tests.raft.network import Cluster


class Chaos:
    """One schedule, drawn from a seed that the test's name shows."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.cluster = Cluster(self.dice.choice((3, 3, 5)))
        self.loss = self.dice.choice((0.0, 0.05, 0.3))
        self.twice = self.dice.choice((0.0, 0.05, 0.3))
        self.disorder = self.dice.choice((0.0, 0.5))
        self.crashes = self.dice.choice((0.0, 0.0, 0.01, 0.03))
        self.cuts = self.dice.choice((0.0, 0.02))
        self.disk = self.dice.choice((0.2, 0.9))
        self.count = 0
        self.began: dict[int, int] = {}  # by read: what was committed anywhere when it began
        self.trace: list[tuple[str, ...]] = []
        for peer in self.cluster.peers.values():
            peer.node._core.jitter = self.dice.randrange

    def run(self, steps: int) -> None:
        for _ in range(steps):
            self.step()

    def step(self) -> None:
        dice, cluster = self.dice, self.cluster
        name = dice.choice(list(cluster.peers))
        peer = cluster[name]
        if not peer.up:
            if dice.random() < 0.2:
                peer.restart()
                peer.node._core.jitter = dice.randrange
            return
        if dice.random() < self.crashes:
            peer.crash()
            return
        self.disturb(name)
        if dice.random() < 0.3:
            peer.node.tick()
            cluster.checker.step(peer.node)
        if peer.node.role == "leader" and dice.random() < 0.5:
            self.count += 1
            peer.propose(b"%d" % self.count)
            self.began[self.count] = max(p.node.commit for p in cluster.peers.values())
            peer.node.read(self.count)
        peer.ready()
        for ctx, index in peer.reads:
            assert index >= self.began[ctx]
        peer.reads.clear()
        while peer.writes and dice.random() < self.disk:
            peer.finish_write()
        for _ in range(dice.randrange(6)):
            self.deliver_one()
        self.trace.append((name, peer.node.role, str(peer.node.commit)))

    def disturb(self, name: str) -> None:
        dice, cluster = self.dice, self.cluster
        if dice.random() < self.cuts:
            other = dice.choice([n for n in cluster.peers if n != name])
            cluster.disconnect(name, other, one_way=dice.random() < 0.5)
        elif dice.random() < self.cuts:
            cluster.heal()
        if dice.random() < 0.01:
            cluster[name].node.campaign()
        if dice.random() < 0.01:
            cluster[name].node.leader_lost(cluster[name].node.leader)

    def deliver_one(self) -> None:
        wires = self.cluster.wires
        if not wires:
            return
        position = self.dice.randrange(len(wires)) if self.dice.random() < self.disorder else 0
        message = wires[position]
        if self.dice.random() >= self.twice:
            del wires[position]
        if self.dice.random() >= self.loss:
            self.cluster.deliver(*message)

    def heal(self) -> None:
        cluster = self.cluster
        cluster.heal()
        for peer in cluster.peers.values():
            if not peer.up:
                peer.restart()
                peer.node._core.jitter = self.dice.randrange
        cluster.tick(80)


@pytest.mark.parametrize("seed", range(40))
def test_whatever_happens_nothing_breaks_and_in_the_end_all_agree(seed):
    chaos = Chaos(seed)
    chaos.run(1500)
    chaos.heal()
    cluster = chaos.cluster
    (leader,) = cluster.leaders()
    index, _ = cluster[leader].propose(b"last")
    cluster.tick(6)
    assert all(peer.node.applied == index for peer in cluster.peers.values())
    assert all(peer.applied == cluster[leader].applied for peer in cluster.peers.values())
    assert all(peer.disk.entries == cluster[leader].disk.entries for peer in cluster.peers.values())


def test_the_same_seed_gives_the_same_trace():
    first, second = Chaos(3), Chaos(3)
    first.run(500)
    second.run(500)
    assert first.trace == second.trace
