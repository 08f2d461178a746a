"""Which group owns a key: hash slots as in Redis Cluster, split evenly over the groups."""

SLOTS = 16_384


class SlotMap:
    """The slot map of a node: `groups` contiguous ranges, group 0 first."""

    def __init__(self, groups: int = 1) -> None:
        self.groups = groups

    def group_of(self, slot: int) -> int:
        """The group that owns `slot` (0 to 16,383)."""
        return slot * self.groups // SLOTS

    def ranges(self) -> list[tuple[int, int, int]]:
        """(first slot, last slot, group) of every group, ascending and without gaps."""
        bounds = [-(-group * SLOTS // self.groups) for group in range(self.groups + 1)]
        return [(bounds[g], bounds[g + 1] - 1, g) for g in range(self.groups)]
