"""Locks in the simulator: what clients ask of a lock and of what it protects, and how a correct one answers.

A client takes the lock, does other things for a while, often for longer than the lock lasts, and then writes
with its token. Often it goes on using a token that it has lost. The histories treat the lock and the list
that it protects as one object. The log shows the order and the stamps of all writes, so the model knows every
reply exactly, except for new tokens: these must be higher than all before.
"""

from random import Random
from typing import Any, NamedTuple

from kraft.kv.commands import AppendValue, Extend, Guarded, Lock, Unlock
from kraft.kv.commands.lock import LockCommand
from kraft.kv.keyspace import Keyspace
from kraft.kv.replies import CommandFailure
from tests.simulation.linearizability import FLUSH, READ, Operation, Outcome
from tests.simulation.violation import Violation

LOCK = b"l"
PROTECTED = b"g"  # a list of elements such as "|7.3.12": with the token 7, by request 12 of client 3
TTLS_MS = (50, 300, 1_000, 3_000)
TAKE, EXTEND, FREE, GUARD = "lock", "extend", "unlock", "guard"
WAIT = "wait"  # take the lock, or wait for it: `tests.simulation.lock_waits`
ASKED, RELEASE = "asked", "release"  # by a node for a client that waits: in vain; and to free the lock again
WAIT_SECONDS = (0.2, 1.0, 5.0)
LEAVING = (0.05, 1.0, 60.0)  # seconds after which a client that waits leaves
KEPT = 0.5  # how often a client goes on using a token that it has lost


class Tokens:
    """What one client knows of the locks: the token that it believes to hold, by group."""

    def __init__(self, number: int, random: Random, waiting: float = 0.0) -> None:
        """So often the client waits for the lock if it is taken."""
        self._random = random
        self._number = number
        self._waiting = waiting
        self._tokens: dict[int, int] = {}

    def draw(self, group: int, unique: bytes) -> tuple[str, Any]:
        """The next operation on the lock, and its argument."""
        random, token = self._random, self._tokens.get(group)
        owners = (b"", unique, b"%d" % self._number)  # the last one may have the lock already
        if token is None or random.random() < 0.1:
            if self._waiting and random.random() < self._waiting:
                return WAIT, (random.choice(TTLS_MS), random.choice(WAIT_SECONDS), random.choice(LEAVING))
            return TAKE, (random.choice(TTLS_MS), random.choice(owners))
        name = random.choice((GUARD, GUARD, GUARD, EXTEND, FREE))
        if name == GUARD:
            return name, (token, b"|%d.%s" % (token, unique))
        return name, (token, random.choice(TTLS_MS))

    def answered(self, group: int, name: str, reply: Any) -> None:
        """Handle the reply to an operation on the lock."""
        held = took_effect(name, reply)
        if name in (TAKE, WAIT):
            if held:
                self._tokens[group] = reply[1]
        elif (not held or name == FREE) and self._random.random() >= KEPT:
            self._tokens.pop(group, None)


def command(name: str, argument: Any) -> LockCommand:
    """The write as the client port would hand it to the host."""
    if name == TAKE:
        return Lock(LOCK, *argument)
    token, what = argument
    if name == EXTEND:
        return Extend(LOCK, token, what)
    if name == FREE:
        return Unlock(LOCK, token)
    return Guarded(LOCK, token, AppendValue(PROTECTED, what))


def took_effect(name: str, reply: Any) -> bool:
    """Whether an operation on the lock changed something, by its reply."""
    return bool(reply[0]) if name in (TAKE, WAIT) else reply not in (0, CommandFailure.LOCK_LOST)


def looked_at(keyspace: Keyspace) -> tuple[bytes | None, int, bytes]:
    """The result of a read: owner and token of the lock, None and 0 if it is free, and the list."""
    return keyspace.get(LOCK), keyspace.revision(LOCK), keyspace.get(PROTECTED) or b""


class Lease(NamedTuple):
    """A lock that is held until the stamp `expires`. `token` is 0 as long as no reply has shown it."""

    owner: bytes
    token: int
    expires: int


class FencedList(NamedTuple):
    """The lock and its list after `writes` writes; `highest` is the highest token that a reply has shown."""

    writes: int
    highest: int
    lease: Lease | None
    written: bytes


NEVER_TAKEN = FencedList(0, 0, None, b"")


def fenced_list(state: FencedList, operation: Operation) -> list[Outcome]:
    """The model of the lock and its list. The writes are numbered, and have their stamps."""
    if operation.name == READ:
        return _read(state, operation)
    if operation.number != state.writes + 1:
        return []
    state = state._replace(writes=operation.number)
    if state.lease is not None and state.lease.expires <= operation.stamp:
        state = state._replace(lease=None)
    if operation.name == FLUSH:
        return [(state._replace(lease=None, written=b""), "OK")]
    if operation.name == TAKE:
        return _take(state, operation)
    if operation.name == ASKED:
        return [(state, None)] if state.lease is not None else []
    if operation.name == RELEASE:
        return _release(state, operation.argument)
    lease, (token, what) = state.lease, operation.argument
    if lease is None or lease.token != token:
        return [(state, CommandFailure.LOCK_LOST if operation.name == GUARD else 0)]
    if operation.name == FREE:
        return [(state._replace(lease=None), 1)]
    if operation.name == EXTEND:
        return [(state._replace(lease=lease._replace(expires=operation.stamp + what)), 1)]
    written = state.written + what
    return [(state._replace(written=written), len(written))]


def _read(state: FencedList, operation: Operation) -> list[Outcome]:
    free = (state._replace(lease=None), (None, 0, state.written))
    if state.lease is None:
        return [free]
    token = operation.result[1] if operation.result else 0
    return [
        free,
        *[(s, (held.owner, held.token, s.written)) for s, held in _shown(state, state.lease, token)],
    ]


def _take(state: FencedList, operation: Operation) -> list[Outcome]:
    ttl_ms, owner = operation.argument
    stamp, shown = operation.stamp, operation.result[1] if operation.result else 0
    lease, given = state.lease, 1
    if lease is None:
        lease = Lease(owner, 0, stamp + ttl_ms)
    elif owner and owner == lease.owner:
        lease = lease._replace(expires=stamp + ttl_ms)
    else:
        given = 0
    if not shown:
        return [(state._replace(lease=lease), None)]
    return [(s, [given, held.token, held.expires, stamp]) for s, held in _shown(state, lease, shown)]


def _release(state: FencedList, token: int) -> list[Outcome]:
    """The lock with this token is freed, if it is held."""
    lease = state.lease
    found: list[Outcome] = []
    if lease is None or lease.token != token:
        found.append((state, None))
    if lease is not None:
        shown = _shown(state, lease, token)
        found += [(s._replace(lease=None), None) for s, held in shown if held.token == token]
    return found


def _shown(state: FencedList, lease: Lease, token: int) -> list[tuple[FencedList, Lease]]:
    """The lease after a reply has shown its `token`: none if that is not the one it must have."""
    if lease.token:
        return [(state._replace(lease=lease), lease)]
    if token <= state.highest:
        return []
    lease = lease._replace(token=token)
    return [(state._replace(lease=lease, highest=token), lease)]


def demand_order(value: bytes, where: str) -> None:
    """Demand that no holder of the lock wrote after a later holder."""
    tokens = [int(element.split(b".")[0]) for element in value.split(b"|")[1:]]
    if tokens != sorted(tokens):
        raise Violation(f"{where}: writes with the tokens {tokens}, not in their order")
