"""Requests that meet the keys of a transaction over several groups, or frozen slots, and wait for them.

From Prepare up to Resolve a transaction locks its keys in a group. A write of such a key is not done: the
state machine stops at it, and leaves what follows it in the same entry undone, too. A read finds a value that
is perhaps no longer the newest. Both wait, and cost the log nothing.

Writes wait at the leader, which watches what it applies. Those that want one key wait in the order of their
arrival, and nobody overtakes them: a `Prepare`, which locks its keys, lets those after it wait until it has
its reply. So a key that everybody wants goes from one client to the next, whichever nodes they use. Other
nodes send the steps of transactions, and what met a lock, to the leader to wait there. Reads wait at the node
of the client. Who waits too long is refused, and nothing of it was done.

A frozen slot is about to move to another group. What wants it waits in the same way, until it is in use again
or gone. Then a write replies NOT_OWNER, and a read is refused as `NotOwner`: whoever asked finds the group
that has it now. Nobody waits until this replica has applied that the slot is gone: once the node knows that
the other group owns it, it does not come back by this move.
"""

from collections.abc import Callable, Collection, Sequence
from collections.abc import Set as AbstractSet
from functools import partial
from typing import Any

from kraft.host.applied_state import AppliedState
from kraft.host.requests.leader_route import LeaderRoute
from kraft.host.requests.proposal import WriteDone, WriteOutcome
from kraft.host.requests.read_rounds import read_at
from kraft.host.requests.reads import Reads
from kraft.host.requests.round import ReadDone, ReadOutcome, View
from kraft.host.requests.writes import Writes
from kraft.host.slots import SlotMap
from kraft.kv.commands import URGENT, Command, Commit, Prepare
from kraft.kv.footprint import Footprint, Name, declared, footprint
from kraft.kv.keyspace import Keyspace
from kraft.kv.replies import CommandFailure, Reply
from kraft.kv.transaction_index import TransactionIndex
from kraft.kv.transaction_reply import StepOutcome, transaction_reply
from kraft.node.errors import Locked, NoLeader, NotOwner, Refused, Stopping, TooManyWaiters
from kraft.node.ports import Clock
from kraft.peerwire.messages import WaitingForward
from kraft.raft.raft import Raft

WAITERS_MAX = 2048  # of a group on one node: about 1 ms of a turn in which something is applied

KeysOfRead = Callable[[], Collection[Name]]
"""Gives the keys at which a read looks, and kinds of rows beside them; none for all keys. It is called only
if there are locks, or slots move, or the group is elsewhere.
"""


class WaitingWrite:
    """Commands that are done together, up to the first one that meets a lock: `replies` are those so far.

    `locks`: it is a step that may lock keys, so it goes where it can wait, as does one that `met` a lock. A
    `remote` one came from another node. One that is `counted` waits for a client of this node.
    """

    __slots__ = (
        "asking",
        "commands",
        "counted",
        "deadline",
        "done",
        "locks",
        "met",
        "names",
        "remote",
        "replies",
        "size",
    )

    def __init__(
        self, commands: Sequence[Command], size: int, deadline: float, done: WriteDone, *, remote: bool
    ) -> None:
        self.commands = commands
        self.size = size
        self.deadline = deadline
        self.done = done
        self.remote = remote
        self.counted = False
        self.locks = may_lock(commands)
        self.met = False
        self.replies: list[Reply] = []
        self.names: frozenset[Name] = frozenset()
        self.asking = False  # its commands are on their way through the log


class WaitingRead:
    """A confirmed read of `keys`, for which `now_ms` is the time.

    A read of all keys waits for what it found: for the transactions `holders`, as what was committed before
    it began is among them, and for the `moves` of frozen slots. There may always be others.
    """

    __slots__ = ("deadline", "done", "holders", "keys", "moves", "now_ms")

    def __init__(
        self,
        keys: Collection[Name],
        space: Keyspace,
        deadline: float,
        now_ms: int,
        done: ReadDone,
    ) -> None:
        """The read has found `space`."""
        whole = not keys
        self.keys = keys
        self.holders = frozenset(space.transactions.prepared if whole else ())
        self.moves = space.slots.leaving if whole and space.slots is not None else frozenset()
        self.deadline = deadline
        self.now_ms = now_ms
        self.done = done

    def awaits(self, transactions: TransactionIndex) -> AbstractSet[bytes]:
        """The names of the transactions for whose locks it waits."""
        prepared = transactions.prepared.keys()
        return transactions.locks.hiding(self.keys) if self.keys else self.holders & prepared


