"""Applies committed entries to the state machine of one replica, and answers the writes they were made of.

Entries are applied in slices, so that a long backlog never holds up the reactor. A snapshot replaces the
state; the entries that it contains are then passed over.
"""

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

from msgspec.structs import replace

from kraft.host.applied_state import AppliedState
from kraft.host.context import GroupContext
from kraft.host.group.checkpoints import Checkpoints
from kraft.host.group.version_raise import VersionRaise
from kraft.host.requests.requests import Requests
from kraft.kv.entry import apply_entry
from kraft.kv.machine import Machine
from kraft.kv.replies import Reply
from kraft.node.values import Received
from kraft.raft.log.log import ENTRY_OVERHEAD_BYTES
from kraft.raft.messages import Entry, EntryKind
from kraft.raft.raft import Raft

APPLY_BYTES = 1 << 20  # entry data applied in one turn, at most: some milliseconds of work
REPLAY_BYTES = 4 << 20  # entries read at once when a log is replayed


class Applier:
    """Applies the entries of one replica. A slice is as much as one batch of `batch_bytes` may hold, at most
    `APPLY_BYTES`, and at least one entry.

    An entry that cannot be applied ends the process: without that entry this replica would differ from the
    others.
    """

    def __init__(
        self,
        group: int,
        raft: Raft,
        state: AppliedState,
        requests: Requests,
        checkpoints: Checkpoints,
        version: VersionRaise,
        context: GroupContext,
        batch_bytes: int,
    ) -> None:
        self.replaying = False
        self._replay_after = 0  # the index of the state when the replay began
        self._group = group
        self._raft = raft
        self._state = state
        self._proposals = requests.proposals
        self._writes = requests.writes
        self._waits = requests.transaction_waits
        self._checkpoints = checkpoints
        self._version = version
        self._context = context
        self._slice_bytes = min(batch_bytes, APPLY_BYTES)
        self.waiting: deque[Entry] = deque()  # only this class changes it

    def add(self, entries: Sequence[Entry]) -> None:
        """These entries are committed, and durable here."""
        self.waiting.extend(entries)

    def apply_slice(self) -> None:
        """Apply some of the entries that wait. Not to be called while the log is replayed."""
        size = 0
        waiting = self.waiting
        while waiting and size < self._slice_bytes:
            entry = waiting.popleft()
            size += len(entry.data)
            self._apply(entry)

    def replay(self, upto: int, done: Callable[[], None]) -> None:
        """Apply the log on disk after the state's index up to `upto`, piece by piece, and then call `done`.

        Nothing else is applied meanwhile. `done` is not called if a snapshot replaces the state first.
        """
        self.replaying = True
        self._replay_after = self._state.index
        self._fetch(self._state.machine, upto, done)

    def _fetch(self, machine: Machine, upto: int, done: Callable[[], None]) -> None:
        first = self._state.index + 1
        if first > upto:
            self.replaying = False
            done()
        else:
            fetched = partial(self._fetched, machine, upto, done)
            self._context.disk.fetch(self._group, first, upto, REPLAY_BYTES, fetched)

    def _fetched(
        self, machine: Machine, upto: int, done: Callable[[], None], entries: Sequence[Entry]
    ) -> None:
        if self._state.machine is not machine:
            return  # a snapshot has replaced it
        for entry in entries:
            self._apply(entry)
        after = self._replay_after
        self._context.observer.replaying(self._group, self._state.index - after, upto - after)
        self._fetch(machine, upto, done)

    def restore(self, received: Received) -> None:
        """Replace the state by the one of a received snapshot."""
        checkpoint = received.checkpoint
        base = checkpoint.base
        state = self._state
        state.machine = Machine.restored(
            received.keyspace, base.stamp, checkpoint.revision, checkpoint.machine_version
        )
        state.index = base.index
        self.replaying = False
        self.learn_slots()
        self._version.applied(live=True)
        if self._group == 0:
            self._context.users.changed(state.machine)
        self.waiting.clear()  # the snapshot contains them, or they are replayed from the log after it

    def learn_slots(self) -> None:
        """What the state knows of slots has changed, or it is another state: the node learns from it."""
        machine = self._state.machine
        machine.slots_changed = False
        self._context.slots.follow(self._group, machine.keyspace)

    def _apply(self, entry: Entry) -> None:
        state = self._state
        batch = self._proposals.applied(entry.index, entry.term)
        try:
            if batch is not None:
                replies = state.machine.apply(entry.stamp, batch.commands)
            else:
                replies = self._change(entry)
        except Exception as error:
            self._context.broken(error)
            raise
        if state.machine.users_changed:
            self._context.users.changed(state.machine)
        if state.machine.slots_changed:
            self.learn_slots()
        state.index = entry.index
        state.bytes += len(entry.data) + ENTRY_OVERHEAD_BYTES
        if self._waits.reading:
            self._waits.look_at_reads()
        if state.bytes >= self._checkpoints.note_at:
            self._checkpoints.note()
        if batch is not None:
            self._writes.applied(batch, replies)
        elif self._is_checkpointed(entry) and not (self.replaying or state.switching):
            base = replace(self._raft.state.base_at(entry.index), stamp=entry.stamp)
            self._checkpoints.marker(base, self._context.clock.seconds())

    def _is_checkpointed(self, entry: Entry) -> bool:
        """Whether a checkpoint is taken at this entry.

        With the checkpoint after a raise an older program finds a file of a newer schema, and refuses to
        start. For that the file of group 0 is enough, so that a group without any key needs none.
        """
        if entry.kind == EntryKind.VERSION:
            held = self._checkpoints.last is not None or len(self._state.machine.keyspace) > 0
            return self._group == 0 or held
        return entry.kind == EntryKind.MARKER

    def _change(self, entry: Entry) -> list[Reply]:
        replies = apply_entry(self._state.machine, entry, self._group)
        if entry.kind == EntryKind.VERSION:
            self._version.applied(live=not self.replaying)
        return replies
