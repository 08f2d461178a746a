"""The state machine: a stamp and a batch of commands change the keyspace and give replies.

`Machine.apply` is a function of the state, the stamp and the commands: no clock, no randomness, no
configuration, no iteration order. Every replica applies the same batches in the same order and ends in the
same state. First every key that is due at the stamp goes; then the commands run one after the other, each by
the function that a table names for its type: those of strings are in `strings`, and `keys`, `bits`, `locks`,
`scripts`, `libraries` and `users` have the others. A command that changed something takes the next revision,
and the keys it changed carry it; a command that was refused, or found nothing to do, takes none. Expiry takes
none either: a key that is gone has revision 0. A lock that is extended keeps its revision, its token.
"""

from collections.abc import Callable, Sequence
from functools import partial
from hashlib import blake2b
from typing import Any

from kraft.kv import (
    bits,
    created_groups,
    keys,
    libraries,
    locks,
    moves,
    placement,
    scripts,
    slot_map,
    strings,
    transactions,
    users,
)
from kraft.kv.checkpoint import Capture
from kraft.kv.commands import Command, Evaluated, Exec, Guarded, Once, Put
from kraft.kv.errors import BrokenInvariant
from kraft.kv.execution import Run, execute
from kraft.kv.footprint import Whole, footprint
from kraft.kv.keyspace import Keyspace
from kraft.kv.once import FORGOTTEN_PER_MARKER, once
from kraft.kv.replies import CommandFailure, Reply, decode_replies
from kraft.kv.slots import SLOTS, saved_table
from kraft.kv.state import MachineState
from kraft.kv.transactions import index_transactions
from kraft.kv.versions import MACHINE_VERSION_MIN
from kraft.raft.membership.configuration import Base

WHOLE_SINCE = 7  # a transaction that removes all keys is for a group that has all slots


class Machine(MachineState):
    """The state machine of one group. `version` is the machine version in force."""

    __slots__ = ("version",)

    def __init__(self) -> None:
        super().__init__()
        self.version = MACHINE_VERSION_MIN

    @classmethod
    def restored(cls, keyspace: Keyspace, stamp: int, revision: int, version: int) -> "Machine":
        """The machine that a checkpoint was taken of."""
        machine = cls()
        machine.keyspace, machine.stamp, machine.revision = keyspace, stamp, revision
        machine.version = version
        keyspace.removals.forget(revision)
        index_transactions(keyspace)
        keyspace.slots = saved_table(keyspace.ledger)
        return machine

    def capture(self, base: Base) -> Capture:
        """What a checkpoint at `base`, the index just applied, has to write. Costs nothing here and now."""
        space, cleared = self.keyspace, self.keyspace.cleared
        changes = space.take_changes()
        return Capture(base, self.revision, changes, self.version, cleared, space.ledger.take_changes())

    def whole(self, base: Base) -> Capture:
        """What the first checkpoint in an empty file has to write: all there is at `base`."""
        space = self.keyspace
        return Capture(base, self.revision, dict(space.records), self.version, ledger=dict(space.ledger.rows))

    def digest(self) -> bytes:
        """A hash of the whole state: contents, expiries, revisions, stamp, version. Reads every key."""
        head = b"%d %d %d %d " % (self.stamp, self.revision, self.version, len(self.keyspace))
        return blake2b(head + self.keyspace.digest() + self.keyspace.ledger.digest(), digest_size=32).digest()

    def apply(self, stamp: int, commands: Sequence[Command]) -> list[Reply]:
        """Expire what is due at `stamp`, then run the commands. Returns one reply for each.

        While a transaction over several groups has locked keys here, or slots are frozen, a command that
        needs one of these is not done, and no command after it: the reply to each is CommandFailure.LOCKED.
        So the commands of a client keep their order. One for a slot of another group replies NOT_OWNER, for
        itself.
        """
        if stamp < self.stamp:
            raise BrokenInvariant(f"stamp {stamp} is below the last one, {self.stamp}")
        self.stamp = stamp
        if self.keyspace.due.live:
            self.expired += self.keyspace.expire(stamp)
        replies: list[Reply] = []
        space = self.keyspace
        prepared = space.transactions.prepared
        if prepared or space.slots is not None:
            return self._apply_guarded(commands)
        put = space.put
        for command in commands:
            if type(command) is Put:  # most of all traffic: saves a call
                self.revision += 1
                put(command.key, command.value, self.revision)
                replies.append("OK")
            else:
                replies.append(FUNCTIONS[type(command)](self, command))
                if prepared or space.slots is not None:
                    return replies + self._apply_guarded(commands[len(replies) :])
        return replies

    def _apply_guarded(self, commands: Sequence[Command]) -> list[Reply]:
        """The same while keys are locked, or slots may be frozen or gone: only steps are done in any case."""
        replies: list[Reply] = []
        held_up = False
        space = self.keyspace
        prepared = space.transactions.prepared
        for command in commands:
            if type(command) is Put and not (prepared or held_up):  # as in `apply`: saves three calls
                slots = space.slots
                if slots is None or slots.owns(command.key):
                    self.revision += 1
                    space.put(command.key, command.value, self.revision)
                    replies.append("OK")
                    continue
            if type(command) not in STEPS:
                refused = CommandFailure.LOCKED if held_up else self.refused(command)
                if refused is not None:
                    held_up = refused is CommandFailure.LOCKED
                    replies.append(refused)
                    continue
            replies.append(FUNCTIONS[type(command)](self, command))
        return replies

    def refused(self, command: Command) -> CommandFailure | None:
        """Why a logged command is not done now; None when it is.

        A transaction or script that removes all keys is for a group that has all slots. Before version 7 any
        group did it, so that members of several programs go on alike until then.
        """
        wanted, slots = footprint(command), self.keyspace.slots
        refused = self.refusal(wanted)
        if refused is None and wanted.whole == Whole.WRITE and self.version >= WHOLE_SINCE:
            inner = command.command if type(command) is Once else command
            if type(inner) in (Exec, Evaluated) and slots is not None and slots.count < SLOTS:
                return CommandFailure.NOT_OWNER
        return refused

    def raise_version(self, stamp: int, version: int) -> None:
        """Apply a VERSION entry: `version` is in force from here on. The host stops if it lacks it."""
        self.mark(stamp)
        self.version = max(self.version, version)

    def mark(self, stamp: int) -> None:
        """Apply an entry at which every replica takes a checkpoint, which does not hold `removals`."""
        self.apply(stamp, ())
        self.keyspace.ledger.forget(stamp, FORGOTTEN_PER_MARKER)
        self.keyspace.removals.forget(self.revision)


