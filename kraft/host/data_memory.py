"""The memory that the data of a node takes, and whether this node or the leader has none left."""

from collections.abc import Mapping

from kraft.host.group.group import Group
from kraft.peerwire.messages import NodeCondition


class DataMemory:
    """`bytes` is the memory of the data of all groups here, as of the last tick or `measure`.

    `full` is set by the client port: this node admits no write that needs memory. `leader_full` is the same
    of the node that leads, as of the last tick.
    """

    __slots__ = ("_groups", "bytes", "full", "leader_full")

    def __init__(self, groups: Mapping[int, Group]) -> None:
        self._groups = groups
        self.bytes = 0
        self.full = False
        self.leader_full = False

    def measure(self) -> int:
        """Bring `bytes` up to date, and return it."""
        self.bytes = sum(group.state.machine.keyspace.memory for group in self._groups.values())
        return self.bytes

    def tick(self, leader: NodeCondition | None) -> None:
        """One tick of the host passed; `leader` is the condition of the leader, None if it is unknown."""
        self.measure()
        self.leader_full = leader is not None and leader.memory_full
