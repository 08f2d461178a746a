"""The source of moves: its state, and what its leader needs to carry them out."""

from dataclasses import dataclass

from kraft.host.applied_state import AppliedState
from kraft.host.key_indexes import KeyIndexes
from kraft.host.moves.move_counts import MoveCounts
from kraft.host.ports import HostObserver
from kraft.host.slots import SlotMap
from kraft.host.snapshots.throttle import Throttle
from kraft.host.transactions.ports import GroupRequests
from kraft.kv.keyspace import Keyspace
from kraft.kv.slot_map import PlannedMove
from kraft.kv.slots import SlotRange
from kraft.node.ports import Clock

STEP_BYTES = 64  # of a step without rows, approximately
PAUSE_SECONDS_MAX = 0.1


@dataclass(frozen=True, slots=True)
class MoveSource:
    """The `group` out of which slots move. An Import has about `import_bytes` at most."""

    group: int
    state: AppliedState
    slots: SlotMap
    requests: GroupRequests
    indexes: KeyIndexes
    clock: Clock
    counts: MoveCounts
    observer: HostObserver
    throttle: Throttle
    import_bytes: int

    @property
    def keyspace(self) -> Keyspace:
        """The keys of the group as this node has applied them. A snapshot replaces it."""
        return self.state.machine.keyspace

    @property
    def planned(self) -> list[PlannedMove]:
        """The planned moves out of this group, in the order of their planning."""
        plan = self.slots.plan
        return [move for move in (plan.moves if plan else ()) if move.source == self.group]

    def parts(self, move: PlannedMove) -> list[SlotRange]:
        """The slots of a move as the group has them, in ascending order."""
        table = self.keyspace.slots
        return [] if table is None else table.within(move.first, move.last)

    def pause_after(self, begun: float) -> float:
        """How long to do nothing after a step that began then (monotonic seconds), for the sake of clients.

        Every node stores what moves, and a step takes the longer the busier they are. So what is copied and
        swept is under way for half of the time, and the other half is for others.
        """
        return min(self.clock.seconds() - begun, PAUSE_SECONDS_MAX)

    def event(self, name: str, move: PlannedMove, **more: object) -> None:
        """Report what happened to a move."""
        slots = f"{move.first}-{move.last}"
        facts = {"move": move.id, "slots": slots, "group": move.source, "receiver": move.receiver}
        self.observer.event(name, **facts, **more)
