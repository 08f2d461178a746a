"""Nodes that leave a group and come back to it, under drawn faults, on real hosts, codecs and storage.

Messages are lost, repeated, late by minutes and out of order; nodes crash, are paused and cut off. The checks
of the simulator look at every step. At the end every node has a replica that votes, with the same data.
"""

from random import Random

import pytest

from kraft.kv.commands import Put
from kraft.raft.errors import ChangeRefused, NotLeading
from kraft.raft.membership import changes
from kraft.raft.membership.configuration import Member
from tests.host.returning import GROUP, Returning
from tests.simulation.network import Weather

ACTS = ("put",) * 3 + ("remove", "add") * 2 + ("promote", "demote", "crash", "cut", "hand over")
STEPS = 120


class Tour(Returning):
    """One schedule. `returned` counts the replicas that began anew."""

    def __init__(self, seed):
        self.dice = Random(seed)
        disks, nodes = self.dice.choice(("plain", "plain", "real", "mixed")), self.dice.choice((3, 4, 5))
        super().__init__(nodes=nodes, disks=disks)
        self.network.weather = Weather(
            loss=self.dice.choice((0.0, 0.05)), repeat=0.3, ancient=0.1, delay=(0.0002, 0.02), heavy_tail=0.02
        )
        self.written = 0

    @property
    def returned(self):
        return self.world.counts["replica_begun"]

    def wander(self):
        for _ in range(STEPS):
            act, id_ = self.dice.choice(ACTS), self.dice.choice(list(self.nodes)[: len(self.members())])
            getattr(self, act.replace(" ", "_") + "_some")(id_)
            self.run(self.dice.expovariate(2.0))

    def put_some(self, id_):
        process = self.nodes[id_].process
        if process is not None and process.ready:
            self.written += 1
            process.clock.touched()
            process.host.write(GROUP, [_put(self.written)], 20, self.answers.append)

    def try_to(self, make):
        leader = self.group_leader()
        if leader is None:
            return
        self.wake(leader)
        raft = self.replica(leader).raft
        try:
            raft.reconfigure(make(raft.state.configuration))
        except (ChangeRefused, NotLeading):
            return
        self.host(leader)._turns.wake(GROUP)

    def remove_some(self, id_):
        self.try_to(lambda now: changes.replica_removed(now, id_))

    def add_some(self, id_):
        node = self.nodes[id_]
        member = Member(id_, node.durable.identity.incarnation, node.config.peer.advertise)
        self.try_to(lambda now: changes.replica_added(now, member))

    def promote_some(self, id_):
        self.try_to(lambda now: changes.promoted(now, id_))

    def demote_some(self, id_):
        self.try_to(lambda now: changes.demoted(now, id_))

    def crash_some(self, id_):
        node = self.nodes[id_]
        if node.process is not None:
            node.crash()
            self.world.call_later(self.dice.uniform(0.1, 5.0), lambda: self.start_again(node))

    def start_again(self, node):
        if node.process is None:
            node.start()

    def cut_some(self, id_):
        others = [other for other in self.nodes if other != id_]
        paths = [(id_, other) for other in others] + [(other, id_) for other in others]
        self.network.block(paths)
        self.world.call_later(self.dice.uniform(0.5, 8.0), lambda: self.network.unblock(paths))

    def hand_over_some(self, id_):
        leader = self.group_leader()
        if leader not in (None, id_) and id_ in self.replica(leader).raft.state.configuration.voters:
            self.wake(leader)
            self.replica(leader).transfer_leadership(id_)
            self.host(leader)._turns.wake(GROUP)

    def all_back(self):
        """Bring every node back as a voter. Whether they have the same data."""
        ids = self.members()
        if len([p for p in self.processes() if p.ready]) < len(ids) or self.group_leader() is None:
            return False
        configuration = self.replica(self.group_leader()).raft.state.configuration
        for id_ in ids:
            if configuration.member(id_) is None:
                self.add_some(id_)
            elif id_ not in configuration.voters:
                self.promote_some(id_)
        return configuration.voters == tuple(sorted(ids)) and all(map(self.replica, ids)) and self.same(*ids)


def _put(number):
    return Put(b"key %d" % (number % 50), b"%d" % number)


def judge(seed):
    tour = Tour(seed)
    tour.wander()
    tour.network.weather = Weather()
    tour.network.heal()
    back = False
    for _ in range(300):
        tour.run(0.5)
        if back := tour.all_back():
            break
    assert back
    ids = tour.members()
    assert len({tuple(tour.keys(id_)) for id_ in ids}) == 1
    tour.checks.equal_logs()
    return tour


@pytest.mark.parametrize("seed", range(3))
def test_a_replica_that_comes_back_is_never_taken_for_its_earlier_self(seed):
    assert judge(seed).returned > 0
