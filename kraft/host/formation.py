"""From an empty directory to a cluster, or to the one that exists already.

A node forms only while it is linked to every member it is configured with, and so knows their incarnations; a
node whose directory was emptied therefore never forms a second cluster beside members that remember it. Pure:
greetings in, decisions out.
"""

import hashlib
from dataclasses import dataclass, field, replace

from kraft.host.ports import Identity
from kraft.peerwire.hello import Hello
from kraft.raft.membership import Member


@dataclass(slots=True)
class Formation:
    """The identity of this node and what it has learned of the others.

    `wanted` are the member ids of the configuration, this node's own included.
    """

    identity: Identity
    address: str
    wanted: frozenset[str]
    seen: dict[str, Member] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.seen[self.identity.id] = Member(self.identity.id, self.identity.incarnation, self.address)

    @property
    def formed(self) -> bool:
        """This node belongs to a cluster."""
        return bool(self.identity.cluster)

    @property
    def missing(self) -> list[str]:
        """Members not met yet, sorted."""
        return sorted(self.wanted - self.seen.keys())

    @property
    def members(self) -> tuple[Member, ...]:
        """The members of the cluster, or those met so far."""
        return self.identity.members or tuple(sorted(self.seen.values()))

    def objection(self, hello: Hello) -> str | None:
        """Why not to talk to that node, in words that name the next step."""
        mine = self.identity
        if hello.id == mine.id:
            return f"both nodes are called {mine.id}: give each node its own node.id"
        if not self.formed:
            return None if hello.id in self.wanted else f"{hello.id} is not in cluster.members of {mine.id}"
        if hello.cluster and hello.cluster != mine.cluster:
            return (
                f"{hello.id} belongs to cluster {hello.cluster[:12]}, {mine.id} to {mine.cluster[:12]}: "
                "check cluster.members and node.data of both"
            )
        known = {m.id: m for m in mine.members}.get(hello.id)
        if known is None:
            return f"{hello.id} is not a member of the cluster of {mine.id}"
        if known.incarnation != hello.incarnation:
            return (
                f"{hello.id} has a new or foreign data directory (incarnation {hello.incarnation[:8]}, the "
                f"cluster knows {known.incarnation[:8]}): restore it, or re-admit the node with KRAFT REPLACE"
            )
        return None

    def disowned(self, hello: Hello) -> str | None:
        """Why this node must not go on: a formed cluster knows its id with another incarnation."""
        if self.identity.cluster or not hello.cluster:
            return None
        mine = {m.id: m for m in hello.members}.get(self.identity.id)
        if mine is None or mine.incarnation == self.identity.incarnation:
            return None
        return (
            f"the cluster of {hello.id} knows {self.identity.id} with another data directory (incarnation "
            f"{mine.incarnation[:8]}, here {self.identity.incarnation[:8]}): restore that directory, or "
            f"re-admit this node with KRAFT REPLACE on a running node"
        )

    def met(self, hello: Hello) -> Identity | None:
        """Learn from an accepted greeting; returns the new identity once there is one to make durable."""
        if self.formed:
            return None
        if hello.cluster:
            return self._adopt(hello)
        self.seen[hello.id] = Member(hello.id, hello.incarnation, hello.peer)
        return self.alone()

    def lost(self, peer: str) -> None:
        """The link to `peer` is gone: before it greets again, it may form, or lose its directory."""
        if not self.formed and peer != self.identity.id:
            self.seen.pop(peer, None)

    def alone(self) -> Identity | None:
        """The identity to form with, when every wanted member has been seen."""
        if self.formed or not self.wanted <= self.seen.keys():
            return None
        members = tuple(sorted(self.seen[i] for i in self.wanted))
        return replace(self.identity, cluster=cluster_id(members), members=members)

    def _adopt(self, hello: Hello) -> Identity | None:
        members = tuple(sorted(hello.members))
        mine = {m.id: m for m in members}.get(self.identity.id)
        if mine is None or mine.incarnation != self.identity.incarnation:
            return None
        if cluster_id(members) != hello.cluster:
            return None
        return replace(self.identity, cluster=hello.cluster, members=members)


def cluster_id(members: tuple[Member, ...]) -> str:
    """The id of the cluster that these members form: equal for equal members, 32 hex digits."""
    text = "\n".join(f"{m.id} {m.incarnation} {m.peer}" for m in sorted(members))
    return hashlib.sha256(text.encode()).hexdigest()[:32]
