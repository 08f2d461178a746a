"""What administrators ask of slots: group 0 plans it, or the refusal says in words what would be possible.

The node that is asked lets group 0 log the plan. So a command is done once it is planned: the leader of the
source carries it out. What several moves and refusals are made of is a linearizable read of the map.
"""

from collections.abc import Callable, Sequence
from functools import partial

from kraft.host.moves.moves import Moves
from kraft.host.moves.slot_plan import PlanStep, count, merge_steps, owned, rebalance_steps, split_steps
from kraft.host.requests.proposal import WriteOutcome
from kraft.host.requests.round import ReadDone, ReadOutcome, View
from kraft.host.slots import SlotMap
from kraft.kv.slot_map import (
    MOVES_MAX,
    MapOutcome,
    MapReply,
    MapState,
    PlannedMove,
    map_reply,
    saved_map,
    static_ranges,
)
from kraft.node.admin import (
    AdminDone,
    AdminOutcome,
    CancelMove,
    CreateGroups,
    MergeGroups,
    MoveSlots,
    RebalanceSlots,
    SlotChange,
    SplitGroup,
)
from kraft.node.errors import AdminRefused, VersionTooLow
from kraft.node.ports import Clock

RANGES_MAX = 8  # that a refusal names
ONE_GROUP = "the cluster has one group, and slots move between groups: KRAFT SPLIT 0 makes another one"
FULL = (
    f"{MOVES_MAX} moves are planned, and no more can be: wait until KRAFT MOVES shows fewer, or cancel one"
    " with KRAFT MOVE CANCEL id"
)
PLAN_SECONDS = 10.0
AGAIN_SECONDS = 0.05  # until this node knows the groups that were created
CHANGES = "the map of slots changes all the time: repeat the command"
LATE = "groups were created, but this node does not have them yet: repeat the command"

Division = SplitGroup | MergeGroups | RebalanceSlots
"""Commands that become several moves."""

MapDone = Callable[[MapState], None]
Admin = Callable[[CreateGroups, AdminDone], None]


