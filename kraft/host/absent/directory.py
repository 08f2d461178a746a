"""Where the groups are that a node has no replica of, as their members tell it."""

from kraft.peerwire.messages import GroupPlace


class GroupDirectory:
    """The places of groups, by id. They are hints: a node that is asked in vain says so.

    Members tell a place after each change, and after each greeting. What comes later may be older, as members
    do not learn of a change at the same time: the highest term counts, and in it the last configuration.
    """

    def __init__(self) -> None:
        self.places: dict[int, GroupPlace] = {}

    def told(self, group: int, place: GroupPlace) -> bool:
        """A member tells where a group is. Returns whether that is news."""
        known = self.places.get(group)
        if known is not None and _order(known) >= _order(place):
            return False
        self.places[group] = place
        return True


def _order(place: GroupPlace) -> tuple[int, int, int]:
    return place.term, place.configuration, place.version
