"""Gives every slot one owner where the logs of the groups were cut at different places.

A recovery from one survivor needs this: the log of a group may lack its end. If slots moved then, it may
have the entry by which the source let go of them, and lack the one by which the receiver took them into use;
or the other way round, so that both have them. And the map of group 0 may know of neither.

What is written is what a move would have written, so that nothing else has to know of it: the receiver opens
a move, gets the keys that the source still has, and is active. `settle` applies that to the states, and
returns it for the logs. Moves that are only half done, with one owner, go on by themselves.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

from kraft.kv.checkpoint import HASH_BYTES, moved_sum, record_hash
from kraft.kv.commands import (
    Activate,
    Cancel,
    Close,
    Command,
    EndMove,
    Freeze,
    Import,
    Open,
    PlanMove,
    Release,
    Row,
    Sweep,
    Unfreeze,
)
from kraft.kv.errors import BrokenInvariant
from kraft.kv.ledger import LedgerKind
from kraft.kv.machine import Machine
from kraft.kv.move_reply import MoveOutcome, move_reply
from kraft.kv.once import token_slots
from kraft.kv.slot_map import MapOutcome, MapState, map_reply, owners, saved_map, static_ranges
from kraft.kv.slots import SLOTS, MoveState, SlotRange, SlotState, SlotTable, slot_of

IMPORT_BYTES = 256 << 10

Steps = dict[int, list[tuple[int, Command]]]
"""What is to be logged, by group: each command is an entry of its own, with this stamp."""


@dataclass(frozen=True, slots=True)
class SettledSlots:
    """Slots from `first` to `last` that `group` has from now on, with so many `keys`.

    `had`: the groups that had them, none or several.
    """

    first: int
    last: int
    group: int
    keys: int
    had: tuple[int, ...]


class SlotSettlement:
    """Of the states of all groups of a cluster that was formed with `founded` groups."""

    def __init__(self, machines: Mapping[int, Machine], founded: int) -> None:
        self.steps: Steps = defaultdict(list)
        self.settled: list[SettledSlots] = []
        self._machines = machines
        self._founded = founded
        known = saved_map(machines[0].keyspace.ledger)
        epochs = [part.epoch for group in machines for part in self._parts(group)]
        self._number = max(0 if known is None else known.last, *epochs)

    def settle(self) -> None:
        """Fill `steps` and `settled`. Raises BrokenInvariant if a step is refused."""
        if all(machine.keyspace.slots is None for machine in self._machines.values()):
            return
        for group in self._machines:
            self._thaw(group)
        for first, last, claims in self._claims():
            if len(claims) > 1:
                self._end_double(first, last, claims)
            elif not claims:
                self._give(first, last)
        self._correct_map()
        self._end_orphans()

    def _thaw(self, group: int) -> None:
        """Slots are frozen for a group that the survivor has never heard of: it cannot be asked."""
        for part in self._parts(group):
            if part.state == SlotState.FROZEN and part.peer not in self._machines:
                self._do(group, Unfreeze(part.move, part.first, part.last), MoveOutcome.OWN)

    def _claims(self) -> list[tuple[int, int, tuple[int, ...]]]:
        """The groups that have each slot, as (first slot, last slot, groups); frozen ones count as well."""
        parts = [(group, part) for group in self._machines for part in self._parts(group)]
        found: list[tuple[int, int, tuple[int, ...]]] = []
        begins = sorted({part.first for _, part in parts})
        for first, after in pairwise([*begins, SLOTS]):
            here = [(group, part) for group, part in parts if part.first <= first <= part.last]
            claims = tuple([group for group, part in here if part.state != SlotState.GONE])
            if found and found[-1][2] == claims:
                first = found.pop()[0]
            found.append((first, after - 1, claims))
        return found

    def _end_double(self, first: int, last: int, claims: tuple[int, ...]) -> None:
        """The group that got slots by the latest move has them; the others let go of theirs."""
        for low, high, parts in self._alike(first, last, claims):
            winner = max(claims, key=lambda group: parts[group].epoch)
            losers = [each for each in claims if each != winner and not self._asks(parts[each], winner)]
            for group in losers:
                if parts[group].state == SlotState.FROZEN:
                    self._do(group, Unfreeze(parts[group].move, low, high), MoveOutcome.OWN)
                self._number += 1
                number, keys = self._number, len(self._rows(group, low, high))
                freeze = Freeze(number, low, high, winner, self._share(group))
                self._do(group, freeze, MoveOutcome.FROZEN)
                self._do(group, Release(number, low, high, keys), MoveOutcome.RELEASED)
            if losers:
                kept = len(self._rows(winner, low, high))
                self.settled.append(SettledSlots(low, high, winner, kept, claims))

    def _asks(self, part: SlotRange, winner: int) -> bool:
        """Whether frozen slots go to the winner by themselves: it tells their source that it has them."""
        table = self._machines[winner].keyspace.slots
        move = None if table is None else table.moves.get(part.move)
        frozen = part.state == SlotState.FROZEN and part.peer == winner
        return frozen and move is not None and move.state == MoveState.ACTIVE

    def _give(self, first: int, last: int) -> None:
        """Nobody has these slots: finish the last move of each, with the keys that its source still has."""
        for low, high, parts in self._alike(first, last, tuple(self._machines)):
            source = max(parts, key=lambda group: parts[group].epoch)
            peer = parts[source].peer
            receiver = peer if peer in self._machines else source
            rows, tokens = self._rows(source, low, high), self._tokens(source, low, high)
            self._number += 1
            self._make_room(receiver, low, high)
            self._carry(source, receiver, low, high, rows, tokens)
            self.settled.append(SettledSlots(low, high, receiver, len(rows), ()))

    def _make_room(self, group: int, first: int, last: int) -> None:
        """End the moves of these slots that are not over in a group, and remove what is hidden of them."""
        table = self._machines[group].keyspace.slots
        for move in list(table.moves.values()) if table is not None else ():
            if not move.touches(first, last):
                continue
            if move.state == MoveState.ACTIVE:
                self._do(group, Close(move.number), MoveOutcome.CLOSED)
                continue
            if move.state == MoveState.OPEN:
                cancel = Cancel(move.number, move.first, move.last, self._share(group))
                self._do(group, cancel, MoveOutcome.CANCELLED)
            keys = tuple([row.key for row in self._rows(group, move.first, move.last, hidden=True)])
            if keys:
                self._do(group, Sweep(move.number, keys), MoveOutcome.SWEPT)

    def _carry(
        self, source: int, group: int, first: int, last: int, rows: list[Row], tokens: list[Row]
    ) -> None:
        """A whole move into a group, from a source that is in no case asked.

        The revision and the log time of the source count, as in any move.
        """
        number, machine = self._number, self._machines[source]
        self._do(group, Open(number, first, last, self._share(group)), MoveOutcome.OPEN)
        chunks = [(part, ()) for part in _chunks(rows)] + [((), part) for part in _chunks(tokens)]
        for chunk, (keys, others) in enumerate(chunks):
            self._do(group, Import(number, chunk, keys, others), MoveOutcome.OPEN)
        hashes = [record_hash(row.key, row.value or b"", row.revision, row.expires) for row in rows]
        total = moved_sum(bytes(HASH_BYTES), sum([int.from_bytes(each, "big") for each in hashes]), 0)
        revision, stamp = machine.revision, machine.stamp
        activate = Activate(number, len(chunks), (), (), revision, stamp, len(rows), total)
        self._do(group, activate, MoveOutcome.ACTIVE, stamp)
        self._do(group, Close(number), MoveOutcome.CLOSED)

    def _correct_map(self) -> None:
        """Let the map of group 0 say the same, where no planned move is about to."""
        ledger = self._machines[0].keyspace.ledger
        for first, last, claims in self._claims():
            known = saved_map(ledger) or MapState(0, 0, static_ranges(self._founded))
            wrong = [
                (max(each.first, first), min(each.last, last))
                for each in known.ranges
                if each.first <= last and first <= each.last and each.group not in claims
            ]
            for low, high in wrong:
                known = saved_map(ledger) or known
                if any(move.first <= high and low <= move.last for move in known.moves):
                    continue  # its source sees that it is over, and says so
                if len(claims) != 1 or owners(known.ranges, low, high) == [claims[0]]:
                    continue
                plan = PlanMove(low, high, claims[0], self._founded)
                number = self._plan(plan, MapOutcome.PLANNED)
                self._plan(EndMove(number, moved=True), MapOutcome.ENDED)

    def _end_orphans(self) -> None:
        """End moves that nobody drives: group 0 plans none of that number, and no slot is frozen for it."""
        known = saved_map(self._machines[0].keyspace.ledger)
        driven = {move.number for move in (known.moves if known else ())}
        driven |= {part.move for group in self._machines for part in self._parts(group)}
        for group, machine in self._machines.items():
            table = machine.keyspace.slots
            for move in list(table.moves.values()) if table is not None else ():
                if move.number in driven:
                    continue
                if move.state == MoveState.OPEN:
                    cancel = Cancel(move.number, move.first, move.last, self._share(group))
                    self._do(group, cancel, MoveOutcome.CANCELLED)
                elif move.state == MoveState.ACTIVE:
                    self._do(group, Close(move.number), MoveOutcome.CLOSED)

    def _alike(
        self, first: int, last: int, groups: tuple[int, ...]
    ) -> Iterator[tuple[int, int, dict[int, SlotRange]]]:
        """The slots from `first` to `last` in parts that are one range in each of the groups."""
        parts = {
            group: [p for p in self._parts(group) if p.first <= last and first <= p.last] for group in groups
        }
        begins = sorted({max(part.first, first) for each in parts.values() for part in each})
        for low, after in zip(begins, [*begins[1:], last + 1], strict=True):
            here = {group: next(p for p in parts[group] if p.first <= low <= p.last) for group in groups}
            yield low, after - 1, here

    def _parts(self, group: int) -> list[SlotRange]:
        table = self._machines[group].keyspace.slots
        return (SlotTable.initial(*self._share(group)) if table is None else table).ranges

    def _rows(self, group: int, first: int, last: int, *, hidden: bool | None = None) -> list[Row]:
        """The keys of these slots that a group holds, hidden ones among them, or only those."""
        space = self._machines[group].keyspace
        found = [each for key, each in space.records.items() if first <= slot_of(key) <= last]
        if hidden and space.slots is not None:
            found = [each for each in found if not space.slots.shows(each.key)]
        return [Row(each.key, each.value, each.expires, each.revision) for each in found]

    def _tokens(self, group: int, first: int, last: int) -> list[Row]:
        """The tokens of KRAFT ONCE that go with these slots, or with every slot."""
        found = []
        for key, row in self._machines[group].keyspace.ledger.rows.items():
            slots = token_slots(row.value) if key[0] == LedgerKind.TOKEN else ()
            if slots is None or any(first <= slot <= last for slot in slots):
                found.append(Row(key[1:], row.value, row.expires))
        return found

    def _share(self, group: int) -> tuple[int, int]:
        if group >= self._founded:
            return 0, -1
        found = static_ranges(self._founded)[group]
        return found.first, found.last

    def _do(self, group: int, step: Command, wanted: MoveOutcome, stamp: int = 0) -> None:
        """Let a group do a step, not before the log time `stamp`."""
        reply = move_reply(self._apply(group, step, stamp))
        if reply.outcome is not wanted:
            name = type(step).__name__
            raise BrokenInvariant(f"group {group}: {name} of slots was not possible: {reply.outcome.name}")

    def _plan(self, command: Command, wanted: MapOutcome) -> int:
        reply = map_reply(self._apply(0, command))
        if reply.outcome is not wanted:
            raise BrokenInvariant(f"the map of slots could not be corrected: {reply.outcome.name}")
        return reply.number

    def _apply(self, group: int, command: Command, stamp: int = 0) -> object:
        machine = self._machines[group]
        stamp = max(stamp, machine.stamp)
        self.steps[group].append((stamp, command))
        return machine.apply(stamp, [command])[0]


def _chunks(rows: list[Row]) -> Iterator[tuple[Row, ...]]:
    chunk: list[Row] = []
    size = 0
    for row in rows:
        chunk.append(row)
        size += len(row.key) + len(row.value or b"")
        if size >= IMPORT_BYTES:
            yield tuple(chunk)
            chunk, size = [], 0
    if chunk:
        yield tuple(chunk)
