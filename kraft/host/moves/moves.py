"""Moves of slots on one node: what administrators ask for, and what the leaders of its groups do."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from kraft.config import Config
from kraft.host.context import GroupContext
from kraft.host.group.group import Group
from kraft.host.key_indexes import KeyIndexes
from kraft.host.moves.move_counts import MoveCounts
from kraft.host.moves.move_source import MoveSource
from kraft.host.moves.mover import Mover
from kraft.host.moves.script_copy import ScriptCopy
from kraft.host.moves.slot_plan import PlanStep
from kraft.host.moves.sweeper import Sweeper
from kraft.host.requests.proposal import WriteDone
from kraft.host.requests.round import ReadDone
from kraft.host.snapshots.throttle import Throttle
from kraft.host.transactions.ports import GroupRequests
from kraft.kv.commands import PlanMove, PlanMoves, StopMove
from kraft.kv.slot_map import MapState, PlannedMove
from kraft.kv.slots import MoveState, SlotState, SlotTable
from kraft.node.status import MoveStatus

COMMAND_BYTES = 64
IMPORT_BYTES = 64 << 10  # of one Import, if a batch may have so many: each replica takes some ms to store it


class Moves:
    """The moves that this node knows, and the movers and sweepers of the `groups` that it leads.

    `wake` wakes those of some groups that hibernate.
    """

    def __init__(
        self,
        config: Config,
        groups: Mapping[int, Group],
        context: GroupContext,
        requests: GroupRequests,
        indexes: KeyIndexes,
        wake: Callable[[Collection[int]], None],
    ) -> None:
        self.counts = MoveCounts()
        self._groups = groups
        self._context = context
        self._slots = context.slots
        self._requests = requests
        self._indexes = indexes
        self._wake = wake
        self._throttle = Throttle(config.snapshot.bytes_per_second)
        self._batch_bytes = config.raft.batch_bytes
        self._cache_bytes = config.scripts.cache_bytes
        self._movers: dict[int, tuple[Mover, Sweeper]] = {}  # by group, while it is part of a move

    # -- for administrators ---------------------------------------------------------------------------

    def plan(self, first: int, last: int, receiver: int, done: WriteDone) -> None:
        """Plan a move of slots, as `PlanMove`. It begins by itself."""
        command = PlanMove(first, last, receiver, self._slots.founded)
        self._requests.write(0, [command], COMMAND_BYTES, done)

    def plan_all(self, steps: Sequence[PlanStep], seen: MapState, done: WriteDone) -> None:
        """Plan the moves that were computed from the map `seen`, as `PlanMoves`. They begin by themselves."""
        ranges = tuple([(step.first, step.last, step.receiver) for step in steps])
        command = PlanMoves(ranges, self._slots.founded, seen.version, seen.last)
        self._requests.write(0, [command], COMMAND_BYTES * len(steps), done)

    def copy_scripts(
        self, group: int, read: Callable[[int, ReadDone], None], done: Callable[[Exception | None], None]
    ) -> None:
        """Bring the scripts of group 0 to `group`, as `ScriptCopy`."""
        ScriptCopy(group, read, self._requests, self._cache_bytes, done).begin()

    def stop(self, id_: int, done: WriteDone) -> None:
        """Cancel a move, as `StopMove`."""
        self._requests.write(0, [StopMove(id_)], COMMAND_BYTES, done)

    def status(self) -> list[MoveStatus]:
        """The moves that are not over, as the replicas of this node know."""
        plan = self._slots.plan
        return [self._status(move) for move in (plan.moves if plan else ())]

    def forget(self, group: int) -> None:
        """The replica of `group` is about to be destroyed: another node leads the group."""
        mover = self._movers.pop(group, None)
        if mover is not None:
            mover[0].tick(leads=False)

    def frozen_seconds(self, group: int) -> float:
        """For how long this node, as its leader, has seen slots of `group` frozen; 0 without any."""
        mover = self._movers.get(group)
        return 0.0 if mover is None else mover[0].frozen_seconds

    def _status(self, move: PlannedMove) -> MoveStatus:
        source, mover = self._source_state(move), self._movers.get(move.source)
        state, keys = self._progress(move)
        if source == SlotState.FROZEN and state in ("copying", "elsewhere"):
            state = "frozen"
        elif source == SlotState.GONE and state in ("planned", "elsewhere"):
            state = "active"  # and the receiver need not know of it any more
        return MoveStatus(
            id=move.id,
            first=move.first,
            last=move.last,
            source=move.source,
            receiver=move.receiver,
            state="cancelling" if move.stopping else state,
            keys=keys,
            since_ms=move.since,
            problem="" if mover is None else mover[0].problem(move.id),
            keys_total=keys if source == SlotState.GONE else max(keys, self._expected(move)),
        )

    def _progress(self, move: PlannedMove) -> tuple[str, int]:
        """How far the receiver is, and how many keys it has, as far as this node knows.

        Without a replica of it the leader of the source knows what it has sent, and others know nothing.
        """
        if move.receiver in self._groups:
            table = self._table(move.receiver)
            arrived = None if table is None else table.moves.get(move.number)
            return ("planned", 0) if arrived is None else (_WORDS[arrived.state], arrived.keys)
        mover = self._movers.get(move.source)
        if mover is None:
            return "elsewhere", 0
        sent = mover[0].sent(move.id)
        return ("planned", 0) if sent is None else ("copying", sent)

    def _source_state(self, move: PlannedMove) -> int:
        """The state of the slots of a move at its source, which has all of them or none."""
        table = self._table(move.source)
        return SlotState.OWN if table is None else table.within(move.first, move.last)[0].state

    def _expected(self, move: PlannedMove) -> int:
        """How many keys the slots of a move have.

        The leader of the source counts them while it copies. Elsewhere it is a guess: as many for each slot
        as all that the source has.
        """
        replica = self._groups.get(move.source)
        if replica is None:
            return 0
        space, (first, last) = replica.state.machine.keyspace, self._slots.share(move.source)
        if space.slot_index is not None:
            return space.slot_index.count(move.first, move.last)
        owned = last - first + 1 if space.slots is None else space.slots.count
        return len(space) * (move.last - move.first + 1) // max(1, owned)

    def _table(self, group: int) -> SlotTable | None:
        replica = self._groups.get(group)
        return None if replica is None else replica.state.machine.keyspace.slots

    # -- for the host ---------------------------------------------------------------------------------

    @property
    def active(self) -> bool:
        """Whether a move is not over, as far as this node knows."""
        return self._slots.plan is not None or self._slots.view is not None or bool(self._movers)

    def tick(self, awake: Iterable[Group]) -> None:
        """One tick of the host passed: in the groups led here, go on with their moves.

        The groups out of which a move is planned are woken; a group that is part of one does not hibernate.
        """
        movers = self._movers
        if not self.active:
            return
        self._wake(self._slots.sources)
        for group in awake:
            if group.id not in movers and self._is_led(group):
                movers[group.id] = self._made(group)
        for id_, (mover, sweeper) in tuple(movers.items()):
            group = self._groups[id_]
            leads = group.raft.state.leads_with_commit
            mover.tick(leads=leads)
            sweeper.tick(leads=leads)
            if mover.is_idle and sweeper.is_idle and not self._is_led(group):
                del movers[id_]

    def _is_led(self, group: Group) -> bool:
        """Whether a group is part of a move, and led here."""
        moving = self._slots.is_moving(group.id, group.state.machine.keyspace)
        return moving and group.raft.state.leads_with_commit

    def _made(self, group: Group) -> tuple[Mover, Sweeper]:
        context = self._context
        source = MoveSource(
            group.id,
            group.state,
            self._slots,
            self._requests,
            self._indexes,
            context.clock,
            self.counts,
            context.observer,
            self._throttle,
            min(IMPORT_BYTES, self._batch_bytes),
        )
        return Mover(source), Sweeper(source)


_WORDS: dict[int, str] = {MoveState.OPEN: "copying", MoveState.ACTIVE: "active", MoveState.SWEEP: "cancelled"}
