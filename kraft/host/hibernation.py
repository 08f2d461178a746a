"""Which groups of a node are ticked: a quiet group in which nothing is under way hibernates.

A tick of a group costs about 30 us, forty times a second: with a thousand groups that is more than a core,
for groups in which nothing happens. Beats speak for quiet groups already (`kraft.host.beats`), so only the
node has to watch time for them:

* Each link is watched. When one has brought no beat, or no answer, for three heartbeat intervals, all groups
  wake, long before an election timeout. So what a hibernating replica knows of its leader, or a leader
  of its followers, is as old as that at most.
* A request or message for a group, a beat that names it, a link that opens or ends, the changed condition of
  a node, and an administrator's command wake it, or all, before they are carried out.
* A group wakes for one tick every `HIBERNATION_SECONDS`, so that whatever goes by time is that late at most.
  One that has to expire a key by then does not hibernate.

A group that wakes first gets the ticks that it has missed, and what beats have said meanwhile. Then it stands
where it would stand had it been ticked. Group 0 never hibernates: it is ticked for the node as well.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from kraft.config import Config
from kraft.host import settings
from kraft.host.beats import Beats
from kraft.host.context import GroupContext
from kraft.host.fast_election import FastElection
from kraft.host.group.group import Group
from kraft.host.group.stillness import is_still
from kraft.raft.errors import InvariantViolation

HIBERNATION_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class _Sleep:
    """From the tick `since` on, up to the tick `until` at most. Its data takes `memory` bytes."""

    since: int
    until: int
    memory: int


class Hibernation:
    """Moves groups between `awake`, those that are ticked, and `asleep`, whose data takes `memory` bytes."""

    def __init__(
        self,
        config: Config,
        groups: Mapping[int, Group],
        beats: Beats,
        election: FastElection,
        context: GroupContext,
    ) -> None:
        self.awake = beats.awake
        self.asleep: dict[int, _Sleep] = {}
        self.memory = 0
        self._groups = groups
        self._beats = beats
        self._election = election
        self._context = context
        self._ticks = round(HIBERNATION_SECONDS / settings.tick_seconds(config))
        self._due: dict[int, dict[int, None]] = {}  # the groups whose time is over at a tick
        self._version = 0  # the machine version in force at the last tick
        self._slow = False, False  # whether this node was slow at the last tick, and gave leadership away

    # -- waking

    def wake(self, groups: Collection[int]) -> None:
        """Something is to be done in those of `groups` that hibernate.

        The tick of one may answer a client, whose next request wakes others before this has come to them.
        """
        try:
            for id_ in [id_ for id_ in groups if id_ in self.asleep]:
                missed = self._woken(id_) if id_ in self.asleep else 0
                if missed:
                    self._make_up(id_, missed - 1)
                    self._beats.speak_for(self._groups[id_])
                    self._groups[id_].tick()
        except InvariantViolation as error:
            self._context.broken(error)
            raise

    def wake_all(self) -> None:
        """Something is to be done in all groups."""
        self.wake(tuple(self.asleep))

    def forget(self, group: int) -> None:
        """The replica of `group` is about to be destroyed."""
        if group in self.asleep:
            self.memory -= self.asleep.pop(group).memory
        self.awake.pop(group, None)

    def tick(self, now: float, *, serving: bool) -> None:
        """A tick begins at `now` (monotonic seconds), on a node that is `serving` or not.

        Groups hibernate in which nothing is under way. Those wake whose time is over, or all if the node has
        to look at all. Then beats speak for the groups, and those of a silent leader are elected anew.
        """
        groups = len(self._groups)
        if len(self.awake) + len(self.asleep) < groups:
            self.awake.update((id_, g) for id_, g in self._groups.items() if id_ not in self.asleep)
        if not self._beats.spoken:
            return  # the only group does not hibernate
        tick, version = self._beats.ticks, self._context.peers.formation.version.in_force
        due: Collection[int] = self._due.pop(tick, ())
        slow = self._context.slowness.slow, self._context.slowness.leaves
        changed = version != self._version
        if self.asleep and (changed or slow != self._slow or not (serving and self._may_hibernate)):
            due = tuple(self.asleep)
        else:
            due = [id_ for id_ in due if id_ in self.asleep and self.asleep[id_].until == tick]
        self._version, self._slow = version, slow
        for id_ in due:
            self._make_up(id_, self._woken(id_))
        if serving and self._may_hibernate:
            self._rest(now, due)
        self._beats.speak()
        for peer in self._beats.silent():
            self._election.silent(peer, self._groups.values())

    def _woken(self, id_: int) -> int:
        """Let the group be ticked. Returns how many ticks it has missed."""
        sleep = self.asleep.pop(id_)
        self.memory -= sleep.memory
        self.awake[id_] = self._groups[id_]
        return self._beats.ticks - sleep.since

    def _make_up(self, id_: int, ticks: int) -> None:
        """Let the group count ticks that it has missed.

        They are left out if it is quiet no more: nobody could say now what was heard in them.
        """
        raft = self._groups[id_].raft
        if raft.state.quiet:
            raft.skip(ticks)

    # -- hibernating

    def _rest(self, now: float, due: Collection[int]) -> None:
        """Let groups hibernate in which nothing is under way; those in `due` are to be ticked before that."""
        tick = self._beats.ticks
        for group in [group for group in self.awake.values() if group.raft.state.quiet]:
            busy = not group.id or group.id in due or group.id in self._context.turns.woken
            if not busy and self._is_idle(group, now):
                until = tick + self._ticks
                until -= (until + 1) % settings.TICKS_PER_HEARTBEAT  # a tick that an idle node calls for too
                memory = group.state.machine.keyspace.memory
                self.asleep[group.id] = _Sleep(tick, until, memory)
                self.memory += memory
                self._due.setdefault(until, {})[group.id] = None
                del self.awake[group.id]

    @property
    def _may_hibernate(self) -> bool:
        """Whether this node has nothing to do that concerns all groups."""
        context = self._context
        busy = context.persistence.full or context.peers.left_first_group
        return not busy and self._beats.lively

    def _is_idle(self, group: Group, now: float) -> bool:
        """Whether a tick of this quiet group would do nothing before `HIBERNATION_SECONDS` are over."""
        state, machine = group.state, group.state.machine
        return (
            self._beats.rests(group)
            and is_still(group)
            and machine.version >= self._version
            and not self._context.slots.is_moving(group.id, machine.keyspace)
            and not state.fenced  # the condition of this node is told by groups that are awake
            and not (group.raft.state.leads and self._leader_is_busy(group, now))
        )

    def _leader_is_busy(self, group: Group, now: float) -> bool:
        """Whether time matters to the leader of a quiet group: for a key, a checkpoint or its clock.

        Or it is to lead no more, and waits for a successor.
        """
        due, clock = group.state.machine.keyspace.due, group.requests.leader_clock
        expires = due.next() if due.live else None
        soon = clock.stamp() + 2000 * HIBERNATION_SECONDS  # log time may run a little fast
        expires_soon = expires is not None and expires <= soon
        return expires_soon or group.drained or not clock.is_steady or group.checkpoints.due(now)
