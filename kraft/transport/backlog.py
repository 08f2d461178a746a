"""The incoming connections in handshake, and which of them gives way to a new one.

Their number is limited, because each costs a descriptor and some memory before it has proved anything. Silent
strangers must not keep a member away, so a new connection is always let in, and if there are too many the one
with the least right to its place gives way:

* Strangers never take the places reserved for the addresses of members. A connection from a member's address
  may be that member, even if others share the address, as behind NAT or on loopback.
* One address of strangers has its own share, so that it cannot drive out the others.
* Among those that compete for a place, silent connections give way first, the oldest before the others, then
  those that have greeted. A connection that has proved the secret never gives way.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from kraft.transport.limits import LinkLimits


class Standing(IntEnum):
    """How far a connection in handshake has come."""

    SILENT = 0
    GREETED = 1
    PROVED = 2


class Handshaking(Protocol):
    """A connection in handshake."""

    @property
    def standing(self) -> Standing:
        """How far it has come."""

    def abort(self, reason: str) -> None:
        """Close at once."""


class MemberAddresses(Protocol):
    """Knows where the members are."""

    def is_member_at(self, ip: str) -> bool:
        """Whether a member has this IP address, as far as known."""


@dataclass(frozen=True, slots=True)
class _Origin:
    ip: str
    is_member: bool


class Backlog:
    """The connections in handshake, the oldest first."""

    def __init__(self, limits: LinkLimits, members: MemberAddresses) -> None:
        self._limits = limits
        self._members = members
        self._connections: dict[Handshaking, _Origin] = {}

    def __iter__(self) -> Iterator[Handshaking]:
        return iter(tuple(self._connections))

    def add(self, connection: Handshaking, ip: str) -> None:
        """Let in `connection` from `ip` ('' if it has none).

        Another one may have to give way, or this one if all others are proved.
        """
        origin = self._connections[connection] = _Origin(ip, self._members.is_member_at(ip))
        rivals = self._rivals(origin)
        if not rivals:
            return
        others = [rival for rival in rivals if rival is not connection and rival.standing < Standing.PROVED]
        loser = min(others, key=lambda rival: rival.standing, default=connection)
        del self._connections[loser]
        loser.abort("gave way to a newer connection: too many are in handshake")

    def remove(self, connection: Handshaking) -> None:
        """`connection` is open, or gone."""
        self._connections.pop(connection, None)

    def _rivals(self, newest: _Origin) -> list[Handshaking]:
        """The connections of which one has to give way, the oldest first; none if all have a place."""
        limits, origins = self._limits, self._connections
        strangers = [each for each, origin in origins.items() if not origin.is_member]
        if not newest.is_member:
            same = [each for each in strangers if origins[each].ip == newest.ip]
            if len(same) > limits.address_links:
                return same
            if len(strangers) > limits.stranger_links:
                return strangers
        if len(origins) > limits.greeting_links:
            return strangers or list(origins)
        return []