def _execute(state: MachineState, command: Exec) -> Reply:
    if not state.keyspace.unchanged(command.watched):
        return None
    if command.read and not state.keyspace.unchanged(command.read):
        return CommandFailure.SCRIPT_CONFLICT
    return execute(state, command.steps, _run)


def _evaluated(state: MachineState, command: Evaluated) -> Reply:
    if not state.keyspace.unchanged(command.watched):
        return CommandFailure.SCRIPT_CONFLICT
    before, changed = state.revision, False
    for step in command.steps:
        state.revision = before
        FUNCTIONS[type(step)](state, step)
        changed = changed or state.revision > before
    state.revision = before + changed
    return decode_replies(command.reply)[0] if command.reply else None


def _guarded(state: MachineState, command: Guarded) -> Reply:
    if not locks.holds(state, command.name, command.token):
        return CommandFailure.LOCK_LOST
    return FUNCTIONS[type(command.command)](state, command.command)


def _once(state: MachineState, command: Once) -> Reply:
    return once(state, command, _run)


def _run(state: MachineState, command: Any) -> Reply:
    return FUNCTIONS[type(command)](state, command)


def _step(function: Callable[[MachineState, Any, Run], Reply], state: MachineState, command: Any) -> Reply:
    return function(state, command, _run)


STEPS: frozenset[type] = frozenset(
    (
        *transactions.FUNCTIONS,
        *moves.FUNCTIONS,
        *slot_map.FUNCTIONS,
        *created_groups.FUNCTIONS,
        *placement.FUNCTIONS,
    )
)
"""The types of the steps of transactions over several groups and of moves of slots, of what plans these, and
of what creates groups and places votes.
"""

FUNCTIONS: dict[type, Callable[[MachineState, Any], Reply]] = {
    **strings.FUNCTIONS,
    **keys.FUNCTIONS,
    **bits.FUNCTIONS,
    **locks.FUNCTIONS,
    **scripts.FUNCTIONS,
    **libraries.FUNCTIONS,
    **users.FUNCTIONS,
    Guarded: _guarded,
    Exec: _execute,
    Evaluated: _evaluated,
    Once: _once,
    **moves.FUNCTIONS,
    **slot_map.FUNCTIONS,
    **created_groups.FUNCTIONS,
    **placement.FUNCTIONS,
    **{type_: partial(_step, function) for type_, function in transactions.FUNCTIONS.items()},
}
"""The function of each command."""
