"""What a recovery writes for one group, so that its node is the only voter.

A replica that is there stays, and gets entries. For a group that comes from another directory, the state at
the end of its log is written, and a log that begins after it.
"""

from collections.abc import Sequence

import msgspec

from kraft.kv import commands
from kraft.kv.machine import Machine
from kraft.node.values import LastReplica, Loaded
from kraft.raft.membership.configuration import Base, Configuration, Member
from kraft.raft.membership.replica_number import UNNUMBERED, ReplicaNumber, numbered
from kraft.raft.messages import Entry, EntryKind, HardState
from kraft.raft.ready import Persist
from kraft.storage.offline.group_findings import GroupFindings
from kraft.storage.offline.survivor import RecoveryRefused

GroupSteps = Sequence[tuple[int, commands.Command]]
"""Commands with their stamps, each an entry of its own."""


def sole_voter(member: Member, group: GroupFindings, steps: GroupSteps) -> Persist:
    """The entry that overrides every configuration before it, in a term in which no node has voted.

    The `steps` follow it.
    """
    configuration = _configuration(member, group)
    entry = Entry(
        group.last_index + 1,
        group.term + 1,
        group.last_stamp,
        EntryKind.CONFIGURATION,
        configuration.encode(),
    )
    # A fenced replica would not lead. Naming its state file again, as a switch does, undoes the fence.
    number = group.number if group.fenced else None
    following = [
        Entry(index, entry.term, stamp, EntryKind.COMMANDS, commands.encode([step]))
        for index, (stamp, step) in enumerate(steps, entry.index + 1)
    ]
    written = (entry, *following)
    return Persist(0, HardState(entry.term), None, written, group.committed, state_file=number)


class TakenGroup:
    """A group that the node `member` gets from another directory.

    `machine` has the state at the end of its log, and after the `steps`. `replica` is what the node's
    directory is to note of its replica, None to keep the number of the one that is replaced.
    """

    def __init__(
        self, member: Member, group: GroupFindings, loaded: Loaded, machine: Machine, steps: GroupSteps
    ) -> None:
        self._held = loaded.groups.get(group.group)
        last = loaded.replicas.get(group.group)
        had = UNNUMBERED if last is None else last.number
        seen = 0 if self._held is None else self._held.hard_state.term
        term, index = max(group.term, seen, had.term) + 1, group.last_index + 1
        own = Member(member.id, numbered(member.node, had), member.peer)
        self.replica: LastReplica | None = None
        if self._held is None or group.configuration.is_retired(own):
            number = ReplicaNumber(term, index)
            own = Member(member.id, numbered(member.node, number), member.peer)
            self.replica = LastReplica(number, held=True)
        stamp = max(group.last_stamp, machine.stamp)
        self.base = Base(index + len(steps), term, stamp, index, _configuration(own, group))

    def persist(self, state_file: int) -> Persist:
        """The write that puts this state file into use."""
        first = None if self._held is None or self.replica is not None else self._held.first_index
        base = self.base
        return Persist(0, HardState(base.term), first, (), base.index, base, state_file)


def _configuration(member: Member, group: GroupFindings) -> Configuration:
    """The configuration with `member` as the only voter, and every other node retired."""
    before = group.configuration
    retired = {*before.retired, *(other.node for other in before.members)}
    if before.target is not None:
        retired.update(before.target.retired, (other.node for other in before.target.members))
    retired.discard(member.node)
    only = Configuration.of_voters((member,))
    configuration = msgspec.structs.replace(only, retired=tuple(sorted(retired)))
    fault = configuration.fault()
    if fault is not None:
        raise RecoveryRefused(f"group {group.group}: impossible configuration: {fault}")
    return configuration
