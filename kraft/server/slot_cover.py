"""What the groups had of the slots when a command looked at one after the other.

A slot may move between two looks. Then the command has met its keys in neither group, or in both.
"""

from kraft.host.slots import SlotMap
from kraft.kv.keyspace import Keyspace
from kraft.kv.slot_map import static_ranges
from kraft.kv.slots import SlotRange, SlotState


class SlotCover:
    """The slots of the groups that were looked at."""

    def __init__(self) -> None:
        self._seen: dict[int, list[SlotRange] | None] = {}

    def saw(self, group: int, keyspace: Keyspace) -> None:
        """A command looks at the group now."""
        self._seen[group] = None if keyspace.slots is None else keyspace.slots.ranges

    def saw_elsewhere(self, group: int, ranges: list[SlotRange] | None) -> None:
        """As `saw`, of a group that another node has looked at: it had these slots."""
        self._seen[group] = ranges

    def is_exact(self, slots: SlotMap, wanted: tuple[int, int]) -> bool:
        """Whether each of the `wanted` slots (the first and the last) was in exactly one of the groups.

        If no slot of any group has ever moved, that is so.
        """
        if not any(self._seen.values()):
            return True
        first, last = wanted
        following = first
        for low, high in sorted(self._parts(slots)):
            if low <= last and first <= high:
                if max(low, first) != following:
                    return False
                following = min(high, last) + 1
        return following > last

    def _parts(self, slots: SlotMap) -> list[tuple[int, int]]:
        """The first and the last slot of each part, group by group."""
        static = static_ranges(slots.founded)
        parts: list[tuple[int, int]] = []
        for group, ranges in self._seen.items():
            if ranges is not None:
                parts += [(part.first, part.last) for part in ranges if part.state != SlotState.GONE]
            elif group < len(static):
                parts.append((static[group].first, static[group].last))
        return parts
