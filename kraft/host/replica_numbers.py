"""Which replica of a group a message is for, and from which one it comes.

A node that left a group and came back to it has another replica of it, and messages of the earlier one may
still be under way. So messages between replicas of which one has a number carry the numbers of both
(`Numbered`): that of the receiver as the sender's configuration has it, or in a reply that of the replica
that asked. A replica takes messages for itself only, and answers only from the replica that is a member.

Beats carry no numbers. They name the place, a term and index, at which a group is quiet. A replica that was
added and is quiet holds the entry that adds it, and so stands at a later place than any that was told to, or
agreed to by, the one before.
"""

from kraft.peerwire.messages import Message, Numbered, ReplicaMessage
from kraft.raft.membership.configuration import Configuration
from kraft.raft.membership.replica_number import UNNUMBERED, ReplicaNumber, any_replica, node_of
from kraft.raft.state import ReplicaState


def begins(message: Numbered, known: ReplicaNumber) -> bool:
    """Whether a node that has, or had, the replica `known` of a group begins another one, for this message.

    The one that it may still have is no member any more: a leader logs the entry that adds a replica only
    after the change before it is committed, and that one was without the node.
    """
    return message.receiver > known and not message.message.is_reply


class ReplicaNumbers:
    """Those of one group. `own` is the number of the replica here, which has the `state`.

    `in_use`: this replica, a member, or one that asked has a number. Otherwise messages need none. A leader
    that has asked may be no member here, where the log lacks the entry that adds it. `is_member`: this
    replica is in the configuration in force.
    """

    def __init__(self, state: ReplicaState, own: ReplicaNumber) -> None:
        self.own = own
        self.in_use = own != UNNUMBERED
        self.is_member = False
        self.state = state
        self._configuration: Configuration | None = None  # that `_members` are of
        self._members: dict[str, ReplicaNumber] = {}  # by node, also of those that have left
        self._asked: dict[str, ReplicaNumber] = {}  # of the last message from each node

    def reconfigured(self, configuration: Configuration) -> None:
        """Another configuration is in force."""
        self._configuration = configuration
        mine = configuration.member(self.state.id)
        self.is_member = mine is not None and mine.incarnation == self.state.incarnation
        self._members |= {member.id: member.number for member in configuration.everyone}
        if not self.in_use:
            self.in_use = any(number != UNNUMBERED for number in self._members.values())

    @property
    def has_left(self) -> bool:
        """Whether a committed configuration is without this replica, while its node stays in the cluster.

        A replica whose log does not reach to the entry that adds it has not left.
        """
        if self.is_member:  # most often
            return False
        state = self.state
        configuration = state.configuration
        if state.leads or state.configuration_index > state.commit or not configuration.members:
            return False
        return self._is_gone(configuration, node_of(state.incarnation), self.own)

    @property
    def is_blank(self) -> bool:
        """Whether this replica has no number, and has neither taken nor promised anything."""
        state = self.state
        return self.own == UNNUMBERED and not (state.term or state.log.last_index)

    def is_lost(self, timeouts: int) -> bool:
        """Whether no leader was heard for so many election timeouts."""
        state = self.state
        return not state.leads and state.ticks - state.heard > timeouts * state.settings.election_ticks

    def is_dismissed(self, id_: str, node: str, number: ReplicaNumber) -> bool:
        """On the leader: whether a committed configuration is without the replica `number` of a node."""
        state = self.state
        configuration = state.configuration
        member = configuration.member(id_)
        if not state.leads_with_commit or state.configuration_index > state.commit:
            return False
        if member is not None and member.number <= number:
            return False
        return number.term <= state.term and self._is_gone(configuration, node, number)

    def _is_gone(self, configuration: Configuration, node: str, number: ReplicaNumber) -> bool:
        """Whether the replica, which the committed `configuration` is without, can be no member later on.

        So it is if what is committed reaches to the entry that adds it, or excludes that by a later term. The
        term of the replica says nothing: it is that of the leader, whose log may be on its way.
        """
        if node in configuration.retired:
            return False  # the whole node was removed
        if number == UNNUMBERED:
            return any_replica(node) in configuration.retired
        state = self.state
        return state.commit >= number.index or state.term_at(state.commit) > number.term

    def framed(self, to: str, message: Message) -> Message:
        """`message` as it leaves for the node `to`."""
        if not isinstance(message, ReplicaMessage):
            return message
        asked = self._asked.get(to, UNNUMBERED)
        receiver = asked if message.is_reply else self._members.get(to, asked)
        if receiver == self.own == UNNUMBERED:
            return message
        return Numbered(message, receiver, self.own)

    def takes(
        self,
        sender: str,
        message: Message,
        receiver: ReplicaNumber = UNNUMBERED,
        number: ReplicaNumber = UNNUMBERED,
    ) -> bool:
        """Whether to take `message`, which the replica `number` of the node `sender` sent to `receiver`."""
        if not isinstance(message, ReplicaMessage):
            return True
        if self.state.configuration is not self._configuration:  # appended in this turn
            self.reconfigured(self.state.configuration)
        if receiver != self.own:
            return False
        if message.is_reply and self._members.get(sender, number) != number:
            return False
        self._asked[sender] = number
        if number != UNNUMBERED:
            self.in_use = True
        return True
