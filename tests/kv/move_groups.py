"""The groups of `tests.kv.move_scope`: their states, what a step does to one, and what one shows.

Group states are kept as in `tests.kv.transaction_scope`: a group starts anew from its rows before every step.
"""

from typing import Any, NamedTuple

from kraft.kv import commands as kv
from kraft.kv.ledger import LedgerKind
from kraft.kv.machine import Machine
from kraft.kv.move_reply import MoveOutcome, move_reply
from kraft.kv.replies import CommandFailure
from kraft.kv.slots import SlotState, slot_of
from kraft.kv.transaction_reply import transaction_reply
from tests.kv.group_states import NOW
from tests.kv.transaction_scope import Frozen, frozen, thawed

GROUPS = (1, 2, 3)
SOURCE, RECEIVER, THIRD = GROUPS  # at first; the third is another receiver, or has a part in the transaction
SHARES = {SOURCE: (0, 16_000), RECEIVER: (16_001, 16_383), THIRD: (0, -1)}
LATER = NOW + 20

COUNT, DUE, WORK = b"{k}c", b"{k}d", b"{k}w"  # incremented once; about to expire; the transaction's
SLOT = slot_of(COUNT)
ELSEWHERE = b"{x}w"  # what the transaction increments in the third group


class Facts(NamedTuple):
    """What one state of a group shows. A request is `routed` to it by some map."""

    slot: int
    serves: bool
    routed: bool
    counted: int
    worked: int
    due: bool
    stamp: int
    frozen: tuple[int, int] | None  # the number and the receiver of the move
    moves: tuple[tuple[int, int], ...]  # number and state
    hidden: int
    prepared: frozenset[int]
    decided: frozenset[int]


class MoveGroups:
    """All states of groups that were reached, by number."""

    def __init__(self) -> None:
        self._states: list[Frozen] = []
        self._numbers: dict[Frozen, int] = {}
        self._arrivals: dict[tuple[int, str], tuple[int, Any, bool]] = {}
        self._facts: dict[int, Facts] = {}
        self._laters: dict[int, int] = {}

    def begin(self, *, clocks: bool) -> tuple[int, ...]:
        """The states of all groups at first. `clocks`: a key of the slot is about to expire."""
        source, receiver, third = Machine(), Machine(), Machine()
        source.apply(NOW, [kv.Put(b"other", b"") for _ in range(8)])  # its revision is ahead
        due = kv.Set(DUE, b"", expiry=kv.Expiry.ABSOLUTE, expiry_ms=NOW + 10)
        source.apply(NOW, [kv.Put(COUNT, b"0"), kv.Put(WORK, b"0"), *([due] if clocks else [])])
        receiver.apply(NOW, [kv.Put(b"its own", b"")])
        third.apply(NOW, [kv.Put(ELSEWHERE, b"0")])
        return tuple(map(self._number, (source, receiver, third)))

    def _number(self, machine: Machine) -> int:
        state = frozen(machine)
        number = self._numbers.get(state)
        if number is None:
            number = self._numbers[state] = len(self._states)
            self._states.append(state)
        return number

    def arrival(self, at: int, step: str, command: kv.Command) -> tuple[int, Any, bool]:
        """The state after a step, its outcome, and whether the increment took effect."""
        found = self._arrivals.get((at, step))
        if found is None:
            machine = thawed(self._states[at])
            before = machine.keyspace.get(COUNT)
            [reply] = machine.apply(machine.stamp, [command])
            fresh = step.startswith("once") and machine.keyspace.get(COUNT) != before
            found = self._arrivals[at, step] = (self._number(machine), _outcome(step, reply), fresh)
        return found

    def later(self, at: int) -> int:
        """The state after time has passed."""
        if at not in self._laters:
            machine = thawed(self._states[at])
            machine.mark(LATER)
            self._laters[at] = self._number(machine)
        return self._laters[at]

    def facts(self, at: int) -> Facts:
        """What a state shows."""
        found = self._facts.get(at)
        if found is None:
            found = self._facts[at] = facts_of(thawed(self._states[at]))
        return found

    def rows(self, at: int) -> tuple[kv.Row, ...]:
        """The keys of the slot."""
        records = self._states[at][2]
        return tuple(kv.Row(row[0], row[1], row[3], row[2]) for row in records if _moves(row[0]))

    def tokens(self, at: int) -> tuple[kv.Row, ...]:
        """The tokens of KRAFT ONCE."""
        rows = [row for row in self._states[at][3] if row[0][0] == LedgerKind.TOKEN]
        return tuple(kv.Row(row[0][1:], row[1], row[3]) for row in rows)

    def clock(self, at: int) -> tuple[int, int]:
        """Stamp and revision."""
        return self._states[at][:2]


def with_group(groups: tuple[int, ...], group: int, at: int) -> tuple[int, ...]:
    """The groups' states after one of them has become `at`."""
    return (*groups[: group - 1], at, *groups[group:])


def facts_of(machine: Machine) -> Facts:
    """What a machine shows."""
    space = machine.keyspace
    table = space.slots
    part = None if table is None else table.within(SLOT, SLOT)[0]
    owns = SlotState.OWN if COUNT in space else SlotState.GONE  # by the static map
    [probe] = machine.apply(machine.stamp, [kv.Exec((), (kv.Look((COUNT,)),))])
    transactions = space.transactions
    keys = [key for key in space.records if _moves(key)]
    state = owns if part is None else part.state
    routed = part is not None or owns == SlotState.OWN
    for key in keys if state == SlotState.OWN else ():
        assert space.revision(key) <= machine.revision, "a key has a revision that is still to come"
    return Facts(
        state,
        routed and type(probe) is not CommandFailure,
        routed,
        int(space.get(COUNT) or b"0"),
        int(space.get(WORK) or space.get(ELSEWHERE) or b"0"),
        DUE in space,
        machine.stamp,
        (part.move, part.peer) if part is not None and part.state == SlotState.FROZEN else None,
        () if table is None else tuple((move.number, move.state) for move in table.moves.values()),
        len(keys) if state == SlotState.GONE else 0,
        frozenset(hold.id.number for hold in transactions.prepared.values()),
        frozenset(decision.id.number for decision in transactions.decisions.values()),
    )


def _outcome(step: str, reply: Any) -> Any:
    word = step.partition(" ")[0]
    if word == "once":
        return None
    if word in ("prepare", "commit", "resolve", "forget", "ask"):
        return transaction_reply(reply).outcome
    done = move_reply(reply)
    return f"ACTIVE {done.count}" if done.outcome == MoveOutcome.ACTIVE else done.outcome


def _moves(key: bytes) -> bool:
    return slot_of(key) == SLOT
