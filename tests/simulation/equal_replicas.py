"""Whether replicas of one group are equal where they have applied the same entries."""

from typing import TYPE_CHECKING

from kraft.host.group.group import Group
from kraft.kv.checkpoint import Checkpoint
from tests.simulation.violation import Violation, demand

if TYPE_CHECKING:
    from tests.simulation.process import Process


class EqualReplicas:
    """Compares the states of replicas at equal applied indexes, and their checkpoints."""

    def __init__(self) -> None:
        # (group, applied) -> stamp, revision, version, keys and ledger, and the first node that was there
        self._states: dict[tuple[int, int], tuple[tuple[object, ...], str]] = {}
        # (group, index) -> checkpoint, and the first node that took it
        self._checkpoints: dict[tuple[int, int], tuple[Checkpoint, str]] = {}
        # (group, revision) -> the lowest index at which a replica was seen with it
        self._revisions: dict[tuple[int, int], int] = {}

    def index_of(self, group: int, revision: int) -> int:
        """The lowest index at which a replica was seen with this revision."""
        return self._revisions[(group, revision)]

    def compare_state(self, process: "Process", group: Group) -> None:
        """Demand that replicas have the same data at the same applied index, whenever they reached it."""
        machine, place = group.state.machine, (group.id, group.state.index)
        numbers = (machine.stamp, machine.revision, machine.version)
        records, rows = machine.keyspace.records, machine.keyspace.ledger.rows
        known = self._states.get(place)
        if known is None:
            self._states[place] = ((numbers, dict(records), dict(rows)), process.id)
            before = self._revisions.get((group.id, machine.revision), place[1])
            self._revisions[(group.id, machine.revision)] = min(before, place[1])
            return
        expected, other = known
        demand((numbers, records, rows) == expected, f"{process.id} and {other} differ at index {place[1]}")

    def compare_checkpoint(self, process: "Process", group: Group) -> None:
        """Demand equal checkpoints at one index, sums included."""
        checkpoint = group.checkpoints.last
        if checkpoint is None:
            return
        expected, other = self._checkpoints.setdefault(
            (group.id, checkpoint.base.index), (checkpoint, process.id)
        )
        if checkpoint is not expected and checkpoint != expected:
            raise Violation(f"the checkpoints of {process.id} and {other} differ: {checkpoint}, {expected}")
