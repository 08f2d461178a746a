"""Whole clusters under drawn faults: loss, duplication, reordering, partitions, slow disks, crashes.

In half of the schedules the cluster itself changes too: members come, go, are promoted, demoted and replaced,
logs are cut, copies of the state machine take their place or break off, leadership is handed on. The checker
looks at every step. At the end everything heals, and a leader must make progress with everybody. The full
simulator, with host, codecs and storage, lives in tests/simulation.
"""

import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from kraft.raft.errors import ChangeRefused, NotLeading, TransferRefused
from kraft.raft.membership import changes
from kraft.raft.membership.configuration import Configuration, Member
from tests.raft.network import Cluster, Peer
from tests.raft.values import SETTINGS

NAMES = ("K1", "K2", "K3", "K4", "K5")


class Chaos:
    """One schedule, drawn from a seed that the test's name shows."""

    def __init__(self, seed: int, cluster: Cluster | None = None) -> None:
        self.dice = random.Random(seed)
        self.cluster = cluster or Cluster(self.dice.choice((3, 3, 5)))
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
            peer.jitters = self.dice.randrange

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
            return
        if dice.random() < self.crashes:
            peer.crash()
            return
        self.disturb(name)
        if dice.random() < 0.3:
            peer.node.tick()
            cluster.checker.step(peer.node)
        if peer.state.role == "leader" and dice.random() < 0.5:
            self.ask(peer)
        peer.ready()
        for ctx, index in peer.reads:
            assert index >= self.began[ctx]
        peer.reads.clear()
        while peer.writes and dice.random() < self.disk:
            peer.finish_write()
        for _ in range(dice.randrange(6)):
            self.deliver_one()
        self.trace.append((name, peer.state.role, str(peer.state.commit)))

    def ask(self, leader: Peer) -> None:
        self.count += 1
        if not leader.state.transferring:
            leader.propose(b"%d" % self.count)
        self.began[self.count] = max(p.state.commit for p in self.cluster.peers.values())
        leader.node.read(self.count)

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
            cluster[name].node.leader_lost(cluster[name].state.leader)

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
    assert all(peer.state.applied == index for peer in cluster.peers.values())
    assert all(peer.applied == cluster[leader].applied for peer in cluster.peers.values())
    assert all(peer.disk.entries == cluster[leader].disk.entries for peer in cluster.peers.values())


def test_the_same_seed_gives_the_same_trace():
    first, second = Upheaval(3), Upheaval(3)
    first.run(500)
    second.run(500)
    assert first.trace == second.trace