class TransactionWaits:
    """The requests on one replica that wait for keys: `writing` and `reading`. Only this class changes these.

    Nobody waits longer than `seconds`, and of the clients of this node not more than WAITERS_MAX with writes,
    and as many with reads. `count` is how many requests ever had to wait.
    """

    def __init__(
        self,
        group: int,
        raft: Raft,
        state: AppliedState,
        writes: Writes,
        reads: Reads,
        route: LeaderRoute,
        slots: SlotMap,
        clock: Clock,
        seconds: float,
    ) -> None:
        self.count = 0
        self.writing: list[WaitingWrite] = []
        self.reading: list[WaitingRead] = []
        self._group = group
        self._raft = raft
        self._state = state
        self._writes = writes
        self._reads = reads
        self._route = route
        self._slots = slots
        self._clock = clock
        self._seconds = seconds
        slots.watchers[group] = self._owners_changed
        self._counted = 0  # writes of this node's clients that wait, here or at the leader

    def write(self, commands: Sequence[Command], size: int, done: WriteDone) -> None:
        """As `Writes.write`; commands that meet a lock wait for it.

        Those that have waited too long reply `CommandFailure.LOCKED`: they were not done.
        """
        deadline = self._clock.seconds() + self._seconds
        self._go_on(WaitingWrite(commands, size, deadline, done, remote=False))

    def forward_received(self, sender: str, message: WaitingForward) -> None:
        """Another node sends writes to this one as the leader; they may wait here."""
        reply = partial(self._writes.reply, sender, message.request)
        commands = self._writes.admitted(message, reply)
        if commands is None:
            return
        size, seconds = len(message.commands), min(self._seconds, message.timeout_ms / 2000)
        if not URGENT.isdisjoint(map(type, commands)):
            self._writes.write_soon(commands, size, reply)
        else:  # it is over before the sender gives up
            deadline = self._clock.seconds() + seconds
            self._go_on(WaitingWrite(commands, size, deadline, reply, remote=True))

    def read(self, keys: KeysOfRead, done: ReadDone, fresh: bool) -> None:
        """As `Reads.read`; while a transaction may have changed one of `keys`, the read waits.

        It waits for frozen slots, too. `done` gets `NotOwner` if a key is in a slot that has moved away.
        """
        self._reads.read(partial(self._viewed, keys, done), fresh)

    def read_stale(self, keys: KeysOfRead, done: ReadDone) -> None:
        """As `Reads.read_stale`; a read of a frozen slot asks the leader: its keys may change elsewhere."""
        self._reads.read_stale(partial(self._glanced, keys, done))

    def look(self) -> None:
        """This replica may have applied entries: let requests go on whose keys are free."""
        if self.reading:
            self.look_at_reads()
        if self.writing and not self._raft.state.leads:
            self._leave()
        now = self._clock.seconds()
        taken: set[Name] = set()  # for which somebody waits who came earlier
        for writing in list(self.writing):
            if not writing.asking:
                if writing.deadline <= now:
                    self._settle(writing, [CommandFailure.LOCKED] * len(writing.commands))
                    continue
                if self._has_left(writing):
                    self._settle(writing, [CommandFailure.NOT_OWNER] * len(writing.commands))
                    continue
                if _disjoint(writing.names, taken) and not self._blocked(writing.commands):
                    self._ask(writing)
            if _keeps_others(writing):
                taken |= writing.names

    def look_at_reads(self) -> None:
        """As `look`, after every single entry: a key that many want is free for moments only."""
        now = self._clock.seconds()
        for reading in list(self.reading):
            self._look_at_read(reading, now)

    def abandon(self, refusal: Refused | None = None) -> None:
        """The group stops: nobody waits any longer."""
        self._slots.watchers.pop(self._group, None)
        writing, self.writing = self.writing, []
        reading, self.reading = self.reading, []
        for write in writing:
            if not write.asking:
                left: list[Reply] = [CommandFailure.LOCKED] * len(write.commands)
                write.done([*write.replies, *left] if write.replies else refusal or Stopping())
        for read in reading:
            read.done(refusal or Stopping())

    # -- writes ---------------------------------------------------------------------------------------

    def _go_on(self, writing: WaitingWrite) -> None:
        """Send a write on its way: here, if this replica leads, else to the leader."""
        leader = self._route.target
        if self._raft.state.leads:
            if (self.writing or self._locked) and not self._free(writing):
                self._wait(writing)
            else:
                self._ask(writing)
        elif leader and self._in_force and self._may_wait(writing):
            if self._admits(writing):
                written = partial(self._written, writing)
                self._writes.forward_to_wait(leader, writing.commands, writing.size, written)
        else:
            self._ask(writing)

    def _may_wait(self, writing: WaitingWrite) -> bool:
        """Whether a write goes to the leader as one that may wait there.

        A step that has met no lock, as far as this replica knows, is not refused because many wait: it goes
        as other writes do, then, and is counted if it meets a lock.
        """
        if writing.met or self._blocked(writing.commands):
            return True
        return writing.locks and (writing.counted or self._counted < WAITERS_MAX)

    def _admits(self, writing: WaitingWrite) -> bool:
        """Count a write that has to wait; one of a client too many is refused. Not done: all of its rest."""
        if not (writing.remote or writing.counted):
            if self._counted >= WAITERS_MAX:
                self._clock.call_soon(partial(self._settle, writing, TooManyWaiters()))
                return False
            writing.counted = True
            self._counted += 1
        return True

    @property
    def _in_force(self) -> bool:
        """Whether all nodes know transactions over several groups."""
        return self._state.machine.version >= Prepare.since

    @property
    def _locked(self) -> bool:
        """Whether anything is locked or frozen."""
        space = self._state.machine.keyspace
        return bool(space.transactions.prepared) or (space.slots is not None and space.slots.frozen)

    def _free(self, writing: WaitingWrite) -> bool:
        """Whether no key of a new write is locked, and nobody waits for one of them."""
        if self._blocked(writing.commands):
            return False
        names = _names(writing.commands) if self.writing else frozenset()
        return all(_disjoint(names, other.names) for other in self.writing if _keeps_others(other))

    def _wait(self, writing: WaitingWrite) -> None:
        if not self._admits(writing):
            return
        writing.names = _names(writing.commands)
        self.writing.append(writing)
        self.count += 1

    def _leave(self) -> None:
        """Another node leads now, or none: who waits here goes there, those of other nodes by themselves."""
        waiting = [writing for writing in self.writing if not writing.asking]
        self.writing = [writing for writing in self.writing if writing.asking]
        for writing in waiting:
            if writing.remote:
                self._settle(writing, NoLeader(self._group))
            else:
                self._go_on(writing)

    def _ask(self, writing: WaitingWrite) -> None:
        writing.asking = True
        self._writes.write(writing.commands, writing.size, partial(self._written, writing))

    def _written(self, writing: WaitingWrite, outcome: WriteOutcome) -> None:
        writing.asking = False
        place = None if isinstance(outcome, Exception) else first_locked(writing.commands, outcome)
        if place is None or isinstance(outcome, Exception):
            self._settle(writing, outcome)
            return
        if any(reply is CommandFailure.NOT_OWNER for reply in outcome[:place]):
            self._settle(writing, not_owned_from(outcome, place))
            return
        writing.replies += outcome[:place]
        writing.commands = writing.commands[place:]
        writing.met = True
        if writing in self.writing:
            writing.names = _names(writing.commands)
        elif self._clock.seconds() >= writing.deadline:
            self._settle(writing, outcome[place:])
        elif self._raft.state.leads:
            self._wait(writing)
        else:
            self._go_on(writing)

    def _settle(self, writing: WaitingWrite, outcome: WriteOutcome) -> None:
        if writing in self.writing:
            self.writing.remove(writing)
        self._counted -= writing.counted
        if writing.replies and isinstance(outcome, Refused):
            outcome = [CommandFailure.LOCKED] * len(writing.commands)  # the others are done
        writing.done([*writing.replies, *outcome] if isinstance(outcome, list) else outcome)

    def _blocked(self, commands: Sequence[Command]) -> bool:
        """Whether this replica knows that a key of the commands is locked or frozen."""
        refusal = self._state.machine.refusal
        return self._locked and any(
            refusal(_footprint(command), _own(command)) is CommandFailure.LOCKED for command in commands
        )

    # -- slots that leave -----------------------------------------------------------------------------

    def _owners_changed(self) -> None:
        if self.writing or self.reading:
            self._clock.call_soon(self.look)

    def _has_left(self, writing: WaitingWrite) -> bool:
        """Whether a command wants a slot that another group owns, as far as this node knows.

        A step of a transaction waits for the log: what becomes of the transaction is decided there.
        """
        return not writing.locks and self._refused(writing.names) is CommandFailure.NOT_OWNER

    def _refused(self, names: Collection[Name], *, whole: bool = False) -> CommandFailure | None:
        """As `SlotTable.refusal`, if what is frozen here was not taken over by another group."""
        table = self._state.machine.keyspace.slots
        refused = None if table is None else table.refusal(names, whole=whole)
        if table is not None and refused is CommandFailure.LOCKED:
            taken = self._slots.taken_from(self._group, table, names)
            return CommandFailure.NOT_OWNER if taken else refused
        return refused

    # -- reads ----------------------------------------------------------------------------------------

    def _viewed(self, keys: KeysOfRead, done: ReadDone, outcome: ReadOutcome) -> None:
        space = self._state.machine.keyspace
        if not isinstance(outcome, View) or not (space.transactions.prepared or space.slots is not None):
            done(outcome)
            return
        deadline = self._clock.seconds() + self._seconds
        reading = WaitingRead(keys(), space, deadline, outcome.now_ms, done)
        refused = self._refusal(reading)
        if refused is CommandFailure.LOCKED and len(self.reading) < WAITERS_MAX:
            self.reading.append(reading)
            self.count += 1
        elif refused is CommandFailure.LOCKED:
            done(TooManyWaiters())
        else:
            done(outcome if refused is None else NotOwner(self._group))

    def _glanced(self, keys: KeysOfRead, done: ReadDone, outcome: ReadOutcome) -> None:
        refused = None
        if self._state.machine.keyspace.slots is not None and isinstance(outcome, View):
            names = keys()
            refused = self._refused(names, whole=not names)
        if refused is CommandFailure.LOCKED:
            self.read(keys, done, fresh=False)
        else:
            done(outcome if refused is None else NotOwner(self._group))

    def _look_at_read(self, reading: WaitingRead, now: float) -> None:
        """Answer a read whose keys are free: its index is applied here, so what came later will do, too."""
        state = self._state
        refused = self._refusal(reading)
        outcome: ReadOutcome
        if state.fenced:
            outcome = NoLeader(self._group)
        elif refused is None:
            machine = state.machine
            at = read_at(max(reading.now_ms, machine.stamp), machine.keyspace)
            outcome = View(machine.keyspace, at, machine.revision)
        elif refused is CommandFailure.NOT_OWNER:
            outcome = NotOwner(self._group)
        elif reading.deadline <= now:
            outcome = Locked(self._group)
        else:
            return
        self.reading.remove(reading)
        reading.done(outcome)

    def _refusal(self, reading: WaitingRead) -> CommandFailure | None:
        """Why the read cannot be answered here; LOCKED: what it looks at may change, or has, unseen here."""
        space = self._state.machine.keyspace
        transactions, refused = space.transactions, None
        if not reading.keys:
            moves = frozenset() if space.slots is None else space.slots.leaving
            hidden = bool(moves & reading.moves) or not reading.holders.isdisjoint(transactions.prepared)
        else:
            refused = self._refused(reading.keys)
            hidden = bool(transactions.prepared) and transactions.locks.hides(reading.keys)
        return CommandFailure.LOCKED if refused is None and hidden else refused


