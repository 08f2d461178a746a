"""The effects of inputs, gathered until the host takes them as one `Ready`.

Effects are not carried out at once: one `Ready` serves all inputs since the last one, so that many of them
share a write. There are two queues for messages, and a role chooses between them by the promise in its
message:

* `send_now` is for a message that promises nothing about this node's disk: a leader's entries, a heartbeat,
  the answer to a prevote or to a message of an earlier term. It leaves at once, while the disk writes.
* `send_after_persist` is for a message that does: a vote, an accepted append, a candidate's request (which
  promises its vote for itself). It is held until the write that begins with this `Ready`, and every earlier
  one, is durable. When there is nothing to write and nothing is being written, it leaves at once.
"""

from collections.abc import Collection

from kraft.raft.membership.configuration import Base
from kraft.raft.messages import Entry, Message
from kraft.raft.ready import Fetch, Outgoing, Persist, ReadState, Ready


class Effects:
    """The effects of one replica. Fields have the names of those of `Ready` and `Persist` that they become.

    `outgoing_now` becomes `Ready.send_now`, `outgoing_after_persist` becomes `Ready.send_after_persist`.
    `state_file` is the number of a new state file that no `Persist` has named yet. `wants_replication` asks
    the leader to look for something to send before the next `Ready`.
    """

    __slots__ = (
        "fetch",
        "outgoing_after_persist",
        "outgoing_now",
        "reads",
        "reads_failed",
        "restored",
        "snapshots",
        "state_file",
        "wants_replication",
    )

    def __init__(self) -> None:
        self.outgoing_now: list[Outgoing] = []
        self.outgoing_after_persist: list[Outgoing] = []
        self.reads: list[ReadState] = []
        self.reads_failed: list[int] = []
        self.fetch: list[Fetch] = []
        self.snapshots: list[str] = []
        self.restored: Base | None = None
        self.state_file: int | None = None
        self.wants_replication = False

    def send_now(self, to: str, message: Message) -> None:
        """Send at once: the message promises nothing that is not on disk."""
        self.outgoing_now.append(Outgoing(to, message))

    def send_after_persist(self, to: str, message: Message) -> None:
        """Send when everything this node knows now is on disk."""
        self.outgoing_after_persist.append(Outgoing(to, message))

    def withdraw(self, peers: Collection[str]) -> None:
        """Send nothing of what waits for `peers`: other nodes have their ids by now."""
        for outgoing in (self.outgoing_now, self.outgoing_after_persist):
            outgoing[:] = [each for each in outgoing if each.to not in peers]

    @property
    def pending(self) -> bool:
        """Whether there are effects other than writes and entries to apply."""
        return bool(
            self.outgoing_now
            or self.outgoing_after_persist
            or self.wants_replication
            or self.reads
            or self.reads_failed
            or self.fetch
            or self.snapshots
            or self.restored is not None
            or self.state_file is not None
        )

    def take(self, persist: Persist | None, apply: tuple[Entry, ...]) -> Ready | None:
        """Everything since the last call, with the write and the entries to apply; None for nothing."""
        after_persist: tuple[Outgoing, ...] = ()
        if self.outgoing_after_persist:
            after_persist = tuple(self.outgoing_after_persist)
            self.outgoing_after_persist.clear()
            if persist is None:  # all that the messages rely on is on disk already
                self.outgoing_now += after_persist
                after_persist = ()
        results = self.reads or self.reads_failed or self.fetch or self.snapshots or self.restored
        if not (self.outgoing_now or persist or apply or results):
            return None
        now = tuple(self.outgoing_now)
        self.outgoing_now.clear()
        if not results:  # most often
            return Ready(now, persist, after_persist, apply)
        ready = Ready(
            now,
            persist,
            after_persist,
            apply,
            tuple(self.reads),
            tuple(self.reads_failed),
            tuple(self.fetch),
            tuple(self.snapshots),
            self.restored,
        )
        self.reads.clear()
        self.reads_failed.clear()
        self.fetch.clear()
        self.snapshots.clear()
        self.restored = None
        return ready
