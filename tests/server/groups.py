"""A client port of three groups, for tests: keys of each group, and pipelines."""

import itertools
from typing import Any

from kraft.host.slots import SlotMap
from kraft.host.transactions.coordinator import FORGET_SECONDS
from kraft.kv import commands as kv
from kraft.kv.checkpoint import moved_sum, record_hash
from kraft.kv.commands import Command, Put
from kraft.kv.ledger import LedgerKind
from kraft.kv.move_reply import MoveOutcome, move_reply
from kraft.kv.once import token_slots
from kraft.kv.slots import slot_of
from tests.server.fake_host import WALL_MS
from tests.server.fakes import Port, Talk, encode

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
    """Whether no lock and no decision is left when home groups have heard who is done."""
    port.clock.advance(FORGET_SECONDS)
    port.host.turn()
    return not open_transactions(port)


def open_transactions(port: Port) -> bool:
    """Whether there are locks or decisions."""
    indexes = [machine.keyspace.transactions for machine in port.host.machines]
    return any(index.prepared or index.decisions for index in indexes)


def meddle(port: Port, *commands: Command) -> list[Any]:
    """Another client changes the key of group 0; it does not wait for locks."""
    return port.host.machines[0].apply(port.clock.wall_ms(), commands)


class MovingSlots:
    """Three groups of a node, between which slots move at once; `learn` tells the map of the node."""

    def __init__(self, **options: Any) -> None:
        self.port, self.client = three(**options)
        self.moves = 0
        self._owners: dict[int, int] = {}

    def freeze(self, key: bytes, receiver: int) -> kv.Activate:
        """Freeze the slot of a key. Returns the step that brings it to the receiver."""
        self.moves += 1
        slot, slots = slot_of(key), self.port.host.slots
        source = self.source = self._owners.get(slot, slots.group_of(slot))
        machine = self.port.host.machines[source]
        self._do(receiver, kv.Open(self.moves, slot, slot, static_share(receiver)))
        self._do(source, kv.Freeze(self.moves, slot, slot, receiver, static_share(source)))
        rows = [record for record in machine.keyspace.records.values() if slot_of(record.key) == slot]
        hashes = [record_hash(row.key, row.value, row.revision, row.expires) for row in rows]
        tokens = [
            (name, row)
            for name, row in machine.keyspace.ledger.rows.items()
            if name[0] == LedgerKind.TOKEN and _goes_with(row.value, slot)
        ]
        return kv.Activate(
            self.moves,
            0,
            tuple([kv.Row(row.key, row.value, row.expires, row.revision) for row in rows]),
            tuple([kv.Row(name[1:], row.value, row.expires) for name, row in tokens]),
            machine.revision,
            machine.stamp,
            len(rows),
            moved_sum(bytes(16), sum([int.from_bytes(each, "big") for each in hashes]), 0),
        )

    def move(self, key: bytes, receiver: int, *, known: bool = False) -> None:
        """Let the slot of a key move; the map of the node hears of it if it is `known`."""
        step, slot = self.freeze(key, receiver), slot_of(key)
        assert self._do(receiver, step) == MoveOutcome.ACTIVE
        released = kv.Release(self.moves, slot, slot, step.keys)
        assert self._do(self.source, released) == MoveOutcome.RELEASED
        self._owners[slot] = receiver
        if known:
            self.learn()

    def carry(self, key: bytes, receiver: int) -> None:
        """Let the slot of a key move, with all that follows: it may come back."""
        self.move(key, receiver, known=True)
        slot = slot_of(key)
        records = self.port.host.machines[self.source].keyspace.records
        left = tuple([name for name in records if slot_of(name) == slot])
        assert self._do(self.source, kv.Sweep(self.moves, left)) == MoveOutcome.SWEPT
        assert self._do(receiver, kv.Close(self.moves)) == MoveOutcome.CLOSED

    def bring(self, key: bytes, receiver: int) -> None:
        """Let a key come for a move that is not over."""
        self.moves += 1
        slot = slot_of(key)
        record = self.port.host.machines[self.port.host.slots.group_of(slot)].keyspace.records[key]
        row = kv.Row(key, record.value, record.expires, record.revision)
        assert self._do(receiver, kv.Open(self.moves, slot, slot, static_share(receiver))) == MoveOutcome.OPEN
        assert self._do(receiver, kv.Import(self.moves, 0, (row,))) == MoveOutcome.OPEN

    def learn(self) -> None:
        """The map of the node is up to date."""
        for group, machine in enumerate(self.port.host.machines):
            self.port.host.slots.follow(group, machine.keyspace)

    def later(self, seconds: float = 0.01) -> bytes:
        """Time passes, and the host answers. Returns what the client was sent."""
        self.port.clock.advance(seconds)
        self.port.settle()
        return self.client.read()

    def _do(self, group: int, step: kv.MoveCommand) -> MoveOutcome:
        [reply] = self.port.host.machines[group].apply(self.port.clock.wall_ms(), [step])
        return move_reply(reply).outcome


def _goes_with(token: bytes, slot: int) -> bool:
    """Whether the row of a token goes with a slot."""
    slots = token_slots(token)
    return slots is None or slot in slots


def static_share(group: int) -> tuple[int, int]:
    """The slots that a group of three has in the beginning."""
    [found] = [(first, last) for first, last, each in SlotMap(3).ranges() if each == group]
    return found
