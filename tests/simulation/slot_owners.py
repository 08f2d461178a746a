"""Whether each slot has one owner, by the committed states of all groups, and whether moves have ended."""

from collections.abc import Iterable
from itertools import groupby
from typing import TYPE_CHECKING

from kraft.host.group.group import Group
from kraft.kv.slot_map import MapRange, static_ranges
from kraft.kv.slots import SlotRange, SlotState, SlotTable
from tests.simulation.violation import demand

if TYPE_CHECKING:
    from tests.simulation.cluster import SimulatedCluster


class SlotOwners:
    """What the groups know of slots, each as of the highest index that any of its replicas has applied."""

    def __init__(self, groups: int) -> None:
        tables = [SlotTable.initial(share.first, share.last) for share in static_ranges(groups)]
        self._tables = dict(enumerate(tables))
        self._indexes = dict.fromkeys(self._tables, 0)

    def look(self, group: Group) -> None:
        """A replica has applied entries."""
        table, index = group.state.machine.keyspace.slots, group.state.index
        if table is None or index <= self._indexes.get(group.id, 0):
            return
        self._indexes[group.id] = index
        known = self._tables.get(group.id)  # None: it was created later, and had no slots
        if known is None or table.ranges != known.ranges:
            self._tables[group.id] = SlotTable(table.ranges)
            self._demand_one_owner()

    def _demand_one_owner(self) -> None:
        """Demand that each slot has one owner, or is frozen in one group on its way to another one."""
        for slot in sorted({part.first for table in self._tables.values() for part in table.ranges}):
            parts = {group: table.within(slot, slot)[0] for group, table in self._tables.items()}
            owners = _in_state(parts.items(), SlotState.OWN)
            frozen = _in_state(parts.items(), SlotState.FROZEN)
            demand(len(owners) <= 1, f"groups {owners} own the slot {slot}")
            demand(len(frozen) <= 1, f"groups {frozen} have frozen the slot {slot}")
            demand(bool(owners or frozen), f"nobody has the slot {slot}")
            for group in frozen if owners else ():
                right = parts[group].peer == owners[0]
                demand(right, f"slot {slot} of group {group} is in group {owners[0]}")


def _in_state(parts: Iterable[tuple[int, SlotRange]], state: SlotState) -> list[int]:
    return [group for group, part in parts if part.state == state]


def _merged(ranges: Iterable[MapRange]) -> list[tuple[int, int, int]]:
    """First slot, last slot and group; those of one group that follow each other are joined."""
    found: list[tuple[int, int, int]] = []
    for group, same in groupby(ranges, lambda each: each.group):
        parts = list(same)
        found.append((parts[0].first, parts[-1].last, group))
    return found


def moves_left(cluster: "SimulatedCluster") -> str:
    """What is not over of moves of slots on the members of a cluster, '' if everything is."""
    hosts = {p.id: p.host for p in cluster.processes() if p.id in cluster.members()}
    newest = max((host.slots.version for host in hosts.values()), default=0)
    for id_, host in hosts.items():
        if host.slots.version < newest:
            return f"{id_} knows the map {host.slots.version}, and others {newest}"
        if plan := host.slots.plan:
            if plan.moves:
                return f"{id_} knows planned moves: {plan.moves}"
            if _merged(plan.ranges) != host.slots.ranges():
                return f"the map is {plan.ranges}, and {id_} knows {host.slots.ranges()}"
        for group in host.groups.values():
            table = group.state.machine.keyspace.slots
            if table is not None and (table.is_moving or table.hidden):
                left = [*table.moves.values(), *table.leaving]
                return f"{id_} has of moves in group {group.id}: {left}"
    return ""
