"""Cuts the log of one replica after checkpoints: not what the receiver of a snapshot needs."""

from kraft.host.applied_state import AppliedState
from kraft.host.group.checkpoints import Checkpoints
from kraft.host.snapshots.receiver import SnapshotReceiver
from kraft.host.snapshots.sender import SnapshotSender
from kraft.raft.raft import Raft


class LogCut:
    """Cuts a part in each tick: `Checkpoints.cut` says how much."""

    def __init__(
        self,
        raft: Raft,
        state: AppliedState,
        checkpoints: Checkpoints,
        sender: SnapshotSender,
        receiver: SnapshotReceiver,
    ) -> None:
        self._raft = raft
        self._state = state
        self._checkpoints = checkpoints
        self._sender = sender
        self._receiver = receiver

    @property
    def is_due(self) -> bool:
        """Whether the log is to be cut further."""
        base = self._raft.state.log.base.index
        return self._checkpoints.cut(base, None) > base

    def tick(self) -> None:
        """Cut some of it, but not before a new state file is durable."""
        if self.is_due and not self._state.switching:
            held = [index for index in (self._sender.index, self._receiver.held) if index is not None]
            base = self._raft.state.log.base.index
            self._raft.compact(self._checkpoints.cut(base, min(held, default=None)))

    def cut_to(self, keep: int) -> int:
        """Over the next ticks, cut the log to `keep` entries before the last checkpoint.

        A `keep` below 0 means: as configured. Returns the number of entries that are dropped.
        """
        return self._checkpoints.cut_to(self._raft.state.log.base.index, keep)
