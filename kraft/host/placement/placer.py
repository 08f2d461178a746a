"""Brings the votes and replicas of all groups where they should be, at the leader of group 0.

It plans from what it sees, gives each group's leader its step, and plans anew when all steps have ended. It
keeps nothing: the next leader of group 0 goes on from what the groups have become. A step names the voters
that the group had in the plan, and is refused if these are others by now. A step that gives a node a replica
ends when that is on its way; the group lets it vote by itself (`membership.promotion`).
"""

from collections.abc import Callable, Mapping
from functools import partial

from kraft.host.absent.directory import GroupDirectory
from kraft.host.background import Background
from kraft.host.context import GroupContext
from kraft.host.group.group import Group
from kraft.host.placement.placement_commands import PlacementCommands
from kraft.host.placement.placement_view import Inputs, PlacementView
from kraft.host.placement.replica_plan import ReplicaPlan, ReplicaStep, Step, VoteStep
from kraft.host.requests.proposal import WriteOutcome
from kraft.host.requests.round import ReadDone
from kraft.host.transactions.ports import GroupRequests
from kraft.kv.commands import ChangePlacement
from kraft.kv.placement import PlacementState
from kraft.node.admin import AdminDone, AdminOutcome, DropReplica, PlaceReplica, ReplicaChange, SetVoters
from kraft.node.errors import AdminRefused

LOOK_SECONDS = 1.0  # between two plans
RETRY_SECONDS = 5.0  # after a step that failed
LEAVING_SECONDS = 60.0  # a removal is over by then, unless the node that was asked for it has died
AVOID_SECONDS = 30.0  # in which a group is given no vote of a node for which it has refused one
PLAN_STEPS = 64  # of one plan
STEPS_MAX = 8  # under way at once
INCOMING_MAX = 2  # of these, and of new replicas on their way to a vote, for one node
COPIES_MAX = 8  # new replicas on their way at once
LOST_SECONDS = 30.0  # without a link to a node, after which no group waits for its new replica there

Ask = Callable[[int, ReplicaChange, AdminDone], None]
COMMAND_BYTES = 64


