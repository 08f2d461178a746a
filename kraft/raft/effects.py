"""The effects of inputs, gathered until the host takes them as one `Ready`.

Effects are not carried out at once: one `Ready` serves all inputs since the last one, so that many of them
share a write. There are two queues for messages, and a role chooses between them by the promise in its
message:

* `send` is for a message that promises nothing about this node's disk: a leader's entries, a heartbeat, the
  answer to a prevote or to a message of an earlier term. It leaves at once, while the disk writes.
* `send_durable` is for a message that does: a vote, an accepted append, a candidate's request (which promises
  its vote for itself). It is held until the write that begins with this `Ready`, and every earlier one, is
  durable. When there is nothing to write and nothing is being written, it leaves at once.
"""

from kraft.raft.membership.configuration import Base
from kraft.raft.messages import Entry, Message
from kraft.raft.ready import Fetch, Outgoing, Persist, ReadState, Ready


class Effects:
    """The effects of one replica; the fields that are not messages are those of `Ready` and `Persist`.

    `state_file` is the number of a new state file that no `Persist` has named yet. `replicating` asks the
    leader to look for something to send before the next `Ready`.
    """

    __slots__ = (
        "fetches",
        "held",
        "now",
        "reads",
        "reads_failed",
        "replicating",
        "restored",
        "snapshots",
        "state_file",
    )

    def __init__(self) -> None:
        self.now: list[Outgoing] = []
        self.held: list[Outgoing] = []
        self.reads: list[ReadState] = []
        self.reads_failed: list[int] = []
        self.fetches: list[Fetch] = []
        self.snapshots: list[str] = []
        self.restored: Base | None = None
        self.state_file: int | None = None
        self.replicating = False

    def send(self, to: str, message: Message) -> None:
        """Send at once: the message promises nothing that is not on disk."""
        self.now.append(Outgoing(to, message))

    def send_durable(self, to: str, message: Message) -> None:
        """Send when everything this node knows now is on disk."""
        self.held.append(Outgoing(to, message))

    @property
    def pending(self) -> bool:
        """Whether there are effects other than writes and entries to apply."""
        messages = self.now or self.held or self.replicating
        results = self.reads or self.reads_failed or self.fetches or self.snapshots
        return bool(messages or results) or self.restored is not None or self.state_file is not None

    def take(self, persist: Persist | None, apply: tuple[Entry, ...]) -> Ready | None:
        """Everything since the last call, with the write and the entries to apply; None for nothing."""
        held: tuple[Outgoing, ...] = ()
        if self.held:
            held = tuple(self.held)
            self.held.clear()
            if persist is None:  # all that the messages rely on is on disk already
                self.now += held
                held = ()
        results = self.reads or self.reads_failed or self.fetches or self.snapshots or self.restored
        if not (self.now or persist or apply or results):
            return None
        now = tuple(self.now)
        self.now.clear()
        if not results:  # most often
            return Ready(now, persist, held, apply)
        ready = Ready(
            now,
            persist,
            held,
            apply,
            tuple(self.reads),
            tuple(self.reads_failed),
            tuple(self.fetches),
            tuple(self.snapshots),
            self.restored,
        )
        self.reads.clear()
        self.reads_failed.clear()
        self.fetches.clear()
        self.snapshots.clear()
        self.restored = None
        return ready
