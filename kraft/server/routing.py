"""From keys to slots and groups, and where redirect mode sends a client."""

import binascii

from kraft.host.slots import SLOTS
from kraft.resp.values import Request
from kraft.server.commands.spec import READ, CommandSpec
from kraft.server.errors import CROSS_SLOT, Rejected
from kraft.server.ports import Host


def slot_of(key: bytes) -> int:
    """CRC16 (XMODEM) of the key, or of what is between the first `{` and the next `}` if anything is."""
    start = key.find(b"{")
    if start >= 0:
        end = key.find(b"}", start + 1)
        if end > start + 1:
            key = key[start + 1 : end]
    return binascii.crc_hqx(key, 0) % SLOTS


class Routing:
    """Finds the group of a request. `trivial` is True when every request is group 0's and served here."""

    def __init__(self, host: Host, *, redirect: bool) -> None:
        self._host = host
        self.redirect = redirect
        self.trivial = not redirect and len(host.slots.ranges()) == 1

    def group_of(self, row: CommandSpec, request: Request, readonly: bool) -> int:
        """The group to ask. Raises Rejected: CROSSSLOT, and in redirect mode MOVED or CLUSTERDOWN.

        A connection in READONLY mode may read from any replica.
        """
        keys = row.keys_of(request)
        if not keys:
            return 0
        slot = slot_of(keys[0])
        group = self._host.slots.group_of(slot)
        for key in keys[1:]:
            if self._host.slots.group_of(slot_of(key)) != group:
                raise Rejected(CROSS_SLOT)
        if self.redirect and not (readonly and row.kind == READ):
            self._check_leads(group, slot)
        return group

    def _check_leads(self, group: int, slot: int) -> None:
        leader = self._host.leader(group)
        if leader == self._host.id:
            return
        address = self._host.client_address(leader) if leader else ""
        if not address:
            raise Rejected(f"CLUSTERDOWN No leader for group {group}")
        raise Rejected(f"MOVED {slot} {address}")