class Upheaval(Chaos):
    """A schedule in which the cluster changes as well: K1 to K3 at first, K4 and K5 wait."""

    def __init__(self, seed: int, make: Callable[..., Cluster] = Cluster) -> None:
        """`make` makes the cluster, with the arguments of `Cluster`."""
        dice = random.Random(-seed - 1)
        settings = replace(
            SETTINGS,
            leases=dice.random() < 0.3,
            message_bytes=dice.choice((200, 1 << 20)),
            tail_bytes=dice.choice((0, 1000, 1 << 20)),
        )
        super().__init__(seed, make(3, spare=NAMES[3:], settings=settings))
        self.cluster.auto_snapshots = False
        self.changing = dice.choice((0.02, 0.1))
        self.cutting = dice.choice((0.0, 0.02, 0.1))
        self.handing = dice.choice((0.0, 0.05))
        self.births = 0
        self.newborn: dict[str, str] = {}
        self.happened: set[str] = set()

    def step(self) -> None:
        super().step()
        dice, cluster = self.dice, self.cluster
        up = [p for p in cluster.peers.values() if p.up]
        if not up:
            return
        peer = dice.choice(up)
        if dice.random() < self.cutting:
            self.cut_log(peer)
        if dice.random() < self.handing:
            peer.node.drain(dice.random() < 0.2)
        leads = [p for p in up if p.state.role == "leader"]
        if not leads:
            return
        leader = dice.choice(leads)
        if dice.random() < self.changing:
            self.change(leader)
        if dice.random() < self.handing:
            self.hand_over(leader)
        self.copy(leader)
        while leader.fetches:
            leader.answer_fetch()

    def cut_log(self, peer: Peer) -> None:
        if len(peer.applied) != peer.state.applied:
            return  # a copy was installed, and is not loaded yet
        base = peer.checkpoint().index
        if peer.state.log.base.index < base:
            peer.compact(self.dice.randint(peer.state.log.base.index, base))
            self.happened.add("compacted")

    def copy(self, leader: Peer) -> None:
        wanted = [n for n in leader.wanted if self.cluster[n].up]
        if not wanted or self.dice.random() < 0.5:
            return
        name = self.dice.choice(wanted)
        if (leader.name, name) in self.cluster.cut or self.dice.random() < 0.3:
            leader.wanted.remove(name)
            leader.node.snapshot_ended(name)
        elif leader.copy_to(name):
            self.happened.add("installed")

    def hand_over(self, leader: Peer) -> None:
        try:
            leader.node.transfer(self.dice.choice(NAMES))
            self.happened.add("transferred")
        except TransferRefused:
            pass

    def change(self, leader: Peer) -> None:
        """Propose some change; many are refused, and so they should be."""
        self.newborn.clear()
        try:
            leader.reconfigure(self.draw_target(leader))
        except (ChangeRefused, NotLeading):
            return
        self.happened.add("changed")
        for name, incarnation in self.newborn.items():
            self.begin_anew(name, incarnation)

    def draw_target(self, leader: Peer) -> Configuration:
        dice, now = self.dice, leader.state.configuration
        gone = [m.id for m in now.members if self.cluster[m.id].incarnation != m.incarnation]
        if gone or dice.random() < 0.1:
            return self.swapped(now, gone[0] if gone else dice.choice(now.members).id)
        steps: list[Callable[[Configuration], Configuration]] = [
            lambda c: self.admitted(c, dice.choice(NAMES)),
            lambda c: self.admitted(c, dice.choice(NAMES)),
            lambda c: changes.promoted(c, dice.choice(NAMES)),
            lambda c: changes.promoted(c, dice.choice(NAMES)),
            lambda c: changes.demoted(c, dice.choice(NAMES)),
            lambda c: changes.removed(c, dice.choice(NAMES)),
        ]
        target = now
        for _ in range(dice.choice((1, 1, 2, 3))):  # several changes may be one step
            target = dice.choice(steps)(target)
        if any(now.member(name) or not target.member(name) for name in self.newborn):
            raise ChangeRefused("nobody leaves and returns, or comes and leaves, in one step")
        return target

    def admitted(self, now: Configuration, name: str) -> Configuration:
        """With a node that is not a member: its directory is empty, and it never was a member."""
        member = self.born(name)
        return changes.added(now, member, joining=False)

    def swapped(self, now: Configuration, name: str) -> Configuration:
        """A member whose disk is gone returns with an empty one, where the others can do without it."""
        lost = self.cluster[name].incarnation != (now.member(name) or self.born(name)).incarnation
        if not lost and not self.spared(now, name):
            raise ChangeRefused("too dangerous")
        self.happened.add("replaced")
        return changes.replaced(now, name, self.born(name))

    def spared(self, now: Configuration, name: str) -> bool:
        """Whether nothing is lost with the disk of `name`, and no other change is anywhere under way."""
        rest = [p for n, p in self.cluster.peers.items() if n != name and now.member(n) is not None]
        committed = max(p.state.commit for p in self.cluster.peers.values())
        others = [p for p in rest if p.name in now.voters]
        return (
            len(others) >= 2
            and all(p.up and p.state.configuration == now for p in rest)
            and all(p.state.log.durability.durable >= committed for p in others)
        )

    def born(self, name: str) -> Member:
        self.births += 1
        self.newborn[name] = f"{self.births:032x}"
        return Member(name, self.newborn[name], f"{name}:1")

    def begin_anew(self, name: str, incarnation: str) -> None:
        self.cluster.drop(lambda a, b, m: name in (a, b))
        self.cluster[name].wipe(incarnation)
        for peer in self.cluster.peers.values():
            if name in peer.wanted:
                peer.wanted.remove(name)
                peer.node.snapshot_ended(name)

    def heal(self) -> None:
        for peer in self.cluster.peers.values():
            peer.node.drain(False)
        self.cluster.auto_snapshots = self.cluster.auto_fetch = True
        super().heal()


@pytest.mark.parametrize("seed", range(60))
def test_whatever_becomes_of_the_cluster_nothing_breaks_and_its_members_agree(seed):
    chaos = Upheaval(seed)
    chaos.run(4000)
    chaos.heal()
    cluster = chaos.cluster
    (leader,) = cluster.leaders()
    index, _ = cluster[leader].propose(b"last")
    cluster.tick(10)
    configuration = cluster[leader].state.configuration
    members = [cluster[m.id] for m in configuration.members]
    members = [p for p in members if p.state.is_current_incarnation(p.name, p.incarnation)]
    assert not configuration.joint
    assert 2 * len({p.name for p in members}.intersection(configuration.voters)) > len(configuration.voters)
    assert all(peer.state.applied == index for peer in members)
    assert all(peer.applied == cluster[leader].applied for peer in members)


def test_the_schedules_reach_what_they_are_for():
    happened = set()
    for seed in range(12):
        chaos = Upheaval(seed)
        chaos.run(2000)
        happened |= chaos.happened
    assert happened == {"changed", "compacted", "installed", "replaced", "transferred"}
