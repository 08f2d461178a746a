"""Which group owns a slot, as this node knows it."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from kraft.kv.created_groups import created_count
from kraft.kv.keyspace import Keyspace
from kraft.kv.slot_map import MapRange, MapState, saved_map, static_ranges
from kraft.kv.slots import SLOTS, SlotState, SlotTable, slot_of


@dataclass(frozen=True, slots=True)
class SlotView:
    """The `owners` by slot, and the number of the last move of the slot that each has seen, 0 for none.

    `ranges` are the same as (first slot, last slot, group), ascending and without gaps.
    """

    owners: Sequence[int]
    epochs: Sequence[int]
    ranges: tuple[tuple[int, int, int], ...]


class SlotMap:
    """The slots of a cluster that was formed with `founded` groups: divided evenly, until some of them move.

    `groups` counts all groups of the cluster, as far as this node knows: those that were created later as
    well. A node that joins a cluster takes its numbers. Nobody is served before, and then the number only
    grows. `plan` is the map in group 0, None before the first move; `sources` are the groups out of which it
    plans a move. `view` is what this node has learned from these, from the states of its replicas, and from
    the replies that tell of a move, None if that is nothing. A replica may lag, so an owner may be one of
    before: the state of its group decides. `changes` counts the views, of which the `watchers` hear, by their
    group.
    """

    def __init__(self, founded: int = 1, created: int = 0) -> None:
        self.founded = founded
        self.groups = founded + created
        self.changes = 0
        self.plan: MapState | None = None
        self.sources: frozenset[int] = frozenset()
        self.view: SlotView | None = None
        self.watchers: dict[int, Callable[[], None]] = {}

    def join(self, founded: int) -> None:
        """The node is in a cluster that was formed with so many groups."""
        self.founded = self.groups = founded

    @property
    def version(self) -> int:
        """The version of the map in group 0: 0 until a move has taken place."""
        return 0 if self.plan is None else self.plan.version

    def group_of(self, slot: int) -> int:
        """The id of the group that owns `slot` (0 to 16,383)."""
        view = self.view
        return self.first_owner(slot) if view is None else view.owners[slot]

    def first_owner(self, slot: int) -> int:
        """The id of the group that owned `slot` when the cluster was formed."""
        return slot * self.founded // SLOTS

    def ranges(self) -> list[tuple[int, int, int]]:
        """The (first slot, last slot, group) of all slots, in ascending order and without gaps.

        A group that owns no slot is not there; one may be there several times.
        """
        if self.view is not None:
            return list(self.view.ranges)
        return [(each.first, each.last, each.group) for each in static_ranges(self.founded)]

    def share(self, group: int) -> tuple[int, int]:
        """The first and the last slot that the group had when the cluster was formed, (0, -1) if none."""
        found = static_ranges(self.founded)
        return (found[group].first, found[group].last) if group < len(found) else (0, -1)

    def is_moving(self, group: int, keyspace: Keyspace) -> bool:
        """Whether a move out of `group` is planned, or one is not over in its `keyspace`."""
        table = keyspace.slots
        return group in self.sources or (table is not None and table.is_moving)

    def follow(self, group: int, keyspace: Keyspace) -> None:
        """What the replica of `group` knows of slots or groups has changed: learn from it."""
        if group == 0:
            self.groups = max(self.groups, self.founded + created_count(keyspace.ledger))
            self.plan = plan = saved_map(keyspace.ledger)
            self.sources = frozenset([move.source for move in (plan.moves if plan else ())])
            self._learn(plan.ranges if plan else ())
        if keyspace.slots is not None:
            self._learn(_claims(group, keyspace.slots))

    def taken(self, group: int, first: int, last: int, number: int) -> None:
        """`group` has these slots by the move `number`, says its leader: the replica here may be late."""
        self._learn((MapRange(first, last, group, number),))

    def taken_from(self, group: int, table: SlotTable, names: Iterable[object]) -> bool:
        """Whether another group has a slot of `names` that is frozen in the `table` of `group`.

        Then it is not thawed any more: a receiver that has taken slots over does not cancel their move.
        """
        frozen = [each for each in names if isinstance(each, bytes) and table.state(each) == SlotState.FROZEN]
        return any(self.group_of(slot_of(key)) != group for key in frozen)

    def _learn(self, claims: Iterable[MapRange]) -> None:
        """The group that claims a slot by the latest move has it.

        The map in group 0 makes claims as well, later than the replicas: for groups without one here.
        """
        if self.view is None:
            owners, epochs = list(map(self.first_owner, range(SLOTS))), [0] * SLOTS
        else:
            owners, epochs = list(self.view.owners), list(self.view.epochs)
        changed = False
        for claim in claims:
            first, end = claim.first, claim.last + 1
            if min(epochs[first:end]) >= claim.epoch:
                continue
            for slot in range(first, end):
                if epochs[slot] < claim.epoch:
                    changed = True
                    owners[slot], epochs[slot] = claim.group, claim.epoch
        if changed:
            self.changes += 1
            self.view = SlotView(tuple(owners), tuple(epochs), _ranges(owners))
            for learned in tuple(self.watchers.values()):
                learned()


def _claims(group: int, table: SlotTable) -> list[MapRange]:
    """What a replica claims. That a slot is gone is no claim: it may have gone on from there."""
    parts = [part for part in table.ranges if part.state != SlotState.GONE]
    return [MapRange(part.first, part.last, group, part.epoch) for part in parts]


def _ranges(owners: Sequence[int]) -> tuple[tuple[int, int, int], ...]:
    found, first = [], 0
    for group, same in groupby(owners):
        last = first + sum(1 for _ in same) - 1
        found.append((first, last, group))
        first = last + 1
    return tuple(found)
