"""The commands on locks: KRAFT LOCK, UNLOCK, EXTEND, and KRAFT GUARD in front of a command that writes."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import msgspec

from kraft.kv import commands as kv
from kraft.kv.commands import Expiry
from kraft.resp.values import Reply, Request
from kraft.server.commands.arguments import integer
from kraft.server.commands.options import positive_ms
from kraft.server.commands.prefix import prefixed
from kraft.server.commands.spec import ScriptSpec, WriteSpec
from kraft.server.errors import SYNTAX, Rejected

GUARDED_PLACE = 4  # of the command after KRAFT GUARD name token

WAIT_PLACES = (4, 6)  # of the option WAIT in KRAFT LOCK
WAIT_MS_MAX = 86_400_000  # a day

_MALFORMED = "ERR a token is a positive integer: the reply of KRAFT LOCK"


def lock(request: Request) -> kv.Lock:
    """KRAFT LOCK key milliseconds [OWNER owner]."""
    ttl_ms = positive_ms(request[3], 1, Expiry.RELATIVE, "kraft|lock")
    if len(request) == 4:
        return kv.Lock(request[2], ttl_ms)
    if len(request) != 6 or request[4].upper() != b"OWNER":
        raise Rejected(SYNTAX)
    if not request[5]:
        raise Rejected("ERR an owner is not empty")
    return kv.Lock(request[2], ttl_ms, request[5])


def lock_and_wait(request: Request) -> tuple[kv.Lock, float]:
    """KRAFT LOCK key milliseconds [OWNER owner] WAIT milliseconds, or with the options in the other order."""
    place = WAIT_PLACES[0] if request[WAIT_PLACES[0]].upper() == b"WAIT" else WAIT_PLACES[1]
    if len(request) < place + 2:
        raise Rejected(SYNTAX)
    wait_ms = integer(request[place + 1])
    if not 0 <= wait_ms <= WAIT_MS_MAX:
        raise Rejected(f"ERR WAIT is from 0 to {WAIT_MS_MAX} milliseconds")
    return lock(request[:place] + request[place + 2 :]), wait_ms / 1000


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


def guarded(guard: WriteSpec, specs: Iterable[WriteSpec | ScriptSpec]) -> dict[bytes, WriteSpec | ScriptSpec]:
    """The specifications of GUARD in front of each command, by the command's name in upper case."""
    return {
        spec.name.upper().encode(): replace(prefixed(spec, guard.name, GUARDED_PLACE, _guarded), lock=2)
        for spec in specs
    }


def _guarded(request: Request, command: kv.Command) -> kv.Command:
    if type(command) is kv.ScriptCall:
        return msgspec.structs.replace(command, lock=request[2], token=_token(request))
    inner: Any = command  # every kind that may be guarded: see `guarded`
    return kv.Guarded(request[2], _token(request), inner)


def _token(request: Request) -> int:
    token = integer(request[3], _MALFORMED)
    if token <= 0:
        raise Rejected(_MALFORMED)
    return token
