"""The leader: appends proposals, replicates them, commits by counting, proves its leadership to readers.

The object lives exactly as long as one leadership: nothing of an earlier term can leak into a later one.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kraft.raft.errors import ChangeRefused, LogFull, NotLeading, TransferRefused, invariant
from kraft.raft.log.log import entry_bytes
from kraft.raft.membership import joint
from kraft.raft.membership.configuration import Configuration
from kraft.raft.messages import Append, AppendReply, Entry, EntryKind, Heartbeat, HeartbeatReply, TimeoutNow
from kraft.raft.progress import Progress, State
from kraft.raft.reads import ReadQueue
from kraft.raft.ready import Fetch, ReadState
from kraft.raft.role import Role
from kraft.raft.tracker import Tracker
from kraft.raft.transfer import Transfer, best_voter

if TYPE_CHECKING:
    from kraft.raft.core import Core


NEVER = 1 << 63  # an index that no log reaches


class Leader(Role):
    """`progress` has every other member, voter or learner, and removed ones for a while, in sorted order.

    `noop_index` is where this term begins in the log; entries at and above it may be committed by counting.
    When `_turning` is committed the configuration in force asks for something: to leave a joint one, or to
    step down from one that has no vote for this node.
    """

    __slots__ = (
        "_beat",
        "_core",
        "_followers",
        "_owing",
        "_reads",
        "_round",
        "_shared",
        "_transfer",
        "_turning",
        "clocks",
        "noop_index",
        "progress",
    )

    name = "leader"

    def __init__(self, core: "Core") -> None:
        self._core = core
        self.clocks: dict[str, int] = {}
        self.noop_index = core.log.last_index + 1
        self._beat = 0
        self._round = 0
        self._reads = ReadQueue()
        self._owing = False
        self._shared: tuple[Append, int] | None = None
        self._transfer: Transfer | None = None
        self._turning = NEVER
        self._followers = Tracker(core)
        # Whom an uncommitted configuration removes may not know it.
        self._follow_configuration(core.log.configurations.at(core.commit)[1], self.noop_index)

    # Proposals

    def start(self) -> None:
        """Append the no-op that lets entries of earlier terms commit, and readers begin (RP 8, RD 6.4).

        It takes the stamp of the entry before it: time moves by the host's stamps alone.
        """
        self._append(EntryKind.NOOP, self._core.log.last_stamp, b"")

    def propose(self, kind: EntryKind, stamp: int, data: bytes) -> tuple[int, int]:
        """Append an entry: its (index, term). Raises `LogFull`, or `NotLeading` while handing over."""
        core = self._core
        if self._transfer is not None:
            raise NotLeading(self._transfer.to)
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

    # Configurations

    def reconfigure(self, target: Configuration) -> tuple[int, int]:
        """See `Raft.reconfigure`."""
        core = self._core
        current = core.log.configuration
        reached = {peer: progress.match for peer, progress in self.progress.items()}
        reason = self._unsettled() or joint.refusal(current, target, core.id, reached)
        if reason:
            raise ChangeRefused(reason)
        self._change(joint.towards(current, target))
        return core.log.last_index, core.term

    def _unsettled(self) -> str:
        """Why no change may begin now; '' for no reason."""
        core = self._core
        if core.commit < self.noop_index:
            return "this leader has not committed an entry of its term yet; try again in a moment"
        if core.log.configuration.joint or core.log.configuration_index > core.commit:
            return "another change is not complete yet; try again in a moment"
        if self._transfer is not None:
            return f"leadership is being transferred to {self._transfer.to}"
        return ""

    def _change(self, configuration: Configuration) -> None:
        """Put `configuration` in force: the entry counts from now on, committed or not (RD 4.1)."""
        core = self._core
        before = core.log.configuration
        self._append(EntryKind.CONFIGURATION, core.log.last_stamp, configuration.encode())
        core.reconfigured()
        self._follow_configuration(before, core.log.last_index)

    def _follow_configuration(self, before: Configuration, first: int) -> None:
        core = self._core
        configuration = core.log.configuration
        self._followers.follow(configuration, changed_from=before, first=first)
        self.progress = self._followers.progress
        self.clocks = {peer: clock for peer, clock in self.clocks.items() if peer in self.progress}
        turns = configuration.joint or not core.elector
        self._turning = max(core.log.configuration_index, self.noop_index) if turns else NEVER

    def _turn(self) -> None:
        """Leave the joint configuration, which is committed, or step down where there is no vote left."""
        target = self._core.log.configuration.target
        self._turning = NEVER
        if target is not None:
            self._change(target)
        else:
            self._resign()

    def _resign(self) -> None:
        """The configuration without this node is committed (RD 4.2.2): hand over what it can, and follow.

        Earlier would be too early: the others might not be able to commit the change without this node.
        """
        core = self._core
        for progress in self.progress.values():
            self._send_heartbeat(progress)
        best = best_voter(core, self.progress)
        if best:
            core.send(best, TimeoutNow(core.term))
        core.become_follower(core.term, "")

    # Leadership transfer

    @property
    def transferring(self) -> str:
        """To whom leadership is going; '' for nobody."""
        return self._transfer.to if self._transfer is not None else ""

    def transfer(self, to: str) -> None:
        """See `Raft.transfer`."""
        core = self._core
        configuration = core.log.configuration
        remaining = configuration.target or configuration
        if to == core.id:
            raise TransferRefused(f"{to} leads already")
        if to not in core.electors or to not in remaining.voters:
            raise TransferRefused(f"{to} is not a voter")
        if self._transfer is not None:
            if self._transfer.to == to:
                return
            raise TransferRefused(f"leadership is being transferred to {self._transfer.to}")
        self._transfer = Transfer(core, self.progress[to])
        self._transfer.advance()
        core.replicating = True

    def _end_transfer(self, outcome: str) -> None:
        if self._transfer is not None:
            self._transfer = None
            self._core.observer.election_ended(self._core.group, "transfer", outcome)

    # Replication

    def replicate(self) -> None:
        """Send each follower what it lacks, as far as its window allows."""
        for progress in self.progress.values():
            self._replicate_to(progress)

    def _replicate_to(self, progress: Progress) -> None:
        core = self._core
        log = core.log
        while progress.next <= log.last_index and progress.may_send:
            if progress.next < log.first_index:
                self._needs_snapshot(progress)
                return
            if progress.next < log.tail_first:
                progress.fetching = True
                core.fetch.append(
                    Fetch(progress.peer, progress.next, log.tail_first - 1, core.settings.message_bytes)
                )
                return
            self._send_append(progress, *self._append_from(progress.next))

    def _needs_snapshot(self, progress: Progress) -> None:
        progress.snapshot()
        if not self._followers.departing(progress.peer):  # who leaves needs no data any more
            self._core.snapshots.append(progress.peer)

    def snapshot_ended(self, peer: str) -> None:
        """The copy for `peer` was made, or failed."""
        if peer in self.progress:
            # Where there is no entry to probe with, it lacks the last one, and is named again at once.
            log = self._core.log
            self.progress[peer].snapshot_ended(min(log.first_index, log.last_index))
            self._core.replicating = True

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
        fetching, progress.fetching = progress.fetching, False
        core.replicating = True
        if not entries:
            if fetching and progress.may_send:  # cut off before they could be read
                self._needs_snapshot(progress)
            return
        # Since they were asked for, the follower may have moved, the log been cut, or (in an earlier term)
        # changed.
        if entries[0].index != progress.next or not progress.may_send or progress.next < core.log.first_index:
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
        if progress.state is State.SNAPSHOT and message.index < core.log.base.index:
            return  # an old answer: there is still nothing to go on from
        if progress.accepted(message.index, core.ticks):
            self._count()
        if self._transfer is not None:
            self._transfer.advance()

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
        matches[core.id] = core.log.durability.durable if core.elector else 0
        index = core.quorum.attained(matches)
        if index > core.commit and index >= self.noop_index:
            reads_wait = core.commit < self.noop_index
            core.commit_to(index)
            if reads_wait:
                self._confirm()
        if self._owing:
            self._pay()
        if core.commit >= self._turning:
            self._turn()

    # Heartbeats and reads

    def tick(self) -> None:
        """Step down when no quorum answers any more (RD 6.2); else send the heartbeats that are due."""
        core = self._core
        contacts = {peer: progress.contact for peer, progress in self.progress.items()}
        contacts[core.id] = core.ticks
        if core.ticks - core.quorum.attained(contacts) >= core.settings.election_ticks:
            self._end_transfer("lost")
            core.become_follower(core.term, "")
            return
        if self._transfer is not None and self._transfer.late:
            self._end_transfer("timeout")
        self._beat += 1
        if self._beat >= core.settings.heartbeat_ticks:
            self._beat = 0
            self._send_heartbeats()

    def _send_heartbeats(self) -> None:
        self._followers.release(self._new_round)
        for progress in self.progress.values():
            self._send_heartbeat(progress)
        if self._transfer is not None:
            self._transfer.repeat()

    def _send_heartbeat(self, progress: Progress) -> None:
        core = self._core
        commit = min(progress.match, core.commit)
        progress.told = max(progress.told, commit)
        core.send(progress.peer, Heartbeat(core.term, commit, self._round, core.commit))

    def heartbeat_reply(self, sender: str, message: HeartbeatReply) -> None:
        """Confirm read rounds; resend to a follower whose answers stay away though it is there."""
        core = self._core
        progress = self.progress.get(sender)
        if progress is None:
            return
        progress.contact = core.ticks
        progress.declines = message.declines
        self.clocks[sender] = message.wall_ms
        if message.round > progress.round:
            progress.round = message.round
            self._confirm()
        if progress.stuck(core.ticks, core.settings.heartbeat_ticks):
            progress.probe()
            core.replicating = True
        progress.complete(core.log.last_index)

    def read(self, ctx: int, floor: int) -> None:
        """Begin a read of at least index `floor`.

        The no-op's index is a floor too: only below it may there be entries that an earlier leader committed
        and this one does not yet know to be so.
        """
        core = self._core
        invariant(floor <= core.log.last_index, "a read cannot wait for an entry that is not there")
        self._new_round()
        index = max(core.commit, self.noop_index, floor)
        self._reads.add(self._round, ReadState(ctx, index))
        for voter in core.electors:
            if voter != core.id:
                progress = self.progress[voter]
                self._send_heartbeat(progress)
                if progress.told < index:
                    progress.owed = index
                    self._owing = True
        self._confirm()

    def _new_round(self) -> int:
        """A token that no message carried before."""
        self._round += 1
        return self._round

    def _confirm(self) -> None:
        """Release the reads whose round a quorum has answered, once this term has committed an entry."""
        core = self._core
        if not self._reads or core.commit < self.noop_index:
            return
        rounds = {peer: progress.round for peer, progress in self.progress.items()}
        rounds[core.id] = self._round
        core.reads += self._reads.release(core.quorum.attained(rounds))

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
        """No read that still waits will be proven. Who leaves while handing over has done so."""
        self._core.reads_failed += self._reads.fail()
        self._end_transfer("lost" if self._core.suspended else "won")
