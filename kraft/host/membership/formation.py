"""How a node with an empty directory gets into a cluster, and which nodes a member talks to.

A node forms a cluster only while it has links to all members of its configuration file, and so knows their
incarnations. A node whose directory was emptied therefore never forms a second cluster beside members that
remember it. In standby a node forms none: it waits for the invitation of a cluster that has made it a member.

The members in force decide which nodes a formed node talks to. Its own list of them may be outdated, so a
node that proves to belong to the same cluster is believed, unless its incarnation is known to be removed.

This module is pure: greetings go in, decisions come out.
"""

import hashlib
from dataclasses import dataclass, field, replace

from kraft.host.membership.machine_version import MachineVersion
from kraft.node.values import Identity
from kraft.peerwire.hello import Hello
from kraft.peerwire.messages import Invitation
from kraft.raft.membership.configuration import MEMBERS_MAX, NOBODY, Configuration, Member

_REMOVED = "was removed from the cluster"
_ADD = "KRAFT ADD"
REJECTED_MAX = 2 * MEMBERS_MAX  # others than members come and go


@dataclass(slots=True)
class Formation:
    """The identity of this node, and what it has learned of the others.

    * `wanted` are the member ids of the configuration file, the node's own included, and `wanted_groups` is
      the number of groups in that file. It counts only while the node forms a cluster.
    * `current` is the configuration in force as far as known here. The host sets it whenever it changes;
      until then the founders of the identity count.
    * `seen` has the members met before the cluster is formed, by id.
    * `introduced` are the nodes that are being added: their greetings are heard whatever they say.
      `objections` has the reason against the last greeting of each of them, '' for none.
    * `refusals` has why others refuse this node, by their id. They have proved themselves. What nodes without
      a cluster say against one that has one is no news.
    * `rejected` has why this node refuses others, by their id, as of their last greeting.
    * `way_in` is the command that lets this node in, as far as a member has shown; '' if none has.
    * `way_in_needs` is what has to be done before that command can succeed; '' if nothing is known.
    * `lost_data` are the members that came with another directory, or with an old copy of theirs.
    """

    identity: Identity
    address: str
    wanted: frozenset[str]
    standby: bool = False
    version: MachineVersion = field(default_factory=MachineVersion)
    wanted_groups: int = 1
    current: Configuration = NOBODY
    seen: dict[str, Member] = field(default_factory=dict)
    introduced: set[str] = field(default_factory=set)
    objections: dict[str, str] = field(default_factory=dict)
    refusals: dict[str, str] = field(default_factory=dict)
    rejected: dict[str, str] = field(default_factory=dict)
    way_in: str = ""
    way_in_needs: str = ""
    lost_data: set[str] = field(default_factory=set)
    _lives: dict[str, tuple[str, int, int]] = field(default_factory=dict)  # see `_turned_back`
    _copied: set[str] = field(default_factory=set)  # incarnations of which there are two directories

    def __post_init__(self) -> None:
        self.seen[self.identity.id] = Member(self.identity.id, self.identity.incarnation, self.address)

    @property
    def formed(self) -> bool:
        """Whether this node belongs to a cluster."""
        return bool(self.identity.cluster)

    @property
    def groups(self) -> int:
        """The number of groups with which the cluster was formed, or with which this node would form one."""
        return self.identity.groups if self.formed else self.wanted_groups

    @property
    def unused_groups(self) -> str:
        """Why the number of groups in the file has no effect; '' if it agrees with that of the cluster."""
        mine = self.identity
        is_founder = any(member.incarnation == mine.incarnation for member in mine.members)
        needs_none = self.wanted_groups == 1 and not is_founder  # it was added
        if not self.formed or self.wanted_groups in (mine.groups, mine.total) or needs_none:
            return ""
        return f"cluster.groups counts only when a cluster forms: this one has {_groups(mine.total)}"

    @property
    def missing(self) -> list[str]:
        """The ids of the members that were not met yet, sorted."""
        return [] if self.standby else sorted(self.wanted - self.seen.keys())

    @property
    def members(self) -> tuple[Member, ...]:
        """The members of the cluster as far as known here; before there is a cluster, those met so far."""
        return self.current.everyone or self.identity.members or tuple(sorted(self.seen.values()))

    @property
    def removed(self) -> str:
        """Why this node is no member of its cluster any more, and what to do; '' while it is one."""
        mine = self.identity
        if mine.incarnation not in self.current.retired:
            return ""
        return f"{mine.id} {_REMOVED}: {_way_back(mine.id, self.address)}"

    @property
    def removed_unseen(self) -> str:
        """The same for a node that was cut off when it was removed: members that refuse it say so."""
        removed = f"{self.identity.id} {_REMOVED}"
        return next((why for _, why in sorted(self.refusals.items()) if why.startswith(removed)), "")

    # -- greetings ------------------------------------------------------------------------------------

    def objection(self, hello: Hello) -> str | None:
        """Why not to talk to the node that greets so, and what to do; None if there is no reason."""
        reason = self._objection(hello)
        if reason is None:
            self.rejected.pop(hello.id, None)
        elif len(self.rejected) < REJECTED_MAX or hello.id in self.rejected:
            self.rejected[hello.id] = reason
        if hello.id in self.introduced:
            self.objections[hello.id] = reason or ""
        (self.lost_data.add if reason and self._has_lost_data(hello) else self.lost_data.discard)(hello.id)
        return reason

    def _has_lost_data(self, hello: Hello) -> bool:
        """Whether a member greets without the data that it had: its vote counts no more.

        A node of another cluster may be there by a mistake in a file, while the member still has its data.
        """
        known = {member.incarnation for member in self.members if member.id == hello.id}
        emptied = not hello.cluster and hello.incarnation not in (*known, *self.current.retired)
        return self.formed and bool(known) and (emptied or self._turned_back(hello))

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
            one_only = _one_group_only(hello, self.groups)
            return self._stranger(hello) or one_only or self.version.objection(hello)
        if self.standby:
            waits = f"{mine.id} is in standby and waits for a cluster that adds it; {hello.id} has none"
            return None if hello.cluster else waits
        if hello.id not in self.wanted:
            return f"{hello.id} is not in cluster.members of {mine.id}"
        return None if hello.cluster else _other_groups(hello, mine.id, self.groups)

    def _stranger(self, hello: Hello) -> str | None:
        """Why this formed node does not talk to a node that does not belong to its cluster, or None."""
        mine = self.identity
        if hello.incarnation in self.current.retired:
            before = hello.cluster not in ("", mine.cluster)
            was = "is of the cluster that this one was recovered from" if before else _REMOVED
            return f"{hello.id} {was}: {_way_back(hello.id, hello.peer)}"
        if hello.cluster and hello.cluster != mine.cluster:
            return self._foreign(hello)
        if hello.cluster or hello.id in self.introduced:
            return None  # of the same cluster: the list of members here may be outdated
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
        """Why not to talk to a node of another cluster.

        A directory changes its cluster in one way only: by `kraft recover`.
        """
        mine = self.identity
        if any((m.id, m.incarnation) == (hello.id, hello.incarnation) for m in self.members):
            return (
                f"{hello.id} was recovered without {mine.id} and is in a cluster of its own now, so one of "
                f"the two has to be given up; to give up {mine.id}, wipe the data directory of {mine.id} and "
                f"{_admission(mine.id, self.address)}"
            )
        reason = (
            f"{hello.id} belongs to cluster {hello.cluster[:12]}, {mine.id} to {mine.cluster[:12]}: "
            "check cluster.members and node.data of both"
        )
        if all(member.id != hello.id for member in self.members):
            return reason
        return (
            f"{reason}; if {hello.id} was wiped and has formed a cluster anew, {mine.id} still has the data "
            f"of the old one: stop {hello.id}, and run kraft recover on {mine.id}"
        )

    def _turned_back(self, hello: Hello) -> bool:
        """Whether the directory is an old copy or runs twice: an earlier greeting was of a later start, or of
        another process with the same number of starts.

        Every start has its own number, so two processes with one number are of two directories. From then on
        only the process that was met first may go on: a later start can be one of the copy.
        """
        incarnation, starts, session = self._lives.get(hello.id, ("", 0, 0))  # of its last greeting
        if incarnation != hello.incarnation or (starts, session) == (hello.starts, hello.session):
            return False
        if hello.starts == starts:
            self._copied.add(incarnation)
        return hello.starts < starts or incarnation in self._copied

    def disowned(self, hello: Hello) -> str | None:
        """Why this node must not go on: a formed cluster does not know its data directory. None: it may.

        The members in force count; a program that speaks peer wire 1 shows only the founders. A node in
        standby may go on, because it waits to be let in.
        """
        if self.formed or not hello.cluster:
            return None
        mine = self.identity
        known = next((m for m in hello.current or hello.members if m.id == mine.id), None)
        if known is not None and known.incarnation == mine.incarnation:
            return None
        if known is None and not hello.current:
            return None
        self.way_in_needs = _missing_leader(hello)
        if known is None:
            self.way_in = f"KRAFT ADD {mine.id} {self.address}"
            reason = (
                f"{mine.id} is not a member of the cluster of {hello.id}: "
                f"{_way_back(mine.id, self.address)}{self.way_in_needs}"
            )
        else:
            self.way_in = f"KRAFT REPLACE {mine.id} {mine.id} {self.address}"
            reason = (
                f"the cluster of {hello.id} knows {mine.id} with another data directory (incarnation "
                f"{known.incarnation[:8]}, here {mine.incarnation[:8]}): restore that directory, or start "
                f"this node with cluster.standby and run {self.way_in} there{self.way_in_needs}"
            )
        return None if self.standby else reason

    def refused(self, hello: Hello, reason: str) -> str | None:
        """The proved peer that greets so refuses this node for `reason`.

        Returns why this node must not go on, None if it may. One that has formed may: perhaps the peer is
        wrong, and another member accepts it.
        """
        if hello.cluster or not self.formed:
            self.refusals[hello.id] = reason
        self.objection(hello)  # an administrator may wait for the reason against a node that is being added
        disowned = self.disowned(hello)
        if self.formed or self.standby or not hello.cluster:
            return None
        return reason + _missing_leader(hello) if _ADD in reason else disowned

    def outdated(self, hello: Hello) -> str | None:
        """Why this node must not go on: its program is too old for its cluster, or for the first it meets."""
        if hello.machine_min <= self.version.supported or self.identity.cluster not in ("", hello.cluster):
            return None
        return self.version.too_low(self.identity.id, hello.machine_min)

    def met(self, hello: Hello) -> Identity | None:
        """Learn from an accepted greeting. Returns the identity with which to adopt its cluster, or None."""
        self._lives[hello.id] = (hello.incarnation, hello.starts, hello.session)
        self.refusals.pop(hello.id, None)
        if self.formed or self.standby:
            return None
        if hello.cluster:
            return self._adopt(hello.cluster, hello.members, max(1, hello.groups))
        self.seen[hello.id] = Member(hello.id, hello.incarnation, hello.peer)
        return None

    def lost(self, peer: str) -> None:
        """The link to `peer` is gone. Before it greets again it may form, or lose its directory."""
        if not self.formed and peer != self.identity.id:
            self.seen.pop(peer, None)

    # -- nodes being added ----------------------------------------------------------------------------

    def introduce(self, id_: str) -> None:
        """An administrator adds the node `id_`: hear its greetings, whatever they say."""
        self.introduced.add(id_)
        self.objections[id_] = ""

    def dismiss(self, id_: str) -> None:
        """The node `id_` is added, or is not added after all."""
        self.introduced.discard(id_)
        self.objections.pop(id_, None)

    # -- new identities -------------------------------------------------------------------------------

    def founding_identity(self) -> Identity | None:
        """The identity to form a cluster with, or None unless there are links to all wanted members."""
        if self.formed or self.standby or not self.wanted <= self.seen.keys():
            return None
        members = tuple(sorted(self.seen[i] for i in self.wanted))
        return self._identity(members, self.groups)

    def invited(self, message: Invitation) -> Identity | None:
        """The identity with which to join the cluster that has made this node a member, with an empty log.

        None when the node belongs to a cluster already, or when the message contradicts itself.
        """
        identity = self._identity(message.founders, message.groups)
        if self.formed or not identity.members or identity.cluster != message.cluster:
            return None
        return identity

    def _adopt(self, cluster: str, founders: tuple[Member, ...], groups: int) -> Identity | None:
        """The identity with which to join a cluster that names this very directory as a founder, or None."""
        mine = {m.id: m for m in founders}.get(self.identity.id)
        if mine is None or mine.incarnation != self.identity.incarnation:
            return None
        identity = self._identity(founders, groups)
        return identity if identity.cluster == cluster else None

    def _identity(self, founders: tuple[Member, ...], groups: int) -> Identity:
        """The identity of this node in the cluster that these founders form."""
        members = tuple(sorted(founders))
        return replace(self.identity, cluster=cluster_id(members, groups), members=members, groups=groups)


