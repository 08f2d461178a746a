"""Leaders send an entry again only when something says that it was lost."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kraft.peerwire.messages import Message, SnapshotOffer
from kraft.raft.messages import Append, AppendReply
from tests.simulation.violation import demand

if TYPE_CHECKING:
    from tests.simulation.process import Process


class Resending:
    """Demands of leaders that they send an entry again only when something says that it was lost.

    That is the end of the link, a full queue, a refusal by the follower, or a snapshot in place of entries.
    Time says nothing: a link may be slow. The few entries that a probe may carry are left out, and those that
    waited for the host's turn while the follower refused what is before them: the leader has forgotten them.
    """

    def __init__(self) -> None:
        self._sent: dict[tuple[int, int, str, int], int] = {}  # the last index, by process, group, peer, term

    def excused(self, process: "Process", peer: str) -> None:
        """What was sent to `peer` may be lost."""
        for key in [k for k in self._sent if (k[0], k[2]) == (id(process), peer)]:
            del self._sent[key]

    def sent(self, process: "Process", peer: str, group: int, message: Append | SnapshotOffer) -> None:
        """Entries leave, or a snapshot is offered."""
        if isinstance(message, SnapshotOffer):
            self.excused(process, peer)
        elif message.entries:
            key = (id(process), group, peer, message.term)
            first, last = message.entries[0].index, message.entries[-1].index
            again = f"{process.id} sends entry {first} to {peer} again, and nothing says that it was lost"
            demand(first > self._sent.get(key, 0), again)
            replica = process.host.groups.get(group)  # it may have left meanwhile
            followers = () if replica is None else replica.raft.progress()
            if any(f.peer == peer and f.state == "replicate" and f.next > last for f in followers):
                self._sent[key] = last

    def received(self, process: "Process", peer: str, messages: Sequence[tuple[int, Message]]) -> None:
        """Messages arrive."""
        for _, message in messages:
            if type(message) is AppendReply and message.rejected:
                self.excused(process, peer)
