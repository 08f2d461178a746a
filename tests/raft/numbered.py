"""Replicas with numbers, around the real consensus: a node leaves a group, and comes back to it.

This is a model of what docs/design/placement.md plans for hosts that hold a part of the groups. A node that
left a group destroys its replica. It may be added to the group again, with an empty log, while messages of
its earlier replica are still under way. Each replica therefore has a number: the term and index of the entry
that added it to the group, which no other replica of the group can have. It is a part of the incarnation of a
member, and every message says from which replica to which one it goes: the rules are those of production
(`kraft.host.replica_numbers`).

`Mistake` lists what a host could do wrong; the schedules have to find each.
"""

from contextlib import AbstractContextManager, nullcontext
from enum import Enum
from functools import partial
from typing import Any, cast
from unittest.mock import patch

import kraft.raft.leader
from kraft.host.replica_numbers import ReplicaNumbers, begins
from kraft.peerwire.messages import Numbered
from kraft.raft.errors import ChangeRefused, NotLeading
from kraft.raft.membership import changes
from kraft.raft.membership.configuration import Configuration, Member
from kraft.raft.membership.replica_number import UNNUMBERED, ReplicaNumber, number_of, numbered
from kraft.raft.ready import Outgoing
from tests.raft.network import Cluster, Peer
from tests.raft.test_raft_random import NAMES, Upheaval


class Mistake(Enum):
    """What a host does wrong."""

    NONE = "nothing"
    UNCHECKED = "messages are taken whatever replica they are from or for"
    REUSED = "a replica gets the number that the node had before"
    FORGOTTEN = "a node forgets the number of a replica that it destroyed"
    EARLY = "a replica is destroyed before the configuration without it is committed"


