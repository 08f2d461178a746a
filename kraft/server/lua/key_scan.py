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


def key_scan(name: str, request: Request, overlay: Overlay, port: ClientPort) -> Reply:
    """The reply to KEYS, or to SCAN, which finds all keys from cursor 0 on, whatever COUNT is.

    Keys that are found count as looked at. Raises Rejected if an argument is wrong, and LimitReached if
    `scripts.time` is over before all keys were seen.
    """
    clock = port.clock
    until = clock.seconds() + port.config.scripts.time

    def late() -> bool:
        return clock.seconds() > until

    if name == "keys":
        return _found(overlay, scan.keys(request).match, late)
    wanted = scan.scan(request)
    none = wanted.nothing or wanted.cursor != 0
    return [b"0", [] if none else _found(overlay, wanted.match, late)]


def _found(overlay: Overlay, match: Match | None, late: Callable[[], bool]) -> list[Reply]:
    found: list[Reply] = []
    for number, key in enumerate(overlay.names()):
        if (match is None or match(key)) and (overlay.slots is None or overlay.slots.shows(key)):
            overlay.machine.keyspace.records.get(key)
            found.append(key)
        if number % scan.WALK_KEYS == 0 and late():
            raise LimitReached("time")
    return found
