"""Where the clients of a run have their keys: in *homes*, each of which is in one group at a time.

As long as no slots move, each group is one home, and every key of a client is in all of them, whatever its
slot is. With moves, a home is a hash tag: its keys have one slot, whose group changes. Clients, histories and
models know the names of keys without the tag.
"""

from collections.abc import Sequence
from itertools import count
from random import Random
from typing import TYPE_CHECKING, Any

import msgspec

from kraft.host.requests.round import View
from kraft.kv.excerpt import Excerpt
from kraft.kv.record import Record
from kraft.kv.slot_map import static_ranges
from kraft.kv.slots import SlotTable, slot_of

if TYPE_CHECKING:
    from kraft.host.host import Host

MISTAKEN = 0.03  # how often a client asks any group, where slots move
TAGS = 2  # homes that are in each group at the beginning

Place = tuple[int, int]
"""The epoch of a home's slot, and an index of the log of the group that has it then: ascending in time."""


class Homes:
    """The homes of a cluster with `groups` groups. If `moving`, home number h begins in group h // TAGS."""

    def __init__(self, groups: int, *, moving: bool) -> None:
        self.moving = moving
        self._tags = [tag for group in range(groups) for tag in _tags(groups, group)] if moving else []
        self.slots = tuple([slot_of(tag) for tag in self._tags])
        self._homes = {slot: home for home, slot in enumerate(self.slots)}
        self.count = len(self._tags) or groups

    def group(self, host: "Host", home: int) -> int:
        """The group that has a home, as a node knows it."""
        return host.slots.group_of(self.slots[home]) if self.moving else home

    def asked(self, host: "Host", home: int, random: Random) -> int:
        """The group to ask for a home: now and then another one that has had slots which moved.

        A group that has had none knows of no moves, and would not refuse.
        """
        if self.moving and random.random() < MISTAKEN:
            groups = host.groups.values()
            others = [each.id for each in groups if each.state.machine.keyspace.slots is not None]
            if others:
                return random.choice(others)
        return self.group(host, home)

    def key(self, home: int, name: bytes) -> bytes:
        """The key of that name."""
        return self._tags[home] + name if self.moving else name

    def keys(self, names: Sequence[bytes]) -> frozenset[bytes]:
        """The keys of these names in all homes."""
        return frozenset([self.key(home, name) for home in range(self.count) for name in names])

    def shown(self, table: SlotTable | None, group: int) -> list[int]:
        """The homes that a group has, by its table of slots."""
        if table is None:
            return [home for home in range(self.count) if home // TAGS == group]
        return [home for home in range(self.count) if table.shows(self._tags[home])]

    def home_of(self, key: bytes, group: int) -> int | None:
        """The home of a key that was written in a group; None if it is none of the clients'."""
        return self._homes.get(slot_of(key)) if self.moving else group

    def commands(self, home: int, commands: Sequence[Any]) -> list[Any]:
        """Commands on names as commands on keys."""
        return [self._tagged(self._tags[home], each) for each in commands] if self.moving else list(commands)

    def view(self, home: int, view: View) -> View:
        """What a read has found, by the names of the keys."""
        if not self.moving:
            return view
        tag, space = self._tags[home], view.keyspace
        found = {
            name: Record(name, record.value, record.revision, record.expires)
            for key, record in space.records.items()
            if key.startswith(tag)
            for name in (key[len(tag) :],)
        }
        return View(Excerpt(len(found), found), view.now_ms, view.revision)

    def place(self, host: "Host", home: int, group: int) -> Place:
        """Where a node's replica of the group is in the history of a home."""
        state = host.groups[group].state
        return self.epoch(state.machine.keyspace.slots, home), state.index

    def epoch(self, table: Any, home: int) -> int:
        """The number of the last move that a group knows of the slot of a home."""
        if table is None:
            return 0
        slot = self.slots[home]
        (part,) = table.within(slot, slot)
        return int(part.epoch)

    def _tagged(self, tag: bytes, value: Any) -> Any:
        """The same command, or part of one, with `tag` before each name of a key."""
        changed: dict[str, Any] = {}
        for field in value.__struct_fields__:
            part = getattr(value, field)
            if field in ("key", "name"):
                changed[field] = tag + part
            elif field == "keys":
                changed[field] = tuple([tag + key for key in part])
            elif field == "pairs":
                changed[field] = tuple([part if n % 2 else tag + part for n, part in enumerate(part)])
            elif field in ("watched", "read", "steps"):
                changed[field] = tuple([self._tagged(tag, each) for each in part])
            elif field == "command":
                changed[field] = self._tagged(tag, part)
        return msgspec.structs.replace(value, **changed)


def _tags(groups: int, group: int) -> list[bytes]:
    """Hash tags whose slots a group has at the beginning."""
    share = static_ranges(groups)[group]
    found: list[bytes] = []
    for number in count():
        tag = b"{%d}" % number
        if share.first <= slot_of(tag) <= share.last:
            found.append(tag)
            if len(found) == TAGS:
                return found
    return found
