"""Locks: keys with an expiry whose revision is a fencing token.

A lock is held as long as its key exists. The token is the revision that the key got when the lock was given:
the revision of the state machine only grows, and is part of checkpoints and snapshots, so no token comes
twice, and each is higher than all before it. Every other write to the key gives it another revision, or
removes it. Then the lock is lost, and its token is refused from there on. docs/locks.md has the reasons.
"""

from typing import ClassVar

import msgspec

from kraft.kv.commands.bits import BitCommand
from kraft.kv.commands.keys import KeyCommand
from kraft.kv.commands.prefix import Prefix
from kraft.kv.commands.strings import StringCommand

_SINCE = 3


class Lock(msgspec.Struct, frozen=True, array_like=True, tag=50, gc=False):
    """KRAFT LOCK: creates the key `name` with the value `owner`, for `ttl_ms` from the stamp on.

    Replies [given, token, expires, stamp]: 1 and the token, or 0 and the revision of the key that exists.
    `expires` is that of the key (Unix ms, 0 for never), `stamp` the time at which the command took place.

    If the key exists with the same `owner`, which is not empty, then the lock is given again with its present
    token, and its time begins anew: a client whose first reply was lost asks a second time.
    """

    since: ClassVar[int] = _SINCE
    name: bytes
    ttl_ms: int
    owner: bytes = b""


class Unlock(msgspec.Struct, frozen=True, array_like=True, tag=51, gc=False):
    """KRAFT UNLOCK: removes the key if `token` is its revision. Replies 1, else 0."""

    since: ClassVar[int] = _SINCE
    name: bytes
    token: int


class Extend(msgspec.Struct, frozen=True, array_like=True, tag=52, gc=False):
    """KRAFT EXTEND: the lock expires `ttl_ms` after the stamp, if `token` is held. Replies 1, else 0.

    This is the only change of a key that leaves its revision as it is: the token goes on.
    """

    since: ClassVar[int] = _SINCE
    name: bytes
    token: int
    ttl_ms: int


class Guarded(Prefix, frozen=True, array_like=True, tag=53, gc=False):
    """KRAFT GUARD: applies `command` if the lock `name` is held with `token`, and replies as it does.

    Replies CommandFailure.LOCK_LOST without effect otherwise.
    """

    since: ClassVar[int] = _SINCE
    name: bytes
    token: int
    command: StringCommand | KeyCommand | BitCommand | Lock | Unlock | Extend


LockCommand = Lock | Unlock | Extend | Guarded