_LOCKING = frozenset({Prepare, Commit})
EVERYTHING = -1  # in place of all names, for FLUSHALL


def _keeps_others(writing: WaitingWrite) -> bool:
    """Whether those who came later and want the same keys have to wait for this one."""
    return not writing.asking or any(type(command) is Prepare for command in writing.commands)


def _disjoint(names: frozenset[Name], taken: AbstractSet[Name]) -> bool:
    """Whether what wants `names` need not wait for what wants `taken`; EVERYTHING is in the way of all."""
    if EVERYTHING in taken or (taken and EVERYTHING in names):
        return False
    return names.isdisjoint(taken)


def may_lock(commands: Sequence[Command]) -> bool:
    """Whether a step among the commands may lock keys."""
    return any(type(command) in _LOCKING for command in commands)


def not_owned_from(replies: Sequence[Reply], place: int) -> list[Reply]:
    """The replies where one before `place` is NOT_OWNER, and the command there met a lock.

    What is sent again for another group has to come before what waits, so that goes with it.
    """
    left: list[Reply] = [CommandFailure.NOT_OWNER] * (len(replies) - place)
    return [*replies[:place], *left]


def first_locked(commands: Sequence[Command], replies: Sequence[Reply]) -> int | None:
    """The place of the first command that was not done because of a lock."""
    for place, (command, reply) in enumerate(zip(commands, replies, strict=True)):
        if reply is CommandFailure.LOCKED:
            return place
        if type(command) is Prepare and transaction_reply(reply).outcome is StepOutcome.LOCKED:
            return place
    return None


def _names(commands: Sequence[Command]) -> frozenset[Name]:
    prints = map(_footprint, commands)
    names: set[Name] = set()
    for each in prints:
        names.update(each.written, each.read, (EVERYTHING,) if each.whole else ())
    return frozenset(names)


def _footprint(command: Any) -> Footprint:
    """That of a command on its way to the leader."""
    if type(command) is Prepare or type(command) is Commit:
        return footprint(command.work)
    return declared(command)


def _own(command: Command) -> bytes:
    """The name of the transaction whose own locks are no obstacle."""
    return command.id.name if isinstance(command, Prepare | Commit) else b""
