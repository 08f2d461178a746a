"""KEYS and SCAN in a script: all keys at once, without an index, as nothing changes while a script runs."""

from collections.abc import Callable

from kraft.glob import Match
from kraft.kv.overlay import Overlay
from kraft.resp.values import Reply, Request
from kraft.server.commands import scan
from kraft.server.lua.runtime import LimitReached
from kraft.server.port import ClientPort

KEY_SCANS = frozenset({"keys", "scan"})
"""The names of the commands."""

WATCHED_BYTES = 24  # of a `Watched` in an entry of the log, at most, without its key


def key_scan(
    name: str, request: Request, overlay: Overlay, port: ClientPort, used: Callable[[int], None]
) -> Reply:
    """The reply to KEYS, or to SCAN, which finds all keys from cursor 0 on, whatever COUNT is.

    Keys that are found count as looked at, so all of them are logged: `used` gets the bytes of each before
    that, and may raise Rejected. Raises Rejected also if an argument is wrong, and LimitReached if
    `scripts.time` is over before all keys were seen.
    """
    clock = port.clock
    until = clock.seconds() + port.config.scripts.time

    def late() -> bool:
        return clock.seconds() > until

    if name == "keys":
        return _found(overlay, scan.keys(request).match, late, used)
    wanted = scan.scan(request)
    none = wanted.nothing or wanted.cursor != 0
    return [b"0", [] if none else _found(overlay, wanted.match, late, used)]


def _found(
    overlay: Overlay, match: Match | None, late: Callable[[], bool], used: Callable[[int], None]
) -> list[Reply]:
    found: list[Reply] = []
    for number, key in enumerate(overlay.names()):
        if (match is None or match(key)) and (overlay.slots is None or overlay.slots.shows(key)):
            used(len(key) + WATCHED_BYTES)
            overlay.machine.keyspace.records.get(key)
            found.append(key)
        if number % scan.WALK_KEYS == 0 and late():
            raise LimitReached("time")
    return found
