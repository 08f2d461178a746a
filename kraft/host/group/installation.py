"""Puts a received snapshot into use: consensus lets go of the log before it, and the state becomes its copy.

A complete snapshot is given to consensus first. When consensus takes it, the next `Ready` carries the switch
to the new state file, and then the state in memory is replaced as well. Until the switch is durable no
checkpoint is taken and the log is not cut: see `AppliedState.switching`.
"""

from collections.abc import Sequence
from functools import partial

from kraft.host.applied_state import AppliedState
from kraft.host.consistency.checker import ConsistencyChecker
from kraft.host.context import GroupContext
from kraft.host.group.applier import Applier
from kraft.host.group.checkpoints import Checkpoints
from kraft.host.requests.requests import Requests
from kraft.node.values import Received
from kraft.peerwire.messages import SnapshotOffer
from kraft.raft.errors import InvariantViolation
from kraft.raft.messages import Entry
from kraft.raft.raft import Raft


class SnapshotInstallation:
    """At most one snapshot at a time, on its way through one group's consensus."""

    def __init__(
        self,
        group: int,
        raft: Raft,
        state: AppliedState,
        requests: Requests,
        applier: Applier,
        checkpoints: Checkpoints,
        consistency: ConsistencyChecker,
        context: GroupContext,
    ) -> None:
        self._group = group
        self._raft = raft
        self._state = state
        self._requests = requests
        self._applier = applier
        self._checkpoints = checkpoints
        self._consistency = consistency
        self._context = context
        self._received: Received | None = None  # given to consensus, and not yet restored

    def snapshot_received(self, received: Received, offer: SnapshotOffer) -> bool:
        """A snapshot is complete: give it to consensus. False when consensus does not need it any more."""
        self._received = received
        base, raft = received.checkpoint.base, self._raft
        if offer.reseed and base.index <= raft.state.commit:
            taken = self._state.fenced and raft.state.log.base.index <= base.index
            if taken:
                raft.reseed(base, received.number)
            else:
                self._context.observer.event("snapshot_not_taken", group=self._group, index=base.index)
        else:  # a copy meant for a wrong state may be newer than all that is known here
            taken = raft.install(base, received.number)
        self._context.turns.wake(self._group)
        return taken

    def restore(self, sequence: int, committed: Sequence[Entry]) -> None:
        """Consensus has let go of everything up to the snapshot: replace the state by its copy.

        The write `sequence` switches the disk to the new state file. A wrong state is replaced by an older
        copy. The log after that copy is still right: it is applied again, up to the `committed` entries,
        which are applied as usual.
        """
        received, self._received = self._received, None
        if received is None:
            raise InvariantViolation("only a snapshot that was given to consensus is restored")
        self._state.switching = sequence
        self._state.fenced = False  # on disk the switch does that
        self._requests.writes.skipped(received.checkpoint.base.index)
        self._requests.reads.restored()
        self._applier.restore(received)
        self._checkpoints.restored(received.checkpoint)
        self._consistency.restored(received.checkpoint)
        upto = committed[0].index - 1 if committed else self._raft.state.applied
        if upto > self._state.index:
            self._applier.replay(upto, partial(self._context.turns.wake, self._group))
