"""From keys to slots and groups, and to the node that redirect mode sends a client to."""

from collections.abc import Sequence

from kraft.kv.slots import slot_of
from kraft.server.errors import CrossSlot, Rejected
from kraft.server.ports import NodeHost


class Routing:
    """Finds the groups of a request.

    A node that joins a cluster learns the number of groups late (`SlotMap`), and it may grow, so nothing here
    remembers it.
    """

    def __init__(self, host: NodeHost, *, redirect: bool) -> None:
        self._host = host
        self.slots = host.slots
        self.redirect = redirect

    @property
    def trivial(self) -> bool:
        """Whether every request is group 0's, and is served here."""
        return self.slots.groups == 1 and not self.redirect

    def groups(self) -> list[int]:
        """The groups for which this node answers a command that concerns all groups, in ascending order.

        In redirect mode these are the groups that it leads: cluster clients ask every leader, and add up.
        A node that leads none answers for all.
        """
        groups = list(range(self.slots.groups))
        led = [group for group in groups if self.leads(group)] if self.redirect else []
        return led or groups

    def leads(self, group: int) -> bool:
        """Whether this node leads the group."""
        return self._host.leader(group) == self._host.id

    def group_of(self, keys: Sequence[bytes], *, anywhere: bool) -> int:
        """The group that owns `keys`; without keys the first one of `groups`.

        `anywhere` means that any replica may serve the request. Raises CrossSlot when two groups own the
        keys, and in redirect mode Rejected, MOVED or CLUSTERDOWN, when this node does not lead the group.
        """
        if not keys:
            return self.groups()[0] if self.redirect and self.slots.groups > 1 else 0
        slot = slot_of(keys[0])
        group = self.slots.group_of(slot)
        for key in keys[1:]:
            if self.slots.group_of(slot_of(key)) != group:
                raise CrossSlot
        if self.redirect and not anywhere:
            self._check_leads(group, slot)
        return group

    def group_of_key(self, key: bytes) -> int:
        """The group that owns `key`, whoever leads it."""
        return self.slots.group_of(slot_of(key))

    def _check_leads(self, group: int, slot: int) -> None:
        leader = self._host.leader(group)
        if leader == self._host.id:
            return
        address = self._host.client_address(leader) if leader else ""
        if not address:
            raise Rejected(f"CLUSTERDOWN No leader for group {group}")
        raise Rejected(f"MOVED {slot} {address}")