def cluster_id(members: tuple[Member, ...], groups: int = 1) -> str:
    """The id of the cluster that `members` form with that many groups, as 32 hex digits.

    Equal members and numbers have equal ids. One group is not mentioned, as before there could be several.
    """
    lines = [f"{m.id} {m.incarnation} {m.peer}" for m in sorted(members)]
    text = "\n".join(lines if groups == 1 else [*lines, f"groups {groups}"])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _other_groups(hello: Hello, own: str, groups: int) -> str | None:
    """Why the node `own` forms no cluster of so many `groups` with the founder that greets so, or None."""
    if not hello.groups or hello.groups == groups:
        return _one_group_only(hello, groups)
    return (
        f"{hello.id} is configured to form a cluster of {_groups(hello.groups)}, {own} one of "
        f"{_groups(groups)}: write the same cluster.groups in the files of all founders"
    )


def _one_group_only(hello: Hello, groups: int) -> str | None:
    """Why a node of an earlier program cannot be in a cluster of so many `groups`, or None."""
    if hello.groups or groups == 1:
        return None
    return (
        f"{hello.id} runs an earlier version of kraft, which knows one group only, and there are {groups} "
        "here: install this version on it"
    )


def _groups(count: int) -> str:
    return "1 group" if count == 1 else f"{count} groups"


def _way_back(id_: str, address: str = "") -> str:
    return f"wipe its data directory and add it again: {_admission(id_, address)}"


def _missing_leader(hello: Hello) -> str:
    """What has to be done before the cluster of the node that greets so can let anyone in."""
    if not hello.leaderless:
        return ""
    return (
        f"; {hello.id} knows no leader now, and the command needs one: start the other members, or, if a "
        f"majority of them has lost its data for good, stop {hello.id} and run kraft recover on it"
    )


def _admission(id_: str, address: str = "") -> str:
    return f"start it with cluster.standby, then run {_ADD} {id_} {address or 'host:port'} on a member"


def _readmission(hello: Hello) -> str:
    """How to take a wiped node back. Without standby it would look for the members of its file."""
    address = hello.peer or "host:port"
    return f"start it with cluster.standby and re-admit it with KRAFT REPLACE {hello.id} {hello.id} {address}"
