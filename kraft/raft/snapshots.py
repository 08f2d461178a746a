"""Compaction, and installing a snapshot when the log no longer reaches back far enough.

The copies of the state machine are the host's. Consensus knows them by their `Base`, and moves the log
together with the number of the state file: both are in one `Persist`, so that after a crash the disk has
either the old pair or the new one.
"""

from kraft.raft.errors import invariant
from kraft.raft.membership.configuration import Base
from kraft.raft.messages import AppendReply
from kraft.raft.state import ReplicaState


def compact(state: ReplicaState, index: int) -> None:
    """Drop the entries up to `index`, all of them applied; nothing happens when they are gone already."""
    log = state.log
    if index > log.base.index:
        invariant(index <= state.applied, "only applied entries are forgotten")
        log.compact(log.base_at(index))


def install(state: ReplicaState, base: Base, state_file: int) -> None:
    """Replace the log up to `base`, which is not committed here, by the received copy in `state_file`.

    Entries after a matching base are kept, as this node may have acknowledged them (RP 7). If the base
    conflicts with the log, all of the log is another history and goes, with the configurations in it.
    """
    log, effects = state.log, state.effects
    if log.matches(base.index, base.term):
        log.compact(base)
    else:
        # What was accepted from this leader is right, too, and its acknowledgement may not have left yet.
        log.restart(base, max(state.commit, min(state.matched, base.index)))
    state.commit = state.applied = base.index
    effects.restored, effects.state_file = base, state_file
    state.reconfigured()
    if state.leader:
        effects.send_after_persist(state.leader, AppendReply(state.term, base.index))


def reseed(state: ReplicaState, base: Base, state_file: int) -> None:
    """Replace the state file alone: the log was right, the state made from it was not."""
    log, effects = state.log, state.effects
    invariant(log.base.index <= base.index <= state.commit, "a new state lies within the committed log")
    invariant(log.matches(base.index, base.term), "a new state is one of this log")
    effects.restored, effects.state_file = base, state_file
    state.applied = max(state.applied, base.index)
