"""From an empty directory to a cluster, or to the one that exists already.

A node forms only while it is linked to every member it is configured with, and so knows their incarnations; a
node whose directory was emptied therefore never forms a second cluster beside members that remember it. In
standby it forms none: it waits until a cluster that made it a member invites it. Pure: greetings in,
decisions out.

Who may talk to a formed node is decided by the members in force. They may be outdated here, so a node that
proves to be of the same cluster is believed, unless its incarnation is known to have been removed.
"""

import hashlib
from dataclasses import dataclass, field, replace

from kraft.host.membership.machine_version import MachineVersion
from kraft.node.values import Identity
from kraft.peerwire.hello import Hello
from kraft.peerwire.messages import Invitation
from kraft.raft.membership.configuration import NOBODY, Configuration, Member

_REMOVED = "was removed from the cluster"


@dataclass(slots=True)
class Formation:
    """The identity of this node and what it has learned of the others.

    `wanted` are the member ids of the configuration file, this node's own included. `current` are the members
    in force as far as known here: the host sets it whenever they change; until then the bootstrap list
    counts. `introduced` are the nodes being added, whose greetings are wanted whatever they say, and
    `objections` what stood against the last greeting of each of them.
    """

    identity: Identity
    address: str
    wanted: frozenset[str]
    standby: bool = False
    version: MachineVersion = field(default_factory=MachineVersion)
    current: Configuration = NOBODY
    seen: dict[str, Member] = field(default_factory=dict)
    introduced: set[str] = field(default_factory=set)
    objections: dict[str, str] = field(default_factory=dict)
    # id -> (incarnation, starts, session) of its last greeting
    _lives: dict[str, tuple[str, int, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.seen[self.identity.id] = Member(self.identity.id, self.identity.incarnation, self.address)

    @property
    def formed(self) -> bool:
        """This node belongs to a cluster."""
        return bool(self.identity.cluster)

    @property
    def missing(self) -> list[str]:
        """Members not met yet, sorted."""
        return [] if self.standby else sorted(self.wanted - self.seen.keys())

    @property
    def members(self) -> tuple[Member, ...]:
        """The members of the cluster as far as known here, or those met so far."""
        return self.current.everyone or self.identity.members or tuple(sorted(self.seen.values()))

    @property
    def removed(self) -> str:
        """That, and why, this node has no part in its cluster any more; '' while it has."""
        mine = self.identity
        if mine.incarnation not in self.current.retired:
            return ""
        return f"{mine.id} {_REMOVED}: {_way_back(mine.id)}"

    # -- greetings ------------------------------------------------------------------------------------

    def objection(self, hello: Hello) -> str | None:
        """Why not to talk to that node, in words that name the next step."""
        reason = self._objection(hello)
        if hello.id in self.introduced:
            self.objections[hello.id] = reason or ""
        return reason

    def _objection(self, hello: Hello) -> str | None:
        mine = self.identity
        if hello.id == mine.id:
            return f"both nodes are called {mine.id}: give each node its own node.id"
        if self._turned_back(hello):
            return (
                f"the data directory of {hello.id} is an old copy, or runs twice: stop it, wipe the data "
                f"directory, and {_readmission(hello)}"
            )
        if self.formed:
            return self._stranger(hello) or self.version.objection(hello)
        if self.standby:
            waits = f"{mine.id} is in standby and waits for a cluster that adds it; {hello.id} has none"
            return None if hello.cluster else waits
        return None if hello.id in self.wanted else f"{hello.id} is not in cluster.members of {mine.id}"

    def _stranger(self, hello: Hello) -> str | None:
        """What a formed node has against another node."""
        mine = self.identity
        if hello.incarnation in self.current.retired:
            before = hello.cluster not in ("", mine.cluster)
            was = "is of the cluster that this one was recovered from" if before else _REMOVED
            return f"{hello.id} {was}: {_way_back(hello.id)}"
        if hello.cluster and hello.cluster != mine.cluster:
            return self._foreign(hello)
        if hello.cluster or hello.id in self.introduced:
            return None  # of the same cluster; our own list of members may be behind
        known = next((m for m in self.members if m.id == hello.id), None)
        if known is None:
            stranger = f"{hello.id} is not a member of the cluster of {mine.id}"
            return None if hello.standby else f"{stranger}: {_admission(hello.id, hello.peer)}"
        if known.incarnation != hello.incarnation:
            return (
                f"{hello.id} has a new or foreign data directory (incarnation {hello.incarnation[:8]}, the "
                f"cluster knows {known.incarnation[:8]}): restore it, or {_readmission(hello)}"
            )
        return None

    def _foreign(self, hello: Hello) -> str:
        """A directory changes its cluster in one way only: by `kraft recover`."""
        mine = self.identity
        if any((m.id, m.incarnation) == (hello.id, hello.incarnation) for m in self.members):
            return (
                f"{hello.id} was recovered without {mine.id} and is in a cluster of its own now, so one of "
                f"the two has to be given up; to give up {mine.id}, wipe the data directory of {mine.id} and "
                f"{_admission(mine.id, self.address)}"
            )
        return (
            f"{hello.id} belongs to cluster {hello.cluster[:12]}, {mine.id} to {mine.cluster[:12]}: "
            "check cluster.members and node.data of both"
        )

    def _turned_back(self, hello: Hello) -> bool:
        """A directory was put back, or copied: it was started more often, or otherwise, than it says."""
        incarnation, starts, session = self._lives.get(hello.id, ("", 0, 0))
        if incarnation != hello.incarnation:
            return False
        return hello.starts < starts or (hello.starts == starts and hello.session != session)

    def disowned(self, hello: Hello) -> str | None:
        """Why this node must not go on: a formed cluster knows its id with another incarnation.

        In standby that is what it waits to be re-admitted for.
        """
        if self.formed or self.standby or not hello.cluster:
            return None
        mine = {m.id: m for m in hello.members}.get(self.identity.id)
        if mine is None or mine.incarnation == self.identity.incarnation:
            return None
        id_ = self.identity.id
        return (
            f"the cluster of {hello.id} knows {id_} with another data directory (incarnation "
            f"{mine.incarnation[:8]}, here {self.identity.incarnation[:8]}): restore that directory, or "
            f"start this node with cluster.standby and run KRAFT REPLACE {id_} {id_} {self.address} there"
        )

    def outdated(self, hello: Hello) -> str | None:
        """Why this node must not go on: its program is too old for its cluster, or the first it meets."""
        if hello.machine_min <= self.version.supported or self.identity.cluster not in ("", hello.cluster):
            return None
        return self.version.too_low(self.identity.id, hello.machine_min)

    def met(self, hello: Hello) -> Identity | None:
        """Learn from an accepted greeting; returns the new identity once there is one to make durable."""
        self._lives[hello.id] = (hello.incarnation, hello.starts, hello.session)
        if self.formed or self.standby:
            return None
        if hello.cluster:
            return self._adopt(hello.cluster, hello.members)
        self.seen[hello.id] = Member(hello.id, hello.incarnation, hello.peer)
        return self.alone()

    def lost(self, peer: str) -> None:
        """The link to `peer` is gone: before it greets again, it may form, or lose its directory."""
        if not self.formed and peer != self.identity.id:
            self.seen.pop(peer, None)

    # -- nodes being added ----------------------------------------------------------------------------

    def introduce(self, id_: str) -> None:
        """An administrator wants the node `id_` to become a member: hear it, whatever it says of itself."""
        self.introduced.add(id_)
        self.objections[id_] = ""

    def dismiss(self, id_: str) -> None:
        """That is over."""
        self.introduced.discard(id_)
        self.objections.pop(id_, None)

    # -- new identities -------------------------------------------------------------------------------

    def alone(self) -> Identity | None:
        """The identity to form with, when every wanted member has been seen."""
        if self.formed or self.standby or not self.wanted <= self.seen.keys():
            return None
        members = tuple(sorted(self.seen[i] for i in self.wanted))
        return replace(self.identity, cluster=cluster_id(members), members=members)

    def invited(self, message: Invitation) -> Identity | None:
        """The identity to go on with, and with an empty log, when a cluster has made this node a member.

        None when it belongs to one already, or when the message contradicts itself.
        """
        founders = tuple(sorted(message.founders))
        if self.formed or not founders or cluster_id(founders) != message.cluster:
            return None
        return replace(self.identity, cluster=message.cluster, members=founders)

    def _adopt(self, cluster: str, founders: tuple[Member, ...]) -> Identity | None:
        """The cluster that lists this very directory among those it was formed from."""
        members = tuple(sorted(founders))
        mine = {m.id: m for m in members}.get(self.identity.id)
        if mine is None or mine.incarnation != self.identity.incarnation:
            return None
        if cluster_id(members) != cluster:
            return None
        return replace(self.identity, cluster=cluster, members=members)


def cluster_id(members: tuple[Member, ...]) -> str:
    """The id of the cluster that these members form: equal for equal members, 32 hex digits."""
    text = "\n".join(f"{m.id} {m.incarnation} {m.peer}" for m in sorted(members))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _way_back(id_: str) -> str:
    return f"wipe its data directory and add it again: {_admission(id_)}"


def _admission(id_: str, address: str = "") -> str:
    return f"start it with cluster.standby, then run KRAFT ADD {id_} {address or 'host:port'} on a member"


def _readmission(hello: Hello) -> str:
    """The command that takes a wiped node back. It needs standby: else it would look for its old members."""
    address = hello.peer or "host:port"
    return f"start it with cluster.standby and re-admit it with KRAFT REPLACE {hello.id} {hello.id} {address}"