class Placer:
    """The steps of one node, while it leads group 0, and the `commands` about them that it is asked.

    `view` is what the node knows of the votes.
    """

    def __init__(
        self,
        groups: Mapping[int, Group],
        directory: GroupDirectory,
        context: GroupContext,
        requests: GroupRequests,
        read: Callable[[int, ReadDone], None],
        background: Background,
    ) -> None:
        self.view = view = PlacementView(groups, directory, context.slots, context.peers, background)
        self.commands = PlacementCommands(view, requests, context.clock, read)
        self._observer = context.observer
        self._requests = requests
        self._waiting: list[Step] = []
        self._under_way: dict[int, Step] = {}  # by group
        self._clock = context.clock
        self._look_at = 0.0
        self._version = 0  # of the state that was planned for
        self._planning = False
        self._planned_for: Inputs | None = None  # the arguments of the last plan, unless its steps have ended
        self._stuck: list[int] = []  # groups for which the last plan found no node
        self._refused: dict[int, str] = {}  # why the last step of a group failed
        self._avoid: dict[tuple[int, str], float] = {}  # group and node of such a step, until when
        self._leaving: dict[str, float] = {}  # nodes that leave, since when this node has seen that
        self._away: dict[str, float] = {}  # members without a link, since when

    @property
    def misplaced(self) -> int:
        """How many groups cannot get the voters that they should have, as far as this node knows."""
        return len(self._refused.keys() | set(self._stuck))

    def tick(self, now: float, ask: Ask) -> None:
        """One tick of the host passed, at `now` (monotonic seconds). `ask` gives a group's leader a step."""
        if not self._leads:
            self._forget()
            self._leaving.clear()
            self._away.clear()
            return
        state = self.view.state
        if state.version != self._version:
            self._version, self._look_at = state.version, now
            self._waiting, self._planned_for = [], None
        self._leaving = {id_: self._leaving.get(id_, now) for id_ in state.leaving}
        if not state.active:
            self._forget()
            return
        if not (self._planning or self._under_way) and now >= self._look_at:
            self._look_at = now + LOOK_SECONDS
            self._look(state, now)
        if self._waiting and not self._planning:  # the next plan may have another step for the same group
            self._begin(ask)

    @property
    def _leads(self) -> bool:
        first = self.view.groups.get(0)
        return first is not None and first.raft.state.leads_with_commit

    def _forget(self) -> None:
        self._waiting, self._planned_for, self._stuck = [], None, []
        self._refused.clear()
        self._avoid.clear()

    def _look(self, state: PlacementState, now: float) -> None:
        """Plan anew, unless all is as it was for the last plan, whose steps wait for others or are none."""
        self._avoid = {place: until for place, until in self._avoid.items() if until > now}
        avoid = {group: frozenset(n for g, n in self._avoid if g == group) for group, _ in self._avoid}
        linked, replaced = self.view.peers.connected, self.view.replaced()
        away = [id_ for id_ in self.view.members if id_ not in linked and id_ != self.view.own]
        self._away = {id_: self._away.get(id_, now) for id_ in away}
        self._leaving |= {id_: now for id_ in self._leaving if id_ in replaced}  # that may take long
        lost = [id_ for id_, since in self._away.items() if now - since >= LOST_SECONDS]
        inputs = self.view.inputs(state, avoid, lost)
        if inputs == self._planned_for:
            if not self._waiting:
                self._conclude(state, now)
            return
        self._planning = True
        planned = partial(self._planned, state, inputs)
        self.view.compute(inputs, PLAN_STEPS, balance=state.settling, done=planned)

    def _planned(self, state: PlacementState, inputs: Inputs, plan: ReplicaPlan) -> None:
        """The plan is made, of `inputs` and for `state`."""
        self._planning = False
        if not self._leads or self.view.state.version != state.version:
            return  # the next tick plans for what is wanted by now
        self._waiting = list(plan.steps)
        self._planned_for = inputs
        self._note(plan)
        self._conclude(state, self._clock.seconds())

    def _note(self, plan: ReplicaPlan) -> None:
        """Remember the groups that cannot get the voters that they should have, and tell of new ones."""
        concerned = {step.group for step in plan.steps} | {group for group, _ in self._avoid}
        self._refused = {group: why for group, why in self._refused.items() if group in concerned}
        new = [group for group in plan.stuck if group not in self._stuck]
        self._stuck = plan.stuck
        if new:
            more = f", and none of {len(new) - 1} other groups" if len(new) > 1 else ""
            reason = f"no other node can be given a vote of it{more}"
            self._observer.event("votes_not_moved", group=new[0], reason=reason)

    def _begin(self, ask: Ask) -> None:
        """Begin the steps that may be under way together with the others."""
        incoming = self.view.incoming()
        copies = incoming.total()
        incoming.update(id_ for step in self._under_way.values() for id_ in _incoming(step))
        copies += sum(isinstance(step, ReplicaStep) for step in self._under_way.values())
        left: list[Step] = []
        for step in self._waiting:
            coming = _incoming(step)
            full = isinstance(step, ReplicaStep) and copies >= COPIES_MAX
            if (
                full
                or len(self._under_way) >= STEPS_MAX
                or any(incoming[id_] >= INCOMING_MAX for id_ in coming)
            ):
                left.append(step)
                continue
            incoming.update(coming)
            copies += isinstance(step, ReplicaStep)
            self._under_way[step.group] = step
            ask(step.group, _command(step), partial(self._ended, step))
        self._waiting = left

    def _ended(self, step: Step, outcome: AdminOutcome) -> None:
        del self._under_way[step.group]
        self._planned_for = None
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

    def _conclude(self, state: PlacementState, now: float) -> None:
        """Tell group 0 what is over: that nodes have left, and that nothing is to be done any more.

        A node that has been leaving for long stays: nobody removes it any more. So it is with a mark that a
        backup has brought into a new cluster.
        """
        members = self.view.members
        leaving = tuple(
            id_
            for id_ in state.leaving
            if id_ in members and now - self._leaving.get(id_, now) < LEAVING_SECONDS
        )
        waits = self._waiting or self._avoid or self.view.changing or self.view.unable
        settling = state.settling and bool(waits)
        if (leaving, settling) != (state.leaving, state.settling):
            change = ChangePlacement(state.version, state.replication, settling, leaving)
            self._requests.write(0, [change], COMMAND_BYTES, _ignored)


def _ignored(_: WriteOutcome) -> None:
    """Whatever becomes of it, the next look at group 0 tells."""


def _command(step: Step) -> ReplicaChange:
    """What the leader of the group is asked."""
    if isinstance(step, VoteStep):
        return SetVoters(step.group, step.before, step.voters)
    if isinstance(step, ReplicaStep):
        return PlaceReplica(step.group, step.before, step.node, step.replaces)
    return DropReplica(step.group, step.before, step.node, step.coming)


def _incoming(step: Step) -> list[str]:
    """The nodes that get a vote, or a replica that is to have one."""
    if isinstance(step, VoteStep):
        return [id_ for id_ in step.voters if id_ not in step.before]
    return [step.node] if isinstance(step, ReplicaStep) else []
