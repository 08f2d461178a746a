"""From keys to slots and groups, and to the node that redirect mode sends a client to."""

import binascii
from collections.abc import Sequence

from kraft.host.slots import SLOTS
from kraft.server.errors import CROSS_SLOT, Rejected
from kraft.server.ports import NodeHost


def slot_of(key: bytes) -> int:
    """CRC16 (XMODEM) modulo 16384 of the key, or of its hash tag.

    The hash tag is the part between the first `{` and the next `}`, if it is not empty (Redis Cluster
    specification, "Hash tags").
    """
    start = key.find(b"{")
    if start >= 0:
        end = key.find(b"}", start + 1)
        if end > start + 1:
            key = key[start + 1 : end]
    return binascii.crc_hqx(key, 0) % SLOTS


class Routing:
    """Finds the group of a request. `trivial` means that every request is group 0's and is served here."""

    def __init__(self, host: NodeHost, *, redirect: bool) -> None:
        self._host = host
        self.redirect = redirect
        self.trivial = not redirect and len(host.slots.ranges()) == 1

    def group_of(self, keys: Sequence[bytes], *, anywhere: bool) -> int:
        """The group that owns `keys`; group 0 without keys.

        `anywhere` means that any replica may serve the request. Raises Rejected: CROSSSLOT when two groups
        own the keys; in redirect mode MOVED or CLUSTERDOWN when this node does not lead the group.
        """
        if not keys:
            return 0
        slot = slot_of(keys[0])
        group = self._host.slots.group_of(slot)
        for key in keys[1:]:
            if self._host.slots.group_of(slot_of(key)) != group:
                raise Rejected(CROSS_SLOT)
        if self.redirect and not anywhere:
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
