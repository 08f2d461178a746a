"""The leader: appends proposals, replicates them, commits by counting, proves its leadership to readers.

The object lives exactly as long as one leadership: nothing of an earlier term can leak into a later one.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kraft.raft.errors import LogFull, invariant
from kraft.raft.log import entry_bytes
from kraft.raft.messages import Append, AppendReply, Entry, EntryKind, Heartbeat, HeartbeatReply
from kraft.raft.progress import Progress
from kraft.raft.quorum import Majority
from kraft.raft.reads import ReadQueue
from kraft.raft.ready import Fetch, ReadState
from kraft.raft.role import Role

if TYPE_CHECKING:
    from kraft.raft.core import Core


class Leader(Role):
    """`progress` has every other member, voter or learner, in sorted order.

    `noop_index` is where this term begins in the log; entries at and above it may be committed by counting.
    """

    __slots__ = (
        "_beat",
        "_core",
        "_majority",
        "_owing",
        "_reads",
        "_round",
        "_shared",
        "clocks",
        "noop_index",
        "progress",
    )

    name = "leader"

    def __init__(self, core: "Core") -> None:
        configuration = core.log.configuration
        self._core = core
        self._majority = Majority(configuration.voters)
        self.progress = {
            peer: Progress(
                peer,
                core.log.last_index + 1,
                core.ticks,
                max_messages=core.settings.inflight_messages,
                max_bytes=core.settings.inflight_bytes,
            )
            for peer in sorted(configuration.voters + configuration.learners)
            if peer != core.id
        }
        self.clocks: dict[str, int] = {}
        self.noop_index = core.log.last_index + 1
        self._beat = 0
        self._round = 0
        self._reads = ReadQueue()
        self._owing = False
        self._shared: tuple[Append, int] | None = None

    # Proposals

    def start(self) -> None:
        """Append the no-op that lets entries of earlier terms commit, and readers begin (RP 8, RD 6.4).

        It takes the stamp of the entry before it: time moves by the host's stamps alone.
        """
        self._append(EntryKind.NOOP, self._core.log.last_stamp, b"")

    def propose(self, kind: EntryKind, stamp: int, data: bytes) -> tuple[int, int]:
        """Append an entry: its (index, term). Raises `LogFull`."""
        core = self._core
        invariant(kind is not EntryKind.CONFIGURATION, "the configuration is not changed by a proposal")
        invariant(stamp >= core.log.last_stamp, "stamps never go back along the log")
        bound = core.settings.uncommitted_bytes
        uncommitted = core.log.bytes_behind(core.commit)
        if uncommitted and uncommitted + len(data) > bound:
            raise LogFull(bound)
        self._append(kind, stamp, data)
        return core.log.last_index, core.term

    def _append(self, kind: EntryKind, stamp: int, data: bytes) -> None:
        core = self._core
        core.log.append(Entry(core.log.last_index + 1, core.term, stamp, kind, data))
        core.replicating = True

    # Replication

    def replicate(self) -> None:
        """Send each follower what it lacks, as far as its window allows."""
        for progress in self.progress.values():
            self._replicate_to(progress)

    def _replicate_to(self, progress: Progress) -> None:
        core = self._core
        log = core.log
        while progress.next <= log.last_index and progress.may_send:
            if progress.next < log.tail_first:
                progress.fetching = True
                core.fetch.append(
                    Fetch(progress.peer, progress.next, log.tail_first - 1, core.settings.message_bytes)
                )
                return
            self._send_append(progress, *self._append_from(progress.next))

    def _append_from(self, first: int) -> tuple[Append, int]:
        """The message that starts at `first`, and its bytes; followers in step share one."""
        core = self._core
        shared = self._shared
        if shared is not None:
            message = shared[0]
            if (
                message.prev_index == first - 1
                and message.commit == core.commit
                and message.entries[-1].index == core.log.last_index
            ):
                return shared
        entries, size = core.log.entries_within(first, core.settings.message_bytes)
        message = Append(core.term, first - 1, core.log.term(first - 1), core.commit, entries)
        self._shared = (message, size)
        return self._shared

    def _send_append(self, progress: Progress, message: Append, size: int) -> None:
        last = message.entries[-1].index
        progress.sent(last, size, self._core.ticks)
        progress.told = max(progress.told, min(message.commit, last))
        self._core.send(progress.peer, message)

    def fetched(self, peer: str, entries: Sequence[Entry]) -> None:
        """Older entries for `peer` were read from disk."""
        core = self._core
        progress = self.progress.get(peer)
        if progress is None:
            return
        progress.fetching = False
        core.replicating = True
        # Since they were asked for, the follower may have moved, or (in an earlier term) the log changed.
        if not entries or entries[0].index != progress.next or not progress.may_send:
            return
        if core.log.matches(entries[-1].index, entries[-1].term):
            previous = progress.next - 1
            message = Append(core.term, previous, core.log.term(previous), core.commit, tuple(entries))
            self._send_append(progress, message, sum(map(entry_bytes, entries)))

    def append_reply(self, sender: str, message: AppendReply) -> None:
        """Move the follower's progress; perhaps something is committed by it."""
        core = self._core
        progress = self.progress.get(sender)
        if progress is None:
            return
        progress.contact = core.ticks
        core.replicating = True  # the window may have opened
        if message.rejected:
            hint = core.log.last_at_most(message.hint_index, message.hint_term)
            progress.rejected(message.index, hint, core.ticks)
            return
        invariant(message.index <= core.log.last_index, "a follower holds no more than its leader sent")
        if progress.accepted(message.index, core.ticks):
            self._count()

    def unreachable(self, peer: str) -> None:
        """The link to `peer` is down."""
        if peer in self.progress:
            self.progress[peer].disconnected()

    def persisted(self) -> None:
        """Count this node's own log, as far as the disk has it now."""
        self._count()

    def _count(self) -> None:
        """Commit what a majority, perhaps with this node, holds durably, if it is of this term (RP 5.4.2)."""
        core = self._core
        matches = {peer: progress.match for peer, progress in self.progress.items()}
        matches[core.id] = core.log.durability.durable
        index = self._majority.attained(matches)
        if index > core.commit and index >= self.noop_index:
            reads_wait = core.commit < self.noop_index
            core.commit_to(index)
            if reads_wait:
                self._confirm()
        if self._owing:
            self._pay()

    # Heartbeats and reads

    def tick(self) -> None:
        """Step down when no quorum answers any more (RD 6.2); else send the heartbeats that are due."""
        core = self._core
        contacts = {peer: progress.contact for peer, progress in self.progress.items()}
        contacts[core.id] = core.ticks
        if core.ticks - self._majority.attained(contacts) >= core.settings.election_ticks:
            core.become_follower(core.term, "")
            return
        self._beat += 1
        if self._beat >= core.settings.heartbeat_ticks:
            self._beat = 0
            for progress in self.progress.values():
                self._send_heartbeat(progress)

    def _send_heartbeat(self, progress: Progress) -> None:
        core = self._core
        commit = min(progress.match, core.commit)
        progress.told = max(progress.told, commit)
        core.send(progress.peer, Heartbeat(core.term, commit, self._round))

    def heartbeat_reply(self, sender: str, message: HeartbeatReply) -> None:
        """Confirm read rounds; resend to a follower whose answers stay away though it is there."""
        core = self._core
        progress = self.progress.get(sender)
        if progress is None:
            return
        progress.contact = core.ticks
        self.clocks[sender] = message.wall_ms
        if message.round > progress.round:
            progress.round = message.round
            self._confirm()
        if progress.stuck(core.ticks, core.settings.heartbeat_ticks):
            progress.probe()
            core.replicating = True

    def read(self, ctx: int, floor: int) -> None:
        """Begin a read of at least index `floor`.

        The no-op's index is a floor too: only below it may there be entries that an earlier leader committed
        and this one does not yet know to be so.
        """
        core = self._core
        invariant(floor <= core.log.last_index, "a read cannot wait for an entry that is not there")
        self._round += 1
        index = max(core.commit, self.noop_index, floor)
        self._reads.add(self._round, ReadState(ctx, index))
        for voter in self._majority.voters:
            if voter != core.id:
                progress = self.progress[voter]
                self._send_heartbeat(progress)
                if progress.told < index:
                    progress.owed = index
                    self._owing = True
        self._confirm()

    def _confirm(self) -> None:
        """Release the reads whose round a quorum has answered, once this term has committed an entry."""
        core = self._core
        if not self._reads or core.commit < self.noop_index:
            return
        rounds = {peer: progress.round for peer, progress in self.progress.items()}
        rounds[core.id] = self._round
        core.reads += self._reads.release(self._majority.attained(rounds))

    def _pay(self) -> None:
        """Tell followers the commit index they were owed.

        A read round's heartbeat can only carry what its receiver was known to hold; a reader on a follower
        that was a moment behind would otherwise wait for the next periodic one.
        """
        commit = self._core.commit
        self._owing = False
        for progress in self.progress.values():
            if progress.told < progress.owed:
                if progress.owed <= min(progress.match, commit):
                    self._send_heartbeat(progress)
                else:
                    self._owing = True

    def left(self) -> None:
        """No read that still waits will be proven."""
        self._core.reads_failed += self._reads.fail()
