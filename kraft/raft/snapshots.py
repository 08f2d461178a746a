"""Where the log ends at its old end: compaction, and the snapshot that takes the place of what is missing.

The state machine's copies are the host's. The core knows them by their `Base`, and moves the log together
with the number of the state file: both are in one `Persist`, so a crash finds the old pair or the new one.
"""

from typing import TYPE_CHECKING

from kraft.raft.errors import invariant
from kraft.raft.membership.configuration import Base
from kraft.raft.messages import AppendReply

if TYPE_CHECKING:
    from kraft.raft.core import Core


def base_at(core: "Core", index: int) -> Base:
    """What a copy of the state machine at `index`, which is applied, is to be labelled with.

    Its configuration is the one in force *there*: later ones in the log may never be committed.
    """
    invariant(core.log.base.index <= index <= core.applied, "a copy is made of what is applied")
    return core.log.base_at(index)


def compact(core: "Core", index: int) -> None:
    """Forget the entries up to `index`, all of them applied."""
    if index > core.log.base.index:
        invariant(index <= core.applied, "only applied entries are forgotten")
        core.log.compact(core.log.base_at(index))


def install(core: "Core", base: Base, state: int) -> bool:
    """Let a received copy take the place of the log up to `base`; False when that is known here already.

    A leader takes none: what is committed it has, and will know. Entries behind a matching base are kept, as
    this node may have acknowledged them (RP 7); if the base conflicts with the log, all of it is another
    history and goes, with the configurations in it.
    """
    if base.index <= core.commit or core.leader == core.id:
        return False
    if base.term > core.term or not core.following:
        core.become_follower(max(base.term, core.term), "")
    if core.log.matches(base.index, base.term):
        core.log.compact(base)
    else:
        core.log.restart(base, core.commit)
    core.commit = core.applied = base.index
    core.restored, core.state = base, state
    core.reconfigured()
    if core.leader:
        core.send_durable(core.leader, AppendReply(core.term, base.index))
    return True


def reseed(core: "Core", base: Base, state: int) -> None:
    """Exchange the state file alone: the log was right, what had been made of it was not."""
    log = core.log
    invariant(log.base.index <= base.index <= core.commit, "a new state lies within the committed log")
    invariant(log.matches(base.index, base.term), "a new state is one of this log")
    core.restored, core.state = base, state
    core.applied = max(core.applied, base.index)
