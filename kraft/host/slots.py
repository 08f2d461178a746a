"""Which group owns a slot at first: the slots are divided evenly among the groups."""

from kraft.kv.slots import SLOTS


class SlotMap:
    """`groups` contiguous ranges of slots, group 0 first.

    A node that joins a cluster takes its number of groups. Nobody is served before, so that number is the
    only one which a request ever sees.
    """

    def __init__(self, groups: int = 1) -> None:
        self.groups = groups

    def group_of(self, slot: int) -> int:
        """The id of the group that owns `slot` (0 to 16,383)."""
        return slot * self.groups // SLOTS

    def ranges(self) -> list[tuple[int, int, int]]:
        """The (first slot, last slot, group) of every group, in ascending order and without gaps."""
        bounds = [-(-group * SLOTS // self.groups) for group in range(self.groups + 1)]
        return [(bounds[g], bounds[g + 1] - 1, g) for g in range(self.groups)]
