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
from kraft.host.placement.placement_view import Inputs, PlacementView
from kraft.host.placement.replica_plan import ReplicaPlan, VoteStep
from kraft.host.requests.proposal import WriteOutcome
from kraft.host.requests.round import ReadDone
from kraft.host.transactions.ports import GroupRequests
from kraft.kv.commands import ChangePlacement
from kraft.kv.placement import PlacementState
from kraft.node.admin import AdminDone, AdminOutcome, SetVoters
from kraft.node.errors import AdminRefused

LOOK_SECONDS = 1.0  # between two plans
RETRY_SECONDS = 5.0  # after a step that failed
AVOID_SECONDS = 30.0  # in which a group is given no vote of a node for which it has refused one
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
        self._clock = context.clock
        self._look_at = 0.0
        self._version = 0  # of the state that was planned for
        self._done: Inputs | None = None  # of the last plan, if nothing was to be done
        self._refused: dict[int, str] = {}  # why the last step of a group failed
        self._avoid: dict[tuple[int, str], float] = {}  # group and node of such a step, until when

    def tick(self, now: float, ask: Ask) -> None:
        """One tick of the host passed, at `now` (monotonic seconds). `ask` gives a group's leader a step."""
        first = self._view.groups.get(0)
        if first is None or not first.raft.state.leads_with_commit:
            self._waiting, self._done = [], None
            self._refused.clear()
            self._avoid.clear()
            return
        state = self._view.state
        if state.version != self._version:
            self._version, self._look_at = state.version, now
            self._waiting, self._done = [], None
        if not state.active:
            return
        if not (self._waiting or self._under_way) and now >= self._look_at:
            self._look_at = now + LOOK_SECONDS
            self._plan(state, now)
        self._begin(ask)

    def _plan(self, state: PlacementState, now: float) -> None:
        self._avoid = {place: until for place, until in self._avoid.items() if until > now}
        avoid = {group: frozenset(n for g, n in self._avoid if g == group) for group, _ in self._avoid}
        inputs = self._view.inputs(state, avoid)
        if inputs != self._done:
            self._waiting = ReplicaPlan(*inputs).steps(PLAN_STEPS, balance=state.settling)
            self._done = None if self._waiting else inputs
        self._conclude(state)

    def _begin(self, ask: Ask) -> None:
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
            ask(step.group, SetVoters(step.group, step.before, step.voters), partial(self._ended, step))
        self._waiting = left

    def _ended(self, step: VoteStep, outcome: AdminOutcome) -> None:
        del self._under_way[step.group]
        if not isinstance(outcome, Exception):
            self._refused.pop(step.group, None)
            return
        now = self._clock.seconds()
        self._look_at = max(self._look_at, now + RETRY_SECONDS)
        if isinstance(outcome, AdminRefused):  # most often one that has not caught up: plan without it
            self._avoid |= {(step.group, id_): now + AVOID_SECONDS for id_ in _incoming(step)}
        reason = str(outcome)
        if self._refused.get(step.group) != reason:
            self._refused[step.group] = reason
            self._observer.event("votes_not_moved", group=step.group, reason=reason)

    def _conclude(self, state: PlacementState) -> None:
        """Tell group 0 what is over: that nodes have left, and that nothing is to be done any more."""
        members, is_able = self._view.members, self._view.is_able
        leaving = tuple(id_ for id_ in state.leaving if id_ in members)
        waits = self._waiting or self._avoid or self._view.changing or not all(map(is_able, members))
        settling = state.settling and bool(waits)
        if (leaving, settling) != (state.leaving, state.settling):
            change = ChangePlacement(state.version, state.replication, settling, leaving)
            self._requests.write(0, [change], COMMAND_BYTES, _ignored)


def _ignored(_: WriteOutcome) -> None:
    """Whatever becomes of it, the next look at group 0 tells."""


def _incoming(step: VoteStep) -> list[str]:
    """The nodes that get a vote."""
    return [id_ for id_ in step.voters if id_ not in step.before]
