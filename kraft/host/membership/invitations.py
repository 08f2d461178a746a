"""What a leader does so that every member finds the group: it invites and it dials.

A new member waits in standby without a cluster; the invitation tells it which one is its own. It is repeated,
as any message may be lost, until the member shows that it has a log. Members without a link to the leader are
dialled by it now and then, whoever of the two dials by habit: a new one may not know its peers yet.
"""

from collections.abc import Callable

from kraft.host.membership.formation import Formation
from kraft.host.ports import Network
from kraft.peerwire.hello import Hello
from kraft.peerwire.messages import Invitation
from kraft.raft.membership.configuration import Configuration, Member

INVITE_SECONDS = 1.0
DIAL_SECONDS = 3.0

Greeting = Callable[[str], Hello | None]  # of the link that is open now to that node


class Invitations:
    """Those of one group's leader; `groups` is how many groups the cluster has."""

    def __init__(
        self, group: int, formation: Formation, network: Network, greeting: Greeting, groups: int
    ) -> None:
        self._group = group
        self._formation = formation
        self._network = network
        self._greeting = greeting
        self._groups = groups
        self._invited_at: dict[str, float] = {}
        self._dialled_at: dict[str, float] = {}

    def rest(self) -> None:
        """This node does not lead."""
        self._invited_at.clear()
        self._dialled_at.clear()

    def tick(self, now: float, committed: Configuration, matches: dict[str, int]) -> None:
        """`matches` has the log index known to be durable at each member."""
        members = [m for m in committed.everyone if m.id != self._formation.identity.id]
        for gone in self._dialled_at.keys() - {m.id for m in members}:
            del self._dialled_at[gone]
            self._invited_at.pop(gone, None)
        for member in members:
            hello = self._greeting(member.id)
            if hello is None:
                self._dial(member, now)
                continue
            self._dialled_at[member.id] = now
            if not matches.get(member.id) and self._waits(member, hello):
                self._invite(member, now)

    def _dial(self, member: Member, now: float) -> None:
        """The links that are there by habit get their time first."""
        if now - self._dialled_at.setdefault(member.id, now) >= DIAL_SECONDS:
            self._dialled_at[member.id] = now
            self._network.introduce(member.id, member.peer)

    def _waits(self, member: Member, hello: Hello) -> bool:
        """A founder that was late finds the cluster by its greeting, and its log begins at the beginning."""
        if hello.cluster or hello.incarnation != member.incarnation:
            return False
        founders = {(m.id, m.incarnation) for m in self._formation.identity.members}
        return hello.standby or (member.id, member.incarnation) not in founders

    def _invite(self, member: Member, now: float) -> None:
        last = self._invited_at.get(member.id)
        if last is not None and now - last < INVITE_SECONDS:
            return
        self._invited_at[member.id] = now
        identity = self._formation.identity
        invitation = Invitation(identity.cluster, identity.members, self._groups)
        self._network.send(member.id, [(self._group, invitation)])
