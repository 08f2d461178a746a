"""A client port of three groups, for tests: keys of each group, and pipelines."""

import itertools
from typing import Any

from kraft.host.slots import SlotMap
from kraft.kv.commands import Command, Put
from kraft.kv.slots import slot_of
from tests.server.fakes import WALL_MS, Port, Talk, encode

LIBRARY = "#!lua name=mine\nredis.register_function('one', function(keys) return 1 end)"
RETURN_ONE = "return 1"
THREE = SlotMap(3)


def keys_in(group: int, slots: SlotMap = THREE) -> Any:
    """Keys of a group."""
    return (key for n in itertools.count() if slots.group_of(slot_of(key := b"key:%d" % n)) == group)


def key_in(group: int, slots: SlotMap = THREE) -> bytes:
    key: bytes = next(keys_in(group, slots))
    return key


def three(**options: Any) -> tuple[Port, Talk]:
    port = Port(groups=3, **options)
    return port, port.connect()


def fill(port: Port, count: int = 300) -> set[bytes]:
    keys = {b"key:%d" % n for n in range(count)}
    for group, machine in enumerate(port.host.machines):
        slots = port.host.slots
        own = [key for key in sorted(keys) if slots.group_of(slot_of(key)) == group]
        machine.apply(WALL_MS, [Put(key, b"of " + key) for key in own])
    return keys


def pipeline(*requests: tuple[Any, ...]) -> bytes:
    return b"".join(encode(*words) for words in requests)


A, B, C = (key_in(group) for group in range(3))


def array(*values: bytes | int | None) -> bytes:
    """A reply of several values."""
    each = (
        b"$-1\r\n" if value is None else b":%d\r\n" % value if isinstance(value, int)
        else b"$%d\r\n%b\r\n" % (len(value), value)
        for value in values
    )  # fmt: skip
    return b"*%d\r\n" % len(values) + b"".join(each)


def settled(port: Port) -> bool:
    """Whether no lock and no decision is left."""
    indexes = [machine.keyspace.transactions for machine in port.host.machines]
    return not any(index.prepared or index.decisions for index in indexes)


def meddle(port: Port, *commands: Command) -> None:
    """Another client changes the key of group 0."""
    port.host.machines[0].apply(port.clock.wall_ms(), commands)
