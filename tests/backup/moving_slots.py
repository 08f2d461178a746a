"""The logs of three groups between which a slot moves, whose leaders' clocks differ, without any node."""

from collections.abc import Generator, Iterator, Sequence

from kraft.kv import commands as kv
from kraft.kv.checkpoint import moved_sum, record_hash
from kraft.kv.machine import Machine
from kraft.kv.move_reply import MoveOutcome, MoveReply, move_reply
from kraft.kv.slot_map import map_reply, static_ranges
from kraft.kv.slots import SLOTS, SlotState, slot_of
from tests.backup.bank_of_groups import GROUPS, GroupLogs

KEYS = [b"{s}%d" % number for number in range(5)]
COUNT = b"{s}n"
SLOT = slot_of(COUNT)
SHARES = [(each.first, each.last) for each in static_ranges(GROUPS)]
STAY = [
    next(b"x%d" % n for n in range(99) if slot_of(b"x%d" % n) * GROUPS // SLOTS == group)
    for group in range(GROUPS)
]
EARLY_MAX = 40  # Activates that come too early, before the receiver is asked to cancel


class MovingSlot(GroupLogs):
    """One slot moves from group to group, and some moves are cancelled. A client counts in it.

    `count` is the last one. `counted` has the group of each, and the index of the entry before it.
    """

    def __init__(self, seed: int, offsets: Sequence[int]) -> None:
        super().__init__(seed, offsets)
        self.count = 0
        self.counted: list[tuple[int, int]] = []
        self.owner = SLOT * GROUPS // SLOTS
        for key in KEYS:
            self.log(self.owner, kv.Put(key, b"v"))
        for group, key in enumerate(STAY):
            self.log(group, kv.Put(key, b"v"))
        self._steps = self._move()
        self._client()

    def run(self, steps: int) -> "MovingSlot":
        """Let so many steps happen."""
        for _ in range(steps):
            if self.dice.random() < 0.5:
                self._client()
            elif self.dice.random() < 0.2:
                group = self.dice.randrange(GROUPS)
                self.log(group, kv.Put(STAY[group], b"w"))
            elif next(self._steps, self):
                self._steps = self._move()
        return self

    def machine(self, group: int) -> Machine:
        return self._twins[group].machine

    def _client(self) -> None:
        """Count, unless the slot is frozen."""
        table = self.machine(self.owner).keyspace.slots
        if table is None or table.state(COUNT) == SlotState.OWN:
            self.count += 1
            self.counted.append((self.owner, len(self.logs[self.owner])))
            assert self.log(self.owner, kv.Put(COUNT, b"%d" % self.count)) == "OK"

    def _step(self, group: int, command: kv.MoveCommand) -> MoveReply:
        return move_reply(self.log(group, command))

    def _move(self) -> Iterator[None]:
        source = self.owner
        receiver = self.dice.choice([group for group in range(GROUPS) if group != source])
        number = map_reply(self.log(0, kv.PlanMove(SLOT, SLOT, receiver, GROUPS))).number
        while True:
            yield
            if not (yield from self._attempt(number, source, receiver)):
                yield from self._cancel(number, source, receiver)
                if self.dice.random() < 0.5:
                    self.log(0, kv.EndMove(number, moved=False))
                    return
                number = map_reply(self.log(0, kv.RenewMove(number))).number
                continue
            self.owner = receiver
            yield
            self._step(source, kv.Release(number, SLOT, SLOT, len(KEYS) + 1))
            yield
            yield from self._sweep(source, number)
            self._step(receiver, kv.Close(number))
            yield
            self.log(0, kv.EndMove(number, moved=True))
            return

    def _attempt(self, number: int, source: int, receiver: int) -> Generator[None, None, bool]:
        """Up to the Activate. Its value is whether the move is active."""
        assert self._step(receiver, kv.Open(number, SLOT, SLOT, SHARES[receiver])).outcome == MoveOutcome.OPEN
        yield
        self._step(receiver, kv.Import(number, 0, rows(self.machine(source))[: self.dice.randint(0, 5)]))
        yield
        if self.dice.random() < 0.2:
            return False
        frozen = self._step(source, kv.Freeze(number, SLOT, SLOT, receiver, SHARES[source]))
        assert frozen.outcome == MoveOutcome.FROZEN
        yield
        for _ in range(0 if self.dice.random() < 0.3 else EARLY_MAX):
            reply = self._step(receiver, activate(self.machine(source), number, frozen))
            if reply.outcome == MoveOutcome.ACTIVE:
                return True
            assert reply.outcome == MoveOutcome.EARLY
            yield
        return False

    def _cancel(self, number: int, source: int, receiver: int) -> Iterator[None]:
        assert self._step(receiver, kv.Cancel(number, SLOT, SLOT, SHARES[receiver])).outcome == (
            MoveOutcome.CANCELLED
        )
        yield
        self._step(source, kv.Unfreeze(number, SLOT, SLOT))
        yield
        yield from self._sweep(receiver, number)

    def _sweep(self, group: int, number: int) -> Iterator[None]:
        """Remove what is hidden, a key or two at a time."""
        keys = [row.key for row in rows(self.machine(group))]
        while keys:
            size = self.dice.randint(1, 3)
            self._step(group, kv.Sweep(number, tuple(keys[:size])))
            keys = keys[size:]
            yield


def rows(machine: Machine) -> tuple[kv.Row, ...]:
    """What a group has of the slot."""
    records = machine.keyspace.records.values()
    return tuple(kv.Row(r.key, r.value, r.expires, r.revision) for r in records if slot_of(r.key) == SLOT)


def activate(source: Machine, number: int, frozen: MoveReply) -> kv.Activate:
    """An Activate that brings all keys of the source after one Import."""
    found = rows(source)
    hashes = [record_hash(row.key, row.value or b"", row.revision, row.expires) for row in found]
    total = moved_sum(bytes(16), sum([int.from_bytes(each, "big") for each in hashes]), 0)
    return kv.Activate(number, 1, found, (), frozen.revision, frozen.stamp, len(found), total)
