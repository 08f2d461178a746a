"""The leader's way into its log: every entry that the host proposes is stamped and appended here."""

from collections.abc import Sequence

from kraft.host.applied_state import AppliedState
from kraft.host.requests.leader_clock import LeaderClock
from kraft.kv import commands as kv
from kraft.kv.versions import encode_version
from kraft.node.errors import EntryTooLarge
from kraft.peerwire.frames import MESSAGE_BYTES_MAX
from kraft.raft.errors import LogFull, NotLeading
from kraft.raft.messages import EntryKind
from kraft.raft.raft import Raft

# Requests and scripts have bounds far below, each for itself.
ENTRY_BYTES_MAX = MESSAGE_BYTES_MAX - (16 << 20)
EXPIRY_SECONDS = 1.0  # between empty entries that remove due keys that no client reads


class Proposer:
    """Appends the entries of one replica while it leads."""

    def __init__(self, raft: Raft, state: AppliedState, leader_clock: LeaderClock) -> None:
        self._raft = raft
        self._state = state
        self._leader_clock = leader_clock
        self._expired_at = 0.0
        self._blocked_at = -1
        self._marker = (0, 0)  # the last one that was appended: (index, term)
        self._hold = (0, 0)  # while no commands are logged: its token, and the term in which it began
        self._held_until = 0.0  # when it ends by itself, in monotonic seconds

    @property
    def may_propose(self) -> bool:
        """Whether a leader may append entries at all.

        While leadership is transferred they would only delay the successor. A fenced state is wrong, and
        replies are made from it.
        """
        return not (self._raft.state.transferring or self._state.fenced)

    @property
    def blocked(self) -> bool:
        """Whether nothing more can be appended until an entry is applied, or the next tick."""
        return self._blocked_at == self._state.index

    def propose(self, commands: Sequence[kv.Command], stamp: int = 0) -> tuple[int, int] | None:
        """Append the commands as one entry; returns its (index, term), or None when the log is full.

        `stamp` is that of an evaluation, if there was one. While proposals are held, the log counts as full.
        Raises EntryTooLarge: no link could carry such an entry, and the group would stand still.
        """
        if self._held_until:
            self._blocked_at = self._state.index
            return None
        if stamp:
            stamp = max(stamp, self._raft.state.log.last_stamp)
        data = kv.encode(commands)
        if len(data) > ENTRY_BYTES_MAX:
            raise EntryTooLarge(ENTRY_BYTES_MAX)
        try:
            return self._raft.propose(EntryKind.COMMANDS, stamp or self._leader_clock.stamp(), data)
        except LogFull:
            self._blocked_at = self._state.index
            return None

    @property
    def marker_waits(self) -> bool:
        """Whether a marker of this leader waits to be applied."""
        index, term = self._marker
        return index > self._state.index and term == self._raft.state.term and self._raft.state.leads

    def propose_marker(self) -> int | None:
        """Append a marker for a checkpoint; returns its index, or None when that is not possible now.

        While one of this term waits to be applied, that one is returned: it comes after all that is applied,
        and where nothing is committed, or the disk hangs, a marker at every tick would fill the log.
        """
        if self.marker_waits:
            return self._marker[0]
        index = self._propose_rare(EntryKind.MARKER, b"")
        if index is not None:
            self._marker = index, self._raft.state.term
        return index

    @property
    def holds(self) -> bool:
        """Whether no commands are logged at present."""
        return bool(self._held_until)

    def hold(self, token: int, until: float) -> bool:
        """Log no commands up to `until` (monotonic seconds), or the held marker with this `token`.

        Returns False when this replica cannot log anything.
        """
        state = self._raft.state
        if not (self.may_propose and state.leads_with_commit):
            return False
        self._hold, self._held_until = (token, state.term), until
        return True

    def propose_held_marker(self, token: int) -> tuple[int, int] | None:
        """Append a marker and end the hold with this `token`; returns its (index, term).

        Returns None if the hold has ended: more may be logged.
        """
        if not self._held_until or self._hold != (token, self._raft.state.term):
            return None
        self._end_hold()
        index = self._propose_rare(EntryKind.MARKER, b"")
        if index is None:
            return None
        self._marker = index, self._raft.state.term
        return self._marker

    def _end_hold(self) -> None:
        self._hold, self._held_until = (0, 0), 0.0
        self._blocked_at = -1

    def propose_version(self, version: int) -> bool:
        """Append an entry that raises the machine version; False when that is not possible now."""
        return self._propose_rare(EntryKind.VERSION, encode_version(version)) is not None

    def _propose_rare(self, kind: EntryKind, data: bytes) -> int | None:
        if not (self.may_propose and self._raft.state.leads_with_commit):
            return None
        try:
            return self._raft.propose(kind, self._leader_clock.stamp(), data)[0]
        except (LogFull, NotLeading):
            return None

    def propose_expiry(self, due: int, stamp: int) -> int | None:
        """Make sure that a key due at `due` expires in the log, now that the running stamp is `stamp`.

        The key expires with the next entry, so an empty one is appended unless the log already holds an entry
        with a stamp that late. Returns the index that a read must wait for, or None when nothing can be
        appended now.
        """
        if self._raft.state.log.last_stamp < due:
            if not self.may_propose:
                self._blocked_at = self._state.index  # a read that waits for this must not spin
                return None
            try:
                self._raft.propose(EntryKind.NOOP, stamp, b"")
            except LogFull:
                self._blocked_at = self._state.index
                return None
        return self._raft.state.log.last_index

    def tick(self, now: float) -> None:
        """One tick of the host passed, at `now`."""
        self._blocked_at = -1
        if self._held_until and self._held_until <= now:
            self._end_hold()
        state = self._raft.state
        if not state.leads:
            return
        self._leader_clock.correct()
        again = self._expired_at + EXPIRY_SECONDS <= now
        if again and self.may_propose and state.leads_with_commit:
            self._expired_at = now
            due, stamp = self._state.machine.keyspace.due.next(), self._leader_clock.stamp()
            if due is not None and due <= stamp:
                self.propose_expiry(due, stamp)