class MovePlanner:
    """Carries out the commands of administrators that concern slots. `read` is as `Host.read`."""

    def __init__(
        self, moves: Moves, slots: SlotMap, clock: Clock, read: Callable[[int, ReadDone], None]
    ) -> None:
        self._moves = moves
        self._slots = slots
        self._clock = clock
        self._read = read

    def do(self, command: SlotChange, admin: Admin, done: AdminDone) -> None:
        """Carry out `command`. `done` gets the outcome, maybe inside this call. `admin` creates groups."""
        groups = self._slots.groups
        if groups == 1 and not isinstance(command, SplitGroup):
            done(AdminRefused(ONE_GROUP))
        elif isinstance(command, CancelMove):
            self._moves.stop(command.id, partial(self._stopped, command, done))
        elif unknown := [group for group in _named(command) if group >= groups]:
            done(AdminRefused(f"there is no group {unknown[0]}: the groups are 0 to {groups - 1}"))
        elif isinstance(command, MoveSlots):
            planned = partial(self._planned, command, done)
            plan = partial(self._moves.plan, command.first, command.last, command.group, planned)
            self._prepare([command.group], plan, done)
        else:
            self._plan(command, admin, self._clock.seconds() + PLAN_SECONDS, done)

    def _prepare(self, receivers: Sequence[int], plan: Callable[[], None], done: AdminDone) -> None:
        """Plan something once those of `receivers` that were created later know all scripts."""
        created = [group for group in receivers if group >= self._slots.founded]
        if created:
            group, *others = created
            ended = partial(self._prepared, group, partial(self._prepare, others, plan, done), done)
            self._moves.copy_scripts(group, self._read, ended)
        else:
            plan()

    def _prepared(
        self, group: int, proceed: Callable[[], None], done: AdminDone, problem: Exception | None
    ) -> None:
        if problem is None:
            proceed()
        else:  # whatever became of the scripts, no move is planned
            why = "KRAFT GROUPS shows whether both have a leader"
            done(AdminRefused(f"group {group} did not get the scripts of group 0; repeat it: {why}"))

    def _look(self, looked: MapDone, done: AdminDone) -> None:
        """Give `looked` the map as it is now; `done` gets the reason if nobody can tell."""
        self._read(0, partial(self._looked, looked, done))

    def _looked(self, looked: MapDone, done: AdminDone, outcome: ReadOutcome) -> None:
        if isinstance(outcome, View):
            known = saved_map(outcome.keyspace.ledger)
            looked(known or MapState(0, 0, static_ranges(self._slots.founded)))
        else:
            done(outcome)

    def _planned(self, command: MoveSlots, done: AdminDone, outcome: WriteOutcome) -> None:
        reply = _reply(outcome)
        if isinstance(reply, Exception):
            done(reply)
        elif reply.outcome is MapOutcome.PLANNED:
            done(reply.number)
        else:
            self._look(partial(self._refuse, command, reply, done), done)

    def _refuse(self, command: MoveSlots, reply: MapReply, done: AdminDone, seen: MapState) -> None:
        known = next((move for move in seen.moves if move.id == reply.number), None)
        if reply.outcome is MapOutcome.OVERLAPS and known is not None and _is_same(known, command):
            done(known.id)  # it was asked before, and maybe the reply was lost
        else:
            done(AdminRefused(_refusal(command, reply, seen, known)))

    def _plan(self, command: Division, admin: Admin, until: float, done: AdminDone) -> None:
        """Compute moves from the map, and plan them if it is still the same."""
        self._look(partial(self._divide, command, admin, until, done), done)

    def _divide(self, command: Division, admin: Admin, until: float, done: AdminDone, seen: MapState) -> None:
        again = partial(self._plan, command, admin, until, done)
        try:
            steps = self._steps(command, seen)
        except AdminRefused as refusal:
            done(refusal)
            return
        if isinstance(steps, CreateGroups):
            admin(steps, partial(self._created, again, until, done))
        elif not steps or (isinstance(command, RebalanceSlots) and command.dry):
            done([_told(step) for step in steps])
        else:
            planned = partial(self._planned_all, steps, again, until, done)
            receivers = sorted({step.receiver for step in steps})
            self._prepare(receivers, partial(self._moves.plan_all, steps, seen, planned), done)

    def _created(
        self, again: Callable[[], None], until: float, done: AdminDone, outcome: AdminOutcome
    ) -> None:
        """Groups were created: go on once this node knows them."""
        if isinstance(outcome, Exception):
            done(outcome)
        elif isinstance(outcome, int) and self._slots.groups >= outcome:
            again()
        elif self._clock.seconds() > until:
            done(AdminRefused(LATE))
        else:
            wait = partial(self._created, again, until, done, outcome)
            self._clock.call_later(AGAIN_SECONDS, wait)

    def _steps(self, command: Division, seen: MapState) -> list[PlanStep] | CreateGroups:
        """The moves that do what is asked, or what has to be done first. Raises AdminRefused."""
        if isinstance(command, RebalanceSlots):
            _refuse_if_moving(seen, None)
            return rebalance_steps(seen.ranges)[:MOVES_MAX]
        has = count(owned(seen.ranges, command.group))
        _refuse_if_moving(seen, command.group)
        if not has:
            raise AdminRefused(f"group {command.group} has no slots: KRAFT GROUPS shows who has which slots")
        if isinstance(command, MergeGroups):
            return merge_steps(seen.ranges, command.group, command.into)
        if has < command.parts:
            raise AdminRefused(f"group {command.group} has {has} slots, too few for {command.parts} parts")
        receivers = self._empty(seen)[: command.parts - 1]
        total = self._slots.groups + command.parts - 1 - len(receivers)
        receivers += range(self._slots.groups, total)
        steps = split_steps(seen.ranges, command.group, receivers)
        if len(seen.moves) + len(steps) > MOVES_MAX:
            raise AdminRefused(FULL)  # before groups are created for it
        return steps if total == self._slots.groups else CreateGroups(total)

    def _empty(self, seen: MapState) -> list[int]:
        """The groups without slots that no move is to give any. Group 0 has the map, and is left alone."""
        used = {each.group for each in seen.ranges}.union(move.receiver for move in seen.moves)
        return [group for group in range(1, self._slots.groups) if group not in used]

    def _planned_all(
        self,
        steps: list[PlanStep],
        again: Callable[[], None],
        until: float,
        done: AdminDone,
        outcome: WriteOutcome,
    ) -> None:
        reply = _reply(outcome)
        if isinstance(reply, Exception):
            done(reply)
        elif reply.outcome is MapOutcome.PLANNED:
            done([{"id": id_} | _told(step) for id_, step in enumerate(steps, reply.number)])
        elif reply.outcome is MapOutcome.FULL:
            done(AdminRefused(FULL))
        elif self._clock.seconds() > until:
            done(AdminRefused(CHANGES))
        else:
            again()

    def _stopped(self, command: CancelMove, done: AdminDone, outcome: WriteOutcome) -> None:
        reply = _reply(outcome)
        if isinstance(reply, Exception):
            done(reply)
        elif reply.outcome is MapOutcome.PLANNED:
            done("OK")
        else:
            done(AdminRefused(f"no move {command.id} is under way: KRAFT MOVES lists those that are"))


