"""The incoming connections in handshake, and which of them gives way to a new one.

Their number is limited, because each costs a descriptor and some memory before it has proved anything. Silent
strangers must not keep a member away, so a new connection is always let in, and if there are too many the one
with the least right to its place gives way:

* Strangers never take the places reserved for the addresses of members. A connection from a member's address
  may be that member, even if others share the address, as behind NAT or on loopback.
* One address of strangers has its own share, so that it cannot drive out the others.
* Among those that compete for a place, silent connections give way first, the oldest before the others, then
  those that have greeted, then those whose first word shows that they know the secret. A connection that has
  proved the secret never gives way.

A connection competes only after its first bytes could be read, two turns of the reactor after it was
accepted: on a busy machine many are accepted in one turn, and a member among them has greeted already. Few
are accepted in a turn (`tcp.accept_limit`), so none has to be refused.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from twisted.internet.interfaces import IReactorTime

from kraft.transport.limits import LinkLimits


class Standing(IntEnum):
    """How far a connection in handshake has come."""

    SILENT = 0
    GREETED = 1
    VOUCHED = 2  # knows the secret, or repeats the first word of one that does
    PROVED = 3


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

    def __init__(self, limits: LinkLimits, members: MemberAddresses, clock: IReactorTime) -> None:
        self._limits = limits
        self._members = members
        self._clock = clock
        self._fresh: dict[Handshaking, str] = {}  # of this turn; with the IP address, '' for none
        self._unread: dict[Handshaking, str] = {}  # of the turn before: they can be read in this one
        self._competing: dict[Handshaking, _Origin] = {}
        self._waits = False  # for the next turn

    def __iter__(self) -> Iterator[Handshaking]:
        return iter((*self._fresh, *self._unread, *self._competing))

    def add(self, connection: Handshaking, ip: str) -> None:
        """Let in `connection` from `ip`, '' if it has none."""
        self._fresh[connection] = ip
        self._await_turn()

    def remove(self, connection: Handshaking) -> None:
        """`connection` is open, or gone."""
        for place in (self._fresh, self._unread, self._competing):
            place.pop(connection, None)

    def _await_turn(self) -> None:
        if not self._waits:
            self._waits = True
            self._clock.callLater(0, self._next_turn)

    def _next_turn(self) -> None:
        """Those accepted two turns ago compete now."""
        self._waits = False
        read, self._unread, self._fresh = self._unread, self._fresh, {}
        if self._unread:
            self._await_turn()
        for connection, ip in read.items():
            self._compete(connection, ip)

    def _compete(self, newest: Handshaking, ip: str) -> None:
        """Another connection may have to give way to `newest`, or this one if all others are proved."""
        origin = self._competing[newest] = _Origin(ip, self._members.is_member_at(ip))
        rivals = self._rivals(origin)
        if not rivals:
            return
        others = [rival for rival in rivals if rival is not newest and rival.standing < Standing.PROVED]
        loser = min(others, key=lambda rival: rival.standing, default=newest)
        del self._competing[loser]
        loser.abort("gave way to a newer connection: too many are in handshake")

    def _rivals(self, newest: _Origin) -> list[Handshaking]:
        """The connections of which one has to give way, the oldest first; none if all have a place."""
        limits, origins = self._limits, self._competing
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
