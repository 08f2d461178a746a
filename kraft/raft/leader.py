"""The leader: appends proposals, commits them by counting, and changes the configuration.

What followers are sent is in `Replication`, the proof of leadership for readers in `Heartbeats`. The object
lives exactly as long as one leadership: nothing of an earlier term can leak into a later one.
"""

from collections.abc import Collection, Sequence

from kraft.raft.errors import ChangeRefused, InvariantViolation, LogFull, NotLeading, TransferRefused
from kraft.raft.heartbeats import Heartbeats
from kraft.raft.membership import joint
from kraft.raft.membership.configuration import Configuration
from kraft.raft.membership.quorum import Outcome
from kraft.raft.membership.replica_number import ReplicaNumber
from kraft.raft.messages import AppendReply, Entry, EntryKind, HeartbeatReply, TimeoutNow
from kraft.raft.progress import FollowerStatus, ProgressState
from kraft.raft.replication import Replication
from kraft.raft.role import Role
from kraft.raft.role_change import RoleChange
from kraft.raft.state import FOLLOWER, NEVER, ReplicaState
from kraft.raft.tracker import Tracker
from kraft.raft.transfer import LeadershipTransfer, best_successor


class Leader(Role):
    """`_leave_at`: when this index is committed, the configuration in force asks for something.

    It is a joint one, which is to be left for its target, or one that has no vote for this node.
    """

    __slots__ = ("_heartbeats", "_leave_at", "_replication", "_tracker", "_transfer")

    def __init__(self, state: ReplicaState) -> None:
        super().__init__(state)
        self._tracker = Tracker(state)
        self._replication = Replication(state, self._tracker)
        self._heartbeats = Heartbeats(state, self._tracker)
        self._transfer: LeadershipTransfer | None = None
        self._leave_at = NEVER

    def start(self) -> None:
        """Append the no-op that lets entries of earlier terms commit, and readers begin (RP 8, RD 6.4).

        It takes the stamp of the entry before it: time moves by the host's stamps alone.
        """
        state = self._state
        state.noop_index = state.log.last_index + 1
        # A node that an uncommitted configuration removes may not know that: begin with the committed one.
        self._follow_configuration(state.log.configurations.at(state.commit)[1], state.noop_index)
        self._append(EntryKind.NOOP, state.log.last_stamp, b"")

    def left(self) -> None:
        """Fail the reads that wait. Leaving the role during a transfer counts as a successful transfer."""
        self._heartbeats.fail_reads()
        self._end_transfer("lost" if self._state.suspended else "won")
        self._state.noop_index = NEVER

    def tick(self) -> None:
        """Step down when no quorum answers any more (RD 6.2); else send the heartbeats that are due."""
        state = self._state
        contacts = {peer: progress.contact for peer, progress in self._tracker.progress.items()}
        contacts[state.id] = state.ticks
        if state.ticks - state.quorum.attained(contacts) >= state.settings.election_ticks:
            self._end_transfer("lost")
            state.role_change = RoleChange(FOLLOWER)
            return
        if self._transfer is not None and self._transfer.late:
            self._end_transfer("timeout")
        self._follow_links()
        self._tracker.trim_tail()
        if self._heartbeats.tick():
            if not state.quiet:
                self._heartbeats.beat()
            if self._transfer is not None:
                self._transfer.repeat()

    def skip(self, ticks: int) -> None:
        """Count them on the way to the next heartbeats."""
        self._heartbeats.elapsed += ticks

    @property
    def spare_ticks(self) -> int:
        """Up to the next heartbeats."""
        return self._heartbeats.spare_ticks

    def _follow_links(self) -> None:
        """Let windows follow the links, and proposals the links of a majority."""
        state = self._state
        windows = {state.id: state.settings.inflight_bytes}
        for peer, progress in self._tracker.progress.items():
            if peer in state.links:
                progress.narrow(state.links[peer])
            windows[peer] = progress.window
        state.pace = state.quorum.attained(windows)
        state.effects.wants_replication = True  # a window may have opened

    # Proposals and reads

    def propose(self, kind: EntryKind, stamp: int, data: bytes) -> tuple[int, int]:
        """Append an entry: its (index, term). Raises `LogFull`, or `NotLeading` during a transfer."""
        state = self._state
        log = state.log
        if self._transfer is not None:
            raise NotLeading(self._transfer.to)
        if kind is EntryKind.CONFIGURATION:
            raise InvariantViolation("the configuration is not changed by a proposal")
        if stamp < log.last_stamp:
            raise InvariantViolation("stamps never go back along the log")
        bound = state.settings.uncommitted_bytes
        waiting = log.bytes_after(state.applied)  # also what is committed, while the disk here hangs
        if waiting and waiting + len(data) > bound:
            raise LogFull(bound)
        self._append(kind, stamp, data)
        return log.last_index, state.term

    def _append(self, kind: EntryKind, stamp: int, data: bytes) -> None:
        state = self._state
        state.quiet = False
        state.log.append(Entry(state.log.last_index + 1, state.term, stamp, kind, data))
        state.effects.wants_replication = True

    def read(self, ctx: int, floor: int) -> None:
        """Begin a read of at least index `floor`."""
        self._heartbeats.read(ctx, floor)

    # Quiet groups

    def is_settled(self, linked: Collection[str]) -> bool:
        """Whether the `linked` followers lack nothing, and elect with this node; nothing is under way."""
        state, last = self._state, self._state.log.last_index
        changing = self._leave_at != NEVER or self._transfer is not None
        if changing or state.commit < max(last, state.noop_index):
            return False
        members = {member.id for member in state.configuration.everyone}
        if not self._tracker.progress.keys() | {state.id} <= members:
            return False  # a removed member has not heard of its removal yet
        followers = [self._tracker.progress[peer] for peer in linked if peer in self._tracker.progress]
        if not all(p.is_settled(last) for p in followers):
            return False
        return state.quorum.tally({state.id: True, **{p.peer: True for p in followers}}) is Outcome.WON

    def spoken_for(self, peer: str, heard: int) -> None:
        """The answer of `peer` to a beat counts like one to a heartbeat at that tick."""
        progress = self._tracker.progress.get(peer)
        if progress is not None:
            progress.contact = max(progress.contact, heard)

    # Replication and commit

    def replicate(self) -> None:
        """Send each follower what it lacks, as far as its window allows."""
        for progress in self._tracker.progress.values():
            self._replication.send(progress)

    def fetched(self, peer: str, entries: Sequence[Entry]) -> None:
        """Send `peer` the older entries that were read from disk."""
        self._replication.fetched(peer, entries)

    def snapshot_ended(self, peer: str) -> None:
        """Try again whether there are entries for `peer`."""
        self._replication.snapshot_ended(peer)

    def unreachable(self, peer: str) -> None:
        """What was sent to `peer` may be lost: send it nothing but heartbeats until it is heard again."""
        progress = self._tracker.progress.get(peer)
        if progress is not None:
            progress.disconnected()

    def progress(self) -> tuple[FollowerStatus, ...]:
        """The followers in the order of their ids."""
        return tuple(progress.status(self._state.ticks) for progress in self._tracker.progress.values())

    def append_reply(self, sender: str, message: AppendReply) -> None:
        """Move the follower's progress; perhaps something is committed by it."""
        state = self._state
        progress = self._tracker.progress.get(sender)
        if progress is None:
            return
        progress.contact = state.ticks
        if message.rejected:
            state.quiet = False
            hint = state.log.last_at_most(message.hint_index, message.hint_term)
            progress.rejected(message.index, hint, state.ticks)
            state.effects.wants_replication = True
            return
        if message.index > state.log.last_index:
            raise InvariantViolation("a follower holds no more than its leader sent")
        if progress.state is ProgressState.SNAPSHOT and message.index < state.log.base.index:
            return  # an old answer: there is still nothing to go on from
        if progress.accepted(message.index, state.ticks):
            self._count()
        if progress.next <= state.log.last_index or progress.state is not ProgressState.REPLICATE:
            state.effects.wants_replication = True  # the window may have opened
        if self._transfer is not None:
            self._transfer.advance()

    def heartbeat_reply(self, sender: str, message: HeartbeatReply) -> None:
        """Confirm heartbeat rounds; probe a follower that answers heartbeats and no entries."""
        state = self._state
        progress = self._tracker.progress.get(sender)
        if progress is None:
            return
        progress.contact = state.ticks
        progress.declines, progress.slow = message.declines, message.slow
        if message.round > progress.round:
            progress.round = message.round
            self._heartbeats.confirm_reads()
        progress.complete(state.log.last_index)
        if progress.overdue(state.ticks, state.settings.heartbeat_ticks):
            self._replication.probe(progress)

    def persisted(self) -> None:
        """Count this node's own log, as far as the disk has it now."""
        self._count()

    def _count(self) -> None:
        """Commit what a majority, perhaps with this node, holds durably, if it is of this term (RP 5.4.2)."""
        state = self._state
        if state.commit < state.log.last_index:  # else there is nothing left to commit
            matches = {state.id: state.log.durability.durable if state.elector else 0}
            for peer, progress in self._tracker.progress.items():
                matches[peer] = progress.match
            index = state.quorum.attained(matches)
            if index > state.commit and index >= state.noop_index:
                reads_wait = state.commit < state.noop_index
                state.commit_to(index)
                if reads_wait:
                    self._heartbeats.confirm_reads()
        if self._heartbeats.commits_wanted:
            self._heartbeats.send_wanted_commits()
        if state.commit >= self._leave_at:
            self._leave_joint_or_resign()

    # Configurations

    def reconfigure(self, target: Configuration) -> tuple[int, int]:
        """Begin to change the configuration to `target`: (index, term). Raises `ChangeRefused`."""
        state = self._state
        current = state.configuration
        place = ReplicaNumber(state.term, state.log.last_index + 1)
        target = joint.with_numbers(target, place)
        matches = {peer: progress.match for peer, progress in self._tracker.progress.items()}
        reason = self._unsettled() or joint.refusal(current, target, state.id, matches, place)
        if reason:
            raise ChangeRefused(reason)
        self._change(joint.towards(current, target))
        return state.log.last_index, state.term

    def _unsettled(self) -> str:
        """Why no change may begin now; '' for no reason."""
        state = self._state
        if not state.leads_with_commit:
            return "this leader has not committed an entry of its term yet; try again in a moment"
        if state.configuration.joint or state.configuration_index > state.commit:
            return "another change is not complete yet; try again in a moment"
        if self._transfer is not None:
            return f"leadership is being transferred to {self._transfer.to}"
        return ""

    def _change(self, configuration: Configuration) -> None:
        """Put `configuration` in force: the entry counts from now on, committed or not (RD 4.1)."""
        state = self._state
        before = state.configuration
        self._append(EntryKind.CONFIGURATION, state.log.last_stamp, configuration.encode())
        state.reconfigured()
        self._follow_configuration(before, state.log.last_index)

    def _follow_configuration(self, before: Configuration, first: int) -> None:
        state = self._state
        self._tracker.follow(before, first)
        leaves = state.configuration.joint or not state.elector
        self._leave_at = max(state.configuration_index, state.noop_index) if leaves else NEVER

    def _leave_joint_or_resign(self) -> None:
        """Leave the joint configuration, which is committed, or resign where this node has no vote left."""
        target = self._state.configuration.target
        self._leave_at = NEVER
        if target is not None:
            self._change(target)
        else:
            self._resign()

    def _resign(self) -> None:
        """The configuration without this node is committed (RD 4.2.2): let another node lead.

        Earlier would be too early: the others might not be able to commit the change without this node.
        """
        state = self._state
        self._heartbeats.send_all()
        successor = best_successor(state, self.progress())
        if successor:
            state.effects.send_now(successor, TimeoutNow(state.term))
        self._end_transfer("won")
        state.role_change = RoleChange(FOLLOWER)

    # Leadership transfer

    def transfer(self, to: str) -> None:
        """Begin to transfer leadership to the voter `to`. Raises `TransferRefused`."""
        state = self._state
        configuration = state.configuration
        remaining = configuration.target or configuration
        if to == state.id:
            raise TransferRefused(f"{to} leads already")
        if to not in state.electors or to not in remaining.voters:
            raise TransferRefused(f"{to} is not a voter")
        if self._transfer is not None:
            if self._transfer.to == to:
                return
            raise TransferRefused(f"leadership is being transferred to {self._transfer.to}")
        state.quiet = False
        self._transfer = LeadershipTransfer(state, self._tracker.progress[to])
        state.transferring = to
        self._transfer.advance()
        state.effects.wants_replication = True

    def _end_transfer(self, outcome: str) -> None:
        if self._transfer is not None:
            self._transfer = None
            self._state.transferring = ""
            self._state.observer.election_ended(self._state.group, "transfer", outcome)
