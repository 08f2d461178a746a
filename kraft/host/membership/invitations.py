"""Helps every member to find the group: its leader invites new members and dials those without a link.

A new member waits in standby, without a cluster; the invitation says which cluster has added it. It is
repeated, because any message may be lost, until the member shows that it has a log. The leader dials members
without a link now and then, even those that dial the leader by rule: a new one may not know its peers yet.
"""

from kraft.host.membership.peers import Peers
from kraft.peerwire.hello import Hello
from kraft.peerwire.messages import Invitation
from kraft.raft.membership.configuration import Configuration, Member
from kraft.raft.raft import Raft

INVITE_SECONDS = 1.0  # between two invitations of one member
DIAL_SECONDS = 3.0  # between two calls to one member


class Invitations:
    """Those that the leader of one group sends."""

    def __init__(self, group: int, peers: Peers) -> None:
        self._group = group
        self._peers = peers
        self._invited_at: dict[str, float] = {}
        self._dialled_at: dict[str, float] = {}

    def clear(self) -> None:
        """This node does not lead: forget when members were invited and dialled."""
        self._invited_at.clear()
        self._dialled_at.clear()

    def tick(self, now: float, committed: Configuration, raft: Raft) -> None:
        """Invite and dial the members of the `committed` configuration that need it.

        None does that is known to have something of the log of `raft`.
        """
        own, dialled = self._peers.formation.identity.id, self._dialled_at
        members = [member for member in committed.everyone if member.id != own]
        if len(dialled) > len(members):
            for gone in dialled.keys() - {member.id for member in members}:
                del dialled[gone]
                self._invited_at.pop(gone, None)
        for member in members:
            hello = self._peers.hello_of(member.id)
            if hello is None:
                self._dial(member, now)
                continue
            dialled[member.id] = now
            if self._needs_invitation(member, hello):
                matches = {follower.peer: follower.match for follower in raft.progress()}
                if not matches.get(member.id):
                    self._invite(member, now)

    def _dial(self, member: Member, now: float) -> None:
        """Dial `member`, but first leave time for the link that is dialled by rule."""
        if now - self._dialled_at.setdefault(member.id, now) >= DIAL_SECONDS:
            self._dialled_at[member.id] = now
            self._peers.network.introduce(member.id, member.peer)

    def _needs_invitation(self, member: Member, hello: Hello) -> bool:
        """Whether `member` waits for an invitation.

        A founder that was late does not: it finds the cluster by a greeting, and its log begins at index 1.
        """
        if hello.cluster or hello.incarnation != member.incarnation:
            return False
        founders = {(m.id, m.incarnation) for m in self._peers.formation.identity.members}
        return hello.standby or (member.id, member.incarnation) not in founders

    def _invite(self, member: Member, now: float) -> None:
        last = self._invited_at.get(member.id)
        if last is not None and now - last < INVITE_SECONDS:
            return
        self._invited_at[member.id] = now
        identity = self._peers.formation.identity
        first_only = self._peers.moves_replicas  # each group that adds it begins its replica there
        invitation = Invitation(identity.cluster, identity.members, identity.groups, first_only)
        self._peers.network.send(member.id, [(self._group, invitation)])
