"""The commands on locks: KRAFT LOCK, UNLOCK, EXTEND, and KRAFT GUARD in front of a command that writes.

GUARD is a prefix, not an option of each command: one place says what it means, and it fits in front of every
command that is logged, without a change of its syntax.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from kraft.kv import commands as kv
from kraft.kv.commands import Expiry
from kraft.resp.values import Reply, Request
from kraft.server.commands.arguments import integer
from kraft.server.commands.options import positive_ms
from kraft.server.commands.spec import WriteSpec
from kraft.server.errors import SYNTAX, Rejected

GUARDED_PLACE = 4  # of the command after KRAFT GUARD name token

_MALFORMED = "ERR a token is a positive integer: the reply of KRAFT LOCK"


def lock(request: Request) -> kv.Command:
    """KRAFT LOCK name milliseconds [OWNER owner]."""
    ttl_ms = positive_ms(request[3], 1, Expiry.RELATIVE, "kraft|lock")
    owner = b""
    options = iter(request[4:])
    for option in options:
        value = next(options, None)
        if option.upper() != b"OWNER" or not value:
            raise Rejected(SYNTAX)
        owner = value
    return kv.Lock(request[2], ttl_ms, owner)


def given(reply: kv.Reply) -> Reply:
    """The shape of KRAFT LOCK: the token, None if another client holds the lock."""
    fields: Any = reply
    done, token, *_ = fields
    return token if done else None


def unlock(request: Request) -> kv.Command:
    """KRAFT UNLOCK name token."""
    return kv.Unlock(request[2], _token(request))


def extend(request: Request) -> kv.Command:
    """KRAFT EXTEND name token milliseconds."""
    return kv.Extend(request[2], _token(request), positive_ms(request[4], 1, Expiry.RELATIVE, "kraft|extend"))


def unguarded(request: Request) -> kv.Command:
    """KRAFT GUARD name token before something that is no command that writes."""
    _token(request)
    raise Rejected("ERR KRAFT GUARD name token is followed by a command that writes, such as SET key value")


def guarded(guard: WriteSpec, specs: Iterable[WriteSpec]) -> dict[bytes, WriteSpec]:
    """The specifications of GUARD in front of each command, by the command's name in upper case."""
    return {spec.name.upper().encode(): _guarded(guard, spec) for spec in specs}


def _guarded(guard: WriteSpec, spec: WriteSpec) -> WriteSpec:
    def run(request: Request) -> kv.Command:
        command: Any = spec.run(request[GUARDED_PLACE:])
        return kv.Guarded(request[2], _token(request), command)

    place, step = spec.counted
    first, last, every = spec.keys
    if first:
        first, last = first + GUARDED_PLACE, last + GUARDED_PLACE if last > 0 else last
    return replace(
        spec,
        name=guard.name,
        arity=spec.arity + (GUARDED_PLACE if spec.arity > 0 else -GUARDED_PLACE),
        keys=(first, last, every),
        counted=(place + GUARDED_PLACE, step) if place else spec.counted,
        group=guard.group,
        run=run,
    )


def _token(request: Request) -> int:
    token = integer(request[3], _MALFORMED)
    if token <= 0:
        raise Rejected(_MALFORMED)
    return token
