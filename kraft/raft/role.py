"""What a role may do with what arrives in its own term; the term rules have been applied before."""

from kraft.raft.messages import Append, AppendReply, Heartbeat, HeartbeatReply, PreVoteReply, VoteReply


class Role:
    """Answers that belong to a role this node does not have any more, or not yet, are ignored."""

    __slots__ = ()

    name = ""

    def tick(self) -> None:
        """One tick passed."""

    def persisted(self) -> None:
        """More of this node's state is durable."""

    def replicate(self) -> None:
        """Send followers what they lack."""

    def left(self) -> None:
        """The node takes another role."""

    def append(self, sender: str, message: Append) -> None:
        """The leader of this term sends entries."""

    def heartbeat(self, sender: str, message: Heartbeat) -> None:
        """The leader of this term is there."""

    def append_reply(self, sender: str, message: AppendReply) -> None:
        """A follower answers an `Append`."""

    def heartbeat_reply(self, sender: str, message: HeartbeatReply) -> None:
        """A follower answers a `Heartbeat`."""

    def vote_reply(self, sender: str, message: VoteReply) -> None:
        """A voter answers a `Vote`."""

    def prevote_reply(self, sender: str, message: PreVoteReply) -> None:
        """A voter answers a `PreVote`; of any term."""

    def timeout_now(self, sender: str) -> None:
        """The leader of this term hands over."""