def _reply(outcome: WriteOutcome) -> MapReply | Exception:
    """What group 0 replied, or why it did not."""
    if isinstance(outcome, VersionTooLow):
        return AdminRefused(f"a move of slots {outcome}")
    return outcome if isinstance(outcome, Exception) else map_reply(outcome[0])


def _named(command: SlotChange) -> list[int]:
    """The groups that a command names."""
    if isinstance(command, MergeGroups):
        return [command.group, command.into]
    return [command.group] if isinstance(command, MoveSlots | SplitGroup) else []


def _told(step: PlanStep) -> dict[str, object]:
    return {"slots": f"{step.first}-{step.last}", "from": step.source, "to": step.receiver}


def _refuse_if_moving(seen: MapState, group: int | None) -> None:
    """Moves that are planned, of `group` or at all, would make the new ones wrong. Raises AdminRefused."""
    ids = [str(move.id) for move in seen.moves if group is None or group in (move.source, move.receiver)]
    if ids:
        more = f" and {len(ids) - RANGES_MAX} more" if len(ids) > RANGES_MAX else ""
        what = "" if group is None else f" of group {group}"
        raise AdminRefused(
            f"moves{what} are under way ({', '.join(ids[:RANGES_MAX])}{more}): wait until KRAFT MOVES shows"
            " them no more, or KRAFT MOVE CANCEL id first"
        )


def _is_same(move: PlannedMove, command: MoveSlots) -> bool:
    asked = (command.first, command.last, command.group)
    return (move.first, move.last, move.receiver) == asked and not move.stopping


def _refusal(command: MoveSlots, reply: MapReply, plan: MapState, known: PlannedMove | None) -> str:
    """Why a move was not planned, and what is possible instead."""
    slots = _slots(command.first, command.last)
    if reply.outcome is MapOutcome.FULL:
        return FULL
    if reply.outcome is MapOutcome.OVERLAPS:
        what = "" if known is None else f" of {_slots(known.first, known.last)} to group {known.receiver}"
        return (
            f"move {reply.number}{what} is under way: wait until KRAFT MOVES shows it no more, or"
            f" KRAFT MOVE CANCEL {reply.number} first"
        )
    if reply.outcome is not MapOutcome.OWNED:
        return f"group 0 knows no group {command.group}: KRAFT GROUPS lists them"
    parts = [
        (max(each.first, command.first), min(each.last, command.last), each.group)
        for each in plan.ranges
        if each.first <= command.last and command.first <= each.last
    ]
    if len({group for _, _, group in parts}) == 1:
        return f"group {reply.number} has {slots} already: KRAFT GROUPS shows who has which slots"
    named = [f"{_slots(first, last)} of group {group}" for first, last, group in parts[:RANGES_MAX]]
    more = f" and {len(parts) - RANGES_MAX} ranges more" if len(parts) > RANGES_MAX else ""
    return f"{slots} are of several groups, and a move takes those of one: {', '.join(named)}{more}"


def _slots(first: int, last: int) -> str:
    return f"slot {first}" if first == last else f"slots {first}-{last}"
