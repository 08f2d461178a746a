"""What arrives from other nodes: their greetings, the state of the links to them, and their messages."""

from collections.abc import Mapping, Sequence

from kraft.host.absent.absent_groups import AbsentGroups
from kraft.host.admin.executor import AdminExecutor
from kraft.host.beats import Beats
from kraft.host.context import GroupContext
from kraft.host.fast_election import FastElection
from kraft.host.group.group import Group
from kraft.host.hibernation import Hibernation
from kraft.host.lifecycle import Lifecycle
from kraft.host.replica_numbers import begins
from kraft.host.ticker import Ticker
from kraft.host.turns import TurnOwner
from kraft.peerwire.hello import Hello
from kraft.peerwire.messages import (
    Admin,
    AdminReply,
    Beat,
    Dismissal,
    GroupPlace,
    Invitation,
    MembershipQuestion,
    Message,
    NodeCondition,
    Numbered,
    ReplicaMessage,
)
from kraft.raft.errors import InvariantViolation
from kraft.raft.membership.replica_number import UNNUMBERED


class PeerReceiver:
    """The receiver of the links (`transport.ports.Receiver`). `groups` are those of the node, by id."""

    def __init__(
        self,
        groups: Mapping[int, Group],
        context: GroupContext,
        lifecycle: Lifecycle,
        admin: AdminExecutor,
        fast_election: FastElection,
        beats: Beats,
        hibernation: Hibernation,
        elsewhere: AbsentGroups,
        ticker: Ticker,
        owner: TurnOwner,
    ) -> None:
        self._groups = groups
        self._context = context
        self._peers = context.peers
        self._turns = context.turns
        self._lifecycle = lifecycle
        self._admin = admin
        self._fast_election = fast_election
        self._beats = beats
        self._hibernation = hibernation
        self._elsewhere = elsewhere
        self._ticker = ticker
        self._owner = owner

    def hello(self) -> Hello:
        """The greeting of this node when a link opens."""
        return self._peers.hello()

    def check(self, hello: Hello) -> str | None:
        """The reason to refuse the link of a peer that greets so, or None.

        Ends the process when the greeting shows that this node must not go on.
        """
        return self._lifecycle.check(hello)

    def refused(self, hello: Hello, reason: str) -> None:
        """The proved peer that greets so refuses this node."""
        self._lifecycle.refused(hello, reason)

    def unreachable(self, peer: str, reason: str) -> None:
        """An attempt to dial `peer` led to no link."""
        self._peers.failures[peer] = reason

    def link_up(self, peer: str, hello: Hello) -> None:
        """A link to `peer` is ready for messages."""
        self._ticker.hurry()
        self._hibernation.wake_all()
        self._peers.link_up(peer, hello)
        self._beats.link_up(peer)
        self._elsewhere.link_up(peer, hello)
        for group in self._groups.values():
            group.link_up(peer, hello.incarnation)
        self._lifecycle.greeted(hello)

    def link_down(self, peer: str, closed_by_peer: bool) -> None:
        """The link to `peer` is gone. If the peer's process closed it, the groups that it led elect early."""
        self._ticker.hurry()
        self._hibernation.wake_all()  # while it is known what the link has said
        self._peers.link_down(peer)
        self._beats.link_down(peer)
        self._admin.link_down(peer)
        self._elsewhere.link_down(peer)
        lost = [group for group in self._groups.values() if group.link_down(peer, closed_by_peer)]
        self._fast_election.begin(lost, ranked=len(self._groups) > 1)

    def received(self, peer: str, messages: Sequence[tuple[int, Message]]) -> None:
        """Take checked messages from an authenticated peer.

        They are served at once, because other nodes wait for the answers. Requests of clients, in contrast,
        gain from being gathered until the end of the reactor's iteration.
        """
        if self._ticker.span > 1:
            self._ticker.catch_up()
        turns, groups, asleep = self._turns, self._groups, self._hibernation.asleep
        absent = self._elsewhere.absent
        scheduled, turns.scheduled = turns.scheduled, True  # the turn follows at once: schedule none
        try:
            for id_, message in messages:
                if message.to_node:
                    self._to_node(peer, id_, message)
                elif id_ in absent and id_ in groups and self._elsewhere.answered(peer, id_, message):
                    pass  # a request that was sent before there was a replica here
                elif id_ in groups:
                    if id_ in asleep:
                        self._hibernation.wake((id_,))
                    groups[id_].received(peer, message)
                elif not self._begun(id_, message):
                    self._elsewhere.received(peer, id_, message)
        except InvariantViolation as error:
            self._context.broken(error)
            raise
        finally:  # even when a peer sent nonsense: its link ends, the groups go on
            turns.scheduled = scheduled
            if turns.woken or turns.outbox:
                self._owner.turn()

    def receiving(self, peer: str) -> None:
        """A part of a message arrived from an authenticated peer; heartbeats may wait after the rest."""
        if self._ticker.span > 1:
            self._ticker.catch_up()
        for group in self._hibernation.awake.values():  # the others have just heard all nodes
            group.receiving(peer)

    def _to_node(self, peer: str, group: int, message: Message) -> None:
        """Take a message to the node as a whole."""
        if isinstance(message, Numbered):
            self._numbered(peer, group, message)
        elif isinstance(message, Invitation):
            self._lifecycle.invited(message)
        elif isinstance(message, Admin):
            if self._admin.asked(group, peer, message):
                self._ticker.hurry()
        elif isinstance(message, AdminReply):
            self._admin.answered(peer, message)
        elif isinstance(message, Beat):
            self._hibernation.wake([*(place[0] for place in message.changes), *message.awake])
            self._beats.received_from(peer, message)
        elif isinstance(message, MembershipQuestion):
            self._lifecycle.replicas.asked(group, peer, message)
        elif isinstance(message, Dismissal):
            self._lifecycle.replicas.dismissed(group, message)
        elif isinstance(message, GroupPlace):
            self._elsewhere.told(group, message)
        elif isinstance(message, NodeCondition) and self._peers.conditions.received(peer, message):
            self._hibernation.wake_all()
            self._beats.condition_changed()

    def _begun(self, id_: int, message: Message) -> bool:
        """Whether a message without numbers begins the first replica that this node has of a group."""
        replicas = self._lifecycle.replicas
        if not isinstance(message, ReplicaMessage) or not self._lifecycle.may_begin(id_):
            return False
        if not begins(Numbered(message, UNNUMBERED, UNNUMBERED), replicas.number(id_)):
            return False
        replicas.begin(id_, UNNUMBERED)
        return True

    def _numbered(self, peer: str, id_: int, message: Numbered) -> None:
        """Take a message for one of the replicas that this node has, had or is to have of a group."""
        replicas, group = self._lifecycle.replicas, self._groups.get(id_)
        if begins(message, replicas.number(id_)) and self._lifecycle.may_begin(id_):
            replicas.begin(id_, message.receiver)
            return
        if group is not None and group.numbers.takes(peer, message.message, message.receiver, message.sender):
            self._hibernation.wake((id_,))
            self._turns.numbers[id_] = group.numbers  # the answer says for which replica it is
            group.received(peer, message.message, for_this=True)
