"""Brings the votes of all groups where they should be, at the leader of group 0.

It plans from what it sees, gives each group's leader its step, and plans anew when all steps have ended. It
keeps nothing: the next leader of group 0 goes on from what the groups have become. A step names the voters
that the group had in the plan, and is refused if these are others by now.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial

from kraft.host.context import GroupContext
from kraft.host.group.group import Group
from kraft.host.placement.placement_commands import PlacementCommands
from kraft.host.placement.placement_view import PlacementView
from kraft.host.placement.replica_plan import VoteStep
from kraft.host.requests.proposal import WriteOutcome
from kraft.host.requests.round import ReadDone
from kraft.host.transactions.ports import GroupRequests
from kraft.kv.commands import ChangePlacement
from kraft.kv.placement import PlacementState
from kraft.node.admin import AdminDone, AdminOutcome, SetVoters

LOOK_SECONDS = 1.0  # between two plans
RETRY_SECONDS = 5.0  # after a step that failed
PLAN_STEPS = 64  # of one plan: some ten milliseconds of work
STEPS_MAX = 8  # under way at once
INCOMING_MAX = 2  # of these, for one node

Ask = Callable[[int, SetVoters, AdminDone], None]
COMMAND_BYTES = 64


class Placer:
    """The steps of one node, while it leads group 0, and the `commands` about them that it is asked."""

    def __init__(
        self,
        groups: Mapping[int, Group],
        context: GroupContext,
        requests: GroupRequests,
        read: Callable[[int, ReadDone], None],
    ) -> None:
        self._view = view = PlacementView(groups, context.peers)
        self.commands = PlacementCommands(view, requests, context.clock, read)
        self._observer = context.observer
        self._requests = requests
        self._waiting: list[VoteStep] = []
        self._under_way: dict[int, VoteStep] = {}  # by group
        self._look_at = 0.0
        self._refused: dict[int, str] = {}  # why the last step of a group failed

    def tick(self, now: float, ask: Ask) -> None:
        """One tick of the host passed, at `now` (monotonic seconds). `ask` gives a group's leader a step."""
        first = self._view.groups.get(0)
        if first is None or not first.raft.state.leads_with_commit:
            self._waiting.clear()
            self._refused.clear()
            return
        state = self._view.state
        if not state.active:
            self._waiting.clear()
            return
        if not (self._waiting or self._under_way) and now >= self._look_at:
            self._look_at = now + LOOK_SECONDS
            self._waiting = self._view.plan(state).steps(PLAN_STEPS, balance=state.settling)
            if not self._waiting:
                self._conclude(state)
        self._begin(now, ask)

    def _begin(self, now: float, ask: Ask) -> None:
        """Begin the steps that may be under way together with the others."""
        incoming = Counter(id_ for step in self._under_way.values() for id_ in _incoming(step))
        left = []
        for step in self._waiting:
            coming = _incoming(step)
            if len(self._under_way) >= STEPS_MAX or any(incoming[id_] >= INCOMING_MAX for id_ in coming):
                left.append(step)
                continue
            incoming.update(coming)
            self._under_way[step.group] = step
            command = SetVoters(step.group, step.before, step.voters)
            ask(step.group, command, partial(self._ended, step, now))
        self._waiting = left

    def _ended(self, step: VoteStep, now: float, outcome: AdminOutcome) -> None:
        del self._under_way[step.group]
        if not isinstance(outcome, Exception):
            self._refused.pop(step.group, None)
            return
        self._look_at = max(self._look_at, now + RETRY_SECONDS)
        reason = str(outcome)
        if self._refused.get(step.group) != reason:
            self._refused[step.group] = reason
            self._observer.event("votes_not_moved", group=step.group, reason=reason)

    def _conclude(self, state: PlacementState) -> None:
        """Nothing is to be done: say so, if group 0 does not know."""
        members, is_able = self._view.members, self._view.peers.is_able
        leaving = tuple(id_ for id_ in state.leaving if id_ in members)
        waits = self._view.changing or not all(map(is_able, members))  # a node that is down gets no votes
        settling = state.settling and waits
        if (leaving, settling) != (state.leaving, state.settling):
            change = ChangePlacement(state.version, state.replication, settling, leaving)
            self._requests.write(0, [change], COMMAND_BYTES, _ignored)


def _ignored(_: WriteOutcome) -> None:
    """Whatever becomes of it, the next look at group 0 tells."""


def _incoming(step: VoteStep) -> list[str]:
    """The nodes that get a vote."""
    return [id_ for id_ in step.voters if id_ not in step.before]
