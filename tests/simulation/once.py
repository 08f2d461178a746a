"""A counter in the simulator that is only incremented with KRAFT ONCE, and what it must reply.

A client that does not know whether its increment took effect sends it again with the same token, mostly to
another node, and sometimes sends one again that it knows of. The log shows the order and the stamps of all
attempts, so the model knows every reply exactly: which attempt was the first, and when a token is forgotten.
"""

from collections.abc import Callable
from random import Random
from typing import Any, NamedTuple

from kraft.kv.commands import Increment, Once
from kraft.kv.replies import CommandFailure
from tests.simulation.linearizability import FLUSH, READ, Operation, Outcome

COUNTED = b"o"
ONCE = "once"
TTLS_MS = (500, 3_000, 3_600_000)
AGAIN = {"done": 0.2, "refused": 0.7, "unknown": 0.7}  # how often an attempt is followed by another one


class Use(NamedTuple):
    """What an attempt sends: by how much the counter grows, and for how long the token is remembered."""

    token: bytes
    amount: int
    ttl_ms: int


def draw(random: Random, unique: bytes) -> Use:
    """An increment with a new token."""
    return Use(unique, random.randrange(1, 10), random.choice(TTLS_MS))


def command(use: Use, wrapped: Callable[[Increment], Any] = lambda increment: increment) -> Once:
    """The attempt as the client port would hand it to the host, perhaps `wrapped` as its client wants."""
    return Once(use.token, b"%016d" % use.amount, wrapped(Increment(COUNTED, use.amount)), use.ttl_ms)


class Remembered(NamedTuple):
    """A token with the first reply, until the stamp `expires`."""

    token: bytes
    amount: int
    reply: int
    expires: int


class CountedOnce(NamedTuple):
    """The counter after `writes` attempts; `total` is None if there is none."""

    writes: int
    total: int | None
    tokens: frozenset[Remembered]


NEVER_COUNTED = CountedOnce(0, None, frozenset())


def counted_once(state: CountedOnce, operation: Operation) -> list[Outcome]:
    """The model of the counter. The attempts are numbered, and have their stamps."""
    if operation.name == READ:
        return [(state, None if state.total is None else b"%d" % state.total)]
    if operation.number != state.writes + 1:
        return []
    state = state._replace(writes=operation.number)
    if operation.name == FLUSH:
        return [(state._replace(total=None), "OK")]
    return [_use(state, operation.argument, operation.stamp)]


def _use(state: CountedOnce, use: Use, stamp: int) -> tuple[CountedOnce, Any]:
    tokens = frozenset(known for known in state.tokens if known.expires > stamp)
    for known in tokens:
        if known.token == use.token:
            reply = known.reply if known.amount == use.amount else CommandFailure.TOKEN_REUSED
            return state._replace(tokens=tokens), reply
    total = (state.total or 0) + use.amount
    first = Remembered(use.token, use.amount, total, stamp + use.ttl_ms)
    return CountedOnce(state.writes, total, tokens | {first}), total
