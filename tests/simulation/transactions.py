"""Transactions in the simulator: how a client asks for them, and what their replies say.

Some append to several lists and read them. The judge demands one order that explains all of these
(`tests.serializability`). Others set a key if it has not changed since the client read it; the models of
`linearizability` explain them. The mark of a write stays outside its transaction, as another command of the
same batch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from kraft.host.requests.round import View
from kraft.kv.commands import AppendValue, Exec, Look, Put, Step, Watched
from kraft.kv.excerpt import examined
from tests.serializability import APPEND, DONE, INFINITY, NOT_DONE, READ, UNKNOWN, Attempt, Operation
from tests.simulation.homes import Place
from tests.simulation.violation import demand

LISTS = (b"x", b"y", b"z")
TRANSACTION = "transaction"
STEPS_MAX = 4
WATCHING = 0.3  # how many of the transactions watch a list that the client has read


@dataclass(frozen=True, slots=True)
class Seen:
    """A key as a client has read it: its value, and what WATCH remembers. `place` is that of the state."""

    value: bytes | None
    watched: Watched
    place: Place


def seen(key: bytes, view: View, place: Place) -> Seen:
    """What WATCH and GET of a key give."""
    return Seen(view.keyspace.get(key), Watched(key, view.keyspace.revision(key), view.revision), place)


# -- one key


def set_if_unchanged(key: bytes, argument: tuple[Seen, bytes]) -> Exec:
    """WATCH, GET (some time ago), MULTI, SET, GET, EXEC."""
    before, value = argument
    return Exec((before.watched,), (Put(key, value), Look((key,))))


def outcome(argument: tuple[Seen, bytes], reply: Any) -> str | None:
    """OK, or None after an abort, from the reply to `set_if_unchanged`."""
    if reply is None:
        return None
    _, records, (status, (_, place)) = reply
    read = None if place is None else records[place][0]
    demand(read == argument[1], f"a transaction that set {argument[1]!r} then read {records}")
    demand(records[place][1] > argument[0].watched.seen, "a revision went back")
    return str(status)


# -- lists


@dataclass(frozen=True, slots=True)
class ListTransaction:
    """A transaction before it is sent. Each step is APPEND or READ, and the list.

    An element is named after the request that appends it, so a repeated request appends other elements.
    """

    watched: Seen | None
    steps: tuple[tuple[str, bytes], ...]


def draw(random: Random, known: Mapping[bytes, Seen]) -> ListTransaction:
    """A transaction; `known` are the lists that the client has read."""
    watched = random.choice(list(known.values())) if known and random.random() < WATCHING else None
    count = random.randrange(1, STEPS_MAX + 1)
    steps = [(random.choice((APPEND, READ)), random.choice(LISTS)) for _ in range(count)]
    return ListTransaction(watched, (*steps, (APPEND, random.choice(LISTS))))


def elements(value: bytes | None) -> list[str]:
    """The elements of a list."""
    return (value or b"").decode().split("|")[1:]


def _element(marked: bytes, place: int) -> bytes:
    return b"%s-%d" % (marked.strip(b"<>"), place)


def on_lists(wanted: ListTransaction, marked: bytes) -> Exec:
    """The transaction as one command of the log."""
    steps: list[Step] = []
    for place, (kind, key) in enumerate(wanted.steps):
        element = b"|" + _element(marked, place)
        steps.append(AppendValue(key, element) if kind == APPEND else Look((key,)))
    return Exec((wanted.watched.watched,) if wanted.watched else (), tuple(steps))


def attempt(
    wanted: ListTransaction, marked: bytes, called: float, now: float, fate: str, reply: Any
) -> Attempt:
    """What the checker has to explain. `fate` is done, refused or unknown; `reply` is None after an abort.

    A transaction that watched a list and took effect counts as a read of what the client saw.
    """
    name = marked.decode()
    steps: list[Operation] = [
        (kind, key.decode(), _element(marked, place).decode() if kind == APPEND else None)
        for place, (kind, key) in enumerate(wanted.steps)
    ]
    appends = [step for step in steps if step[0] == APPEND]
    if fate == "unknown":
        return Attempt(name, UNKNOWN, called, INFINITY, appends)
    if fate == "refused" or reply is None:
        return Attempt(name, NOT_DONE, called, now, appends)
    _, records, replies = reply
    found: list[Operation] = []
    if wanted.watched is not None:
        found.append((READ, wanted.watched.watched.key.decode(), elements(wanted.watched.value)))
    for (kind, key, element), answer in zip(steps, replies, strict=True):
        found.append((kind, key, element if kind == APPEND else looked_at(answer, records)))
    return Attempt(name, DONE, called, now, found)


def survey(view: View) -> Any:
    """The reply to a transaction that only reads all lists."""
    return examined(view.keyspace, view.now_ms, Exec((), (Look(LISTS),)))


def surveyed(marked: bytes, called: float, now: float, reply: Any) -> Attempt:
    """The same for a transaction that only read, with the reply of `survey`."""
    _, records, ((_, *places),) = reply
    values = [elements(None if place is None else records[place][0]) for place in places]
    reads = [(READ, key.decode(), value) for key, value in zip(LISTS, values, strict=True)]
    return Attempt(marked.decode(), DONE, called, now, reads)


def looked_at(places: Sequence[Any], records: Sequence[Any]) -> list[str]:
    """The elements of the one list that a `Look` looked at."""
    _, place = places
    return elements(None if place is None else records[place][0])
