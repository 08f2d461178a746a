"""What a request does to its keys, as flags of Redis (`RW access update`) and as rights that it needs."""

from collections.abc import Sequence

from kraft.acl.user import READ, WRITE
from kraft.resp.values import Request
from kraft.server.commands.options import COMPARISONS

KeyFlags = tuple[tuple[str, ...], ...]

_CHANGES = frozenset(("insert", "delete", "update"))
_READING = frozenset((b"GET", *COMPARISONS))


def key_flags_of(name: str, flags: KeyFlags, request: Request) -> KeyFlags:
    """The flags of a request's keys: SET, BITFIELD and DELEX do by their options what they do."""
    if name == "set":
        reads = not _READING.isdisjoint([word.upper() for word in request[3:]])
        return (("RW", "access", "update") if reads else ("OW", "update"),)
    if name == "bitfield":
        writes = not {b"SET", b"INCRBY"}.isdisjoint([word.upper() for word in request[2:]])
        return (("RW", "access", "update") if writes else ("RO", "access"),)
    if name == "delex":
        return (("RW", "access", "delete") if len(request) > 2 else ("RM", "delete"),)
    return flags


def needed_access(flags: KeyFlags) -> tuple[int, ...]:
    """READ, WRITE or both for each kind of keys; 0 for a key of which only the existence shows."""
    return tuple(
        (READ if "access" in each else 0) | (0 if _CHANGES.isdisjoint(each) else WRITE) for each in flags
    )


def access_by_options(name: str, flags: KeyFlags, request: Request) -> Sequence[int]:
    """The same for a request whose options decide about it."""
    return needed_access(key_flags_of(name, flags, request))