class NumberedCluster(Cluster):
    """K1 to K3 have replicas at first. The nodes in `bare` have none."""

    def __init__(self, *args: Any, mistake: Mistake, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.mistake = mistake
        self.bare = set(NAMES[3:])
        self._numbers: dict[str, ReplicaNumbers] = {}
        self.destroyed = 0

    def number(self, name: str) -> ReplicaNumber:
        """The number of the replica of a node, or of the last one that it had."""
        return number_of(self[name].incarnation)

    def numbers(self, name: str) -> ReplicaNumbers:
        """What the process of a node knows of the numbers of replicas: nothing at first, after a start."""
        state = self[name].state
        known = self._numbers.get(name)
        if known is None or known.state is not state:
            known = self._numbers[name] = ReplicaNumbers(state, self.number(name))
        known.reconfigured(state.configuration)
        return known

    def post(self, sender: str, outgoing: Outgoing) -> None:
        """Send it to the replica that asked, or to the one that the sender takes for a member."""
        if (sender, outgoing.to) not in self.cut and sender not in self.bare:
            framed: Any = self.numbers(sender).framed(outgoing.to, outgoing.message)
            self.wires.append((sender, outgoing.to, framed))

    def deliver(self, sender: str, to: str, framed: Any) -> None:
        peer = self[to]
        message = framed if isinstance(framed, Numbered) else Numbered(framed, UNNUMBERED, UNNUMBERED)
        if peer.up and self._admits(sender, to, message):
            peer.node.step(sender, cast(Any, message.message))
            self.checker.step(peer.node)

    def _admits(self, sender: str, to: str, message: Numbered) -> bool:
        """Whether the node takes a message. One for a newer replica makes it begin that one.

        The one that it may still have is no member by then: the entry that adds a replica is logged after
        the one that removes the earlier replica is committed.
        """
        again = self.mistake is Mistake.REUSED and to in self.bare and not message.message.is_reply
        if again or begins(message, self.number(to)):
            self.begin(to, message.receiver)
        if to in self.bare:
            return False
        if self.mistake is Mistake.UNCHECKED:
            return True
        return self.numbers(to).takes(sender, message.message, message.receiver, message.sender)

    def begin(self, name: str, number: ReplicaNumber) -> None:
        """Begin an empty replica with this number. Messages of earlier ones stay under way."""
        under_way = self.wires.copy()
        self[name].wipe(numbered(name.lower() * 16, number))
        self.wires = under_way
        self.bare.discard(name)
        self._forget(name)

    def destroy(self, name: str) -> None:
        """Destroy the replica of a node, which remembers its number."""
        self.begin(name, UNNUMBERED if self.mistake is Mistake.FORGOTTEN else self.number(name))
        self.bare.add(name)
        self.destroyed += 1

    def _forget(self, name: str) -> None:
        for peer in self.peers.values():
            if name in peer.wanted:
                peer.wanted.remove(name)
                peer.node.snapshot_ended(name)

    def is_meant(self, leader: Peer, name: str) -> bool:
        """Whether the replica that a node has now is the one that `leader` has as a member."""
        member = leader.state.configuration.member(name)
        return member is not None and name not in self.bare and member.number == self.number(name)

    def is_gone(self, name: str, leader: Peer) -> bool:
        """Whether `leader` knows that the replica of a node has left for good."""
        state = leader.state
        committed = state.configuration_index <= state.commit or self.mistake is Mistake.EARLY
        known = {m.id: m.number for m in state.configuration.everyone}
        gone = name not in known or known[name] > self.number(name)
        return committed and gone and name not in self.bare


class Reshuffle(Upheaval):
    """A schedule in which replicas come and go. `returned` counts additions of nodes that had one before.

    Logs are cut, copies of the state machine take their place, and leadership is handed on, as before.
    """

    cluster: NumberedCluster

    def __init__(self, seed: int, mistake: Mistake = Mistake.NONE) -> None:
        super().__init__(seed, partial(NumberedCluster, mistake=mistake))
        self.twice = self.dice.choice((0.3, 0.6))  # old messages arrive again, and late
        self.disorder = self.dice.choice((0.3, 0.8))
        self.changing = self.dice.choice((0.2, 0.6))
        self.cutting = self.dice.choice((0.0, 0.0, 0.02))
        self.handing = self.dice.choice((0.0, 0.0, 0.0, 0.05))
        self.loss = self.dice.choice((0.0, 0.05))
        self.returned = 0

    def step(self) -> None:
        super().step()
        dice, cluster = self.dice, self.cluster
        leads = [p for p in cluster.peers.values() if p.up and p.state.role == "leader"]
        name = dice.choice(NAMES)
        if leads and dice.random() < 0.3 and cluster[name].up and cluster.is_gone(name, dice.choice(leads)):
            cluster.destroy(name)
        if len(cluster.wires) > 400:  # as a link closes
            for _ in range(200):
                del cluster.wires[dice.randrange(len(cluster.wires))]

    def copy(self, leader: Peer) -> None:
        """A copy goes to the replica that the leader means, or to none."""
        for name in tuple(leader.wanted):
            if not self.cluster.is_meant(leader, name):
                leader.wanted.remove(name)
                leader.node.snapshot_ended(name)
        super().copy(leader)

    def change(self, leader: Peer) -> None:
        """Propose a change; many are refused."""
        dice, now = self.dice, leader.state.configuration
        name = dice.choice(NAMES)
        kind = dice.choice(("add", "add", "promote", "promote", "remove"))
        try:
            with self.mistaken(name):
                leader.reconfigure(self.target(kind, now, name))
        except (ChangeRefused, NotLeading):
            return
        if kind == "add" and self.cluster.number(name) != UNNUMBERED:
            self.returned += 1

    def mistaken(self, name: str) -> AbstractContextManager[object]:
        """Inside, a leader repeats the number that the last replica of a node had, if that is the mistake."""
        before = self.cluster.number(name)
        if self.cluster.mistake is not Mistake.REUSED or before == UNNUMBERED:
            return nullcontext()
        return patch.object(kraft.raft.leader, "ReplicaNumber", lambda term, index: before)

    def target(self, kind: str, now: Configuration, name: str) -> Configuration:
        if kind == "promote":
            return changes.promoted(now, name)
        if kind == "remove":
            return changes.replica_removed(now, name)
        return changes.replica_added(now, Member(name, name.lower() * 16, f"{name}:1"))
