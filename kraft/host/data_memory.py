"""The memory that the data of a node takes, and whether this node or the leader has none left."""

from collections.abc import Iterator, Mapping

from kraft.host.background import LONG, Background
from kraft.host.group.group import Group
from kraft.host.hibernation import Hibernation
from kraft.kv.garbage import Garbage
from kraft.peerwire.messages import NodeCondition

FREED_KEYS = 1024  # in one step, which takes about 0.3 ms


class DataMemory:
    """`bytes` is the memory of the data of all groups here, as of the last tick or `measure`.

    What a flush left is freed in the background. `full` is set by the client port: this node admits no write
    that needs memory. `leader_full` is the same of a node that leads a group, as of the last tick.
    """

    __slots__ = ("_background", "_freeing", "_groups", "_hibernation", "bytes", "full", "leader_full")

    def __init__(self, groups: Mapping[int, Group], hibernation: Hibernation, background: Background) -> None:
        self._groups = groups
        self._hibernation = hibernation
        self._background = background
        self._freeing: list[Garbage] = []
        self.bytes = 0
        self.full = False
        self.leader_full = False

    def measure(self) -> int:
        """Bring `bytes` up to date, and return it."""
        self.bytes = sum(group.state.machine.keyspace.memory for group in self._groups.values())
        return self.bytes

    def tick(self, leader: NodeCondition | None) -> None:
        """One tick of the host passed; `leader` is the condition of a leader that is full, if any."""
        held = self._hibernation.memory
        for group in self._hibernation.awake.values():
            space = group.state.machine.keyspace
            held += space.memory
            garbage = space.garbage
            if garbage and garbage not in self._freeing:
                self._freeing.append(garbage)
                self._background.add(self._freed(garbage))
        self.bytes = held
        self.leader_full = leader is not None and leader.memory_full

    def _freed(self, garbage: Garbage) -> Iterator[object]:
        """The steps that free it."""
        while garbage:
            yield LONG if garbage.free(FREED_KEYS) else None
        self._freeing.remove(garbage)
