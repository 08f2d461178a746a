"""A state machine over another one, which it leaves as it is: what the leader evaluates scripts on.

The commands of a batch run here in their order before the batch is logged, so that a script sees those before
it. What one command or script changes is apart from what came before, until it is kept or dropped: a script
that fails has done nothing. In a transaction with several scripts each of them holds what came before it, so
that it is dropped alone. Keys that the batch's stamp lets expire count as missing from the beginning.

What a script touches is remembered with the revision that it found. The batch is logged right after the
state that this lies on, so it finds the same when it is applied. The logged command watches these keys
nevertheless: whatever went wrong, an effect never rests on anything but what the script saw.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence

from kraft.kv.commands import Command, Step, Watched
from kraft.kv.footprint import Footprint
from kraft.kv.machine import FUNCTIONS, Machine
from kraft.kv.overlaid_keyspace import OverlaidKeyspace
from kraft.kv.record import Record
from kraft.kv.replies import CommandFailure, Reply


class Overlay:
    """The state of `base`, that of `group`, at `stamp` (Unix ms), and what commands make of it.

    `slots` are those of the group, None if none has moved. `guarded`: the base may refuse commands, because
    of these or of locks.
    """

    def __init__(
        self,
        base: Machine,
        stamp: int,
        *,
        group: int = 0,
        premature: range = range(0),
        declared: Collection[bytes] | None = None,
    ) -> None:
        """`premature` are the times at which no key may be told to expire: see `LeaderClock`.

        With `declared` these keys alone are here, of several groups, and revisions are not those of a group.
        """
        self.group = group
        self.declared = declared
        self.slots = base.keyspace.slots
        self._base = base
        self.guarded = self.slots is not None or bool(base.keyspace.transactions.prepared)
        self.premature = premature
        self.machine = machine = Machine()
        self._keyspace = OverlaidKeyspace(base.keyspace, stamp)
        machine.keyspace, machine.stamp, machine.revision = self._keyspace, stamp, base.revision
        machine.version = base.version
        self._kept_revision = base.revision
        self._held = base.revision, self._keyspace.bytes

    def apply(self, commands: Sequence[Command]) -> None:
        """Apply commands for good, but for those that the base refuses: they do nothing when they are logged.

        They are no steps of transactions and moves, which would need their locks here. No script is evaluated
        after one of these in the same batch.
        """
        if self.guarded:
            commands = [command for command in commands if self._base.refused(command) is None]
        self.machine.apply(self.machine.stamp, commands)
        self.keep()

    def refusal(self, wanted: Footprint) -> CommandFailure | None:
        """Why the base can do nothing with the keys that are wanted; None when it can."""
        return self._base.refusal(Footprint(wanted.written, wanted.read))

    def step(self, step: Step) -> Reply:
        """Apply one of several commands that have one revision together, as in an `Exec`."""
        machine = self.machine
        if machine.revision == self._kept_revision:
            return FUNCTIONS[type(step)](machine, step)
        machine.revision = self._kept_revision  # of which all steps change it by one
        reply = FUNCTIONS[type(step)](machine, step)
        machine.revision = self._kept_revision + 1
        return reply

    @property
    def touched(self) -> tuple[Watched, ...]:
        """What was looked at since `keep`, as it was found."""
        seen = self._kept_revision
        return tuple(
            [
                Watched(key, 0 if record is None else record.revision, seen)
                for key, record in self._keyspace.overlaid.touched.items()
            ]
        )

    @property
    def changes(self) -> Mapping[bytes, Record | None]:
        """What keys that have changed since `keep` or `hold` hold now, None for a removed one."""
        return self._keyspace.overlaid.changes

    def names(self) -> Iterator[bytes]:
        """All keys that there are. None of them counts as looked at."""
        return self._keyspace.overlaid.names()

    def keep(self) -> None:
        """What happened since the last `keep` is valid, and has one revision."""
        self._keyspace.overlaid.keep()
        self._keyspace.rows.keep()
        self._kept_revision = self.machine.revision
        self._held = self.machine.revision, self._keyspace.bytes

    def hold(self) -> None:
        """What happened since the last `keep` is what `drop` leaves as it is."""
        self._keyspace.overlaid.hold()
        self._keyspace.rows.hold()
        self._held = self.machine.revision, self._keyspace.bytes

    def drop(self) -> None:
        """What happened since `keep` or `hold` is not valid."""
        self._keyspace.overlaid.drop()
        self._keyspace.rows.drop()
        self.machine.revision, self._keyspace.bytes = self._held
