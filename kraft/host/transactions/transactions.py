"""Transactions over several groups on one node: those of its clients, and the recovery of those it finds."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial

from kraft.config import Config
from kraft.host.absent.absent_groups import AbsentGroups
from kraft.host.group.group import Group
from kraft.host.requests.proposal import WriteDone
from kraft.host.requests.round import ReadDone, View
from kraft.host.requests.transaction_waits import KeysOfRead
from kraft.host.slots import SlotMap
from kraft.host.transactions.coordinator import Coordinator, TransactionDone
from kraft.host.transactions.cut import Cut
from kraft.host.transactions.once import OnceTransaction
from kraft.host.transactions.optimistic import OptimisticTransaction
from kraft.host.transactions.ports import Computation
from kraft.host.transactions.recovery import TransactionRecovery
from kraft.host.transactions.token_use import TokenUse
from kraft.kv.commands import URGENT, Command, Exec, TransactionId
from kraft.kv.machine import Machine
from kraft.kv.replies import CommandFailure
from kraft.kv.slots import slot_of
from kraft.node.errors import Stopping
from kraft.node.ports import Clock
from kraft.node.status import TransactionStatus


class Transactions:
    """The transactions of one node over its `groups`, and those `elsewhere`; it gives its parts the
    `GroupRequests`.

    `session` is a number that no other process of this node has had.
    """

    def __init__(
        self,
        config: Config,
        session: int,
        groups: Mapping[int, Group],
        elsewhere: AbsentGroups,
        slots: SlotMap,
        clock: Clock,
    ) -> None:
        name, client = b"%s:%x" % (config.node.id.encode(), session), config.client
        self.coordinator = Coordinator(name, self, clock, client.write_timeout, client.leader_wait)
        self.recoveries: dict[int, TransactionRecovery] = {}  # by group
        self._groups = groups
        self._elsewhere = elsewhere
        self._slots = slots
        self._clock = clock
        self._patience = config.transactions.patience
        self._stops = False

    # -- for the client port --------------------------------------------------------------------------

    def execute(
        self, parts: Mapping[int, Exec], size: int, done: TransactionDone, use: TokenUse | None = None
    ) -> None:
        """Execute `parts`, by group, as one, as `Coordinator.execute`; once for the `use` of a token."""
        if use is None:
            self.coordinator.execute(parts, size, done)
        else:
            begin = partial(self.coordinator.execute, parts, size, use=use)
            OnceTransaction(use, begin, self, self.coordinator, done).look()

    def cut(self, parts: Mapping[int, Exec], size: int, done: TransactionDone, *, fresh: bool) -> None:
        """Execute `parts` that only look at keys, as of one moment. `done` gets what `execute` gives."""
        Cut(parts, size, self, self.coordinator, done, fresh=fresh).start()

    def compute(
        self, computation: Computation, size: int, done: TransactionDone, use: TokenUse | None = None
    ) -> None:
        """Execute what has to see keys of several groups at once. `done` gets what `execute` gives."""
        if use is None:
            self._compute(computation, size, None, done)
        else:
            begin = partial(self._compute, computation, size, use)
            OnceTransaction(use, begin, self, self.coordinator, done).look()

    def _compute(
        self, computation: Computation, size: int, use: TokenUse | None, done: TransactionDone
    ) -> None:
        coordinator = self.coordinator
        deadline = coordinator.deadline()
        OptimisticTransaction(computation, size, self, coordinator, deadline, done, use).read()

    def unfinished(self) -> list[TransactionStatus]:
        """Those that are not over, as the replicas of this node know."""
        found = []
        for group in sorted(self._groups):
            index = self._groups[group].state.machine.keyspace.transactions
            stamp = self._groups[group].state.machine.stamp
            for hold in index.prepared.values():
                names = [*hold.footprint.written, *hold.footprint.read]
                keys = tuple(name for name in names if isinstance(name, bytes))
                age = (stamp - hold.since) / 1000
                found.append(TransactionStatus(_text(hold.id), group, "prepared", hold.home, age, keys))
            found += [
                TransactionStatus(_text(each.id), group, "committed", group, 0.0, (), each.waiting)
                for each in index.decisions.values()
            ]
        return found

    # -- for the parts --------------------------------------------------------------------------------

    def write(
        self, group: int, commands: Sequence[Command], size: int, done: WriteDone, *, waits: bool = False
    ) -> None:
        """As `GroupRequests.write`."""
        target = self._groups.get(group)
        if self._stops:
            self._clock.call_soon(partial(done, Stopping()))
        elif target is None:
            again = partial(self.write, group, commands, size, done, waits=waits)
            self._elsewhere.write(group, commands, size, done, again, waits=waits)
        elif waits:
            target.requests.transaction_waits.write(commands, size, done)
        elif type(commands[0]) in URGENT:
            target.requests.writes.write_soon(commands, size, done)
        else:
            target.requests.writes.write(commands, size, done)

    def read(self, group: int, keys: KeysOfRead, done: ReadDone, *, fresh: bool = False) -> None:
        """As `GroupRequests.read`."""
        target = self._groups.get(group)
        if target is None:
            again = partial(self.read, group, keys, done, fresh=fresh)
            self._elsewhere.read(group, keys, done, again, fresh=fresh)
        else:
            target.requests.transaction_waits.read(keys, done, fresh)

    def applied(self, group: int, keys: Collection[bytes]) -> View | None:
        """As `GroupRequests.applied`."""
        target = self._groups.get(group)
        if target is None or target.state.fenced or not self._owned(group, target.state.machine, keys):
            return None
        machine = target.state.machine
        return View(machine.keyspace, machine.stamp, machine.revision)

    def _owned(self, group: int, machine: Machine, keys: Collection[bytes]) -> bool:
        table = machine.keyspace.slots
        if table is None:  # none of its slots has ever come or gone
            return all(self._slots.first_owner(slot_of(key)) == group for key in keys)
        return table.refusal(keys) is not CommandFailure.NOT_OWNER

    def log_time(self) -> int:
        """As `GroupRequests.log_time`."""
        stamps = (group.state.machine.stamp for group in self._groups.values())
        return max([self._clock.wall_ms(), self._elsewhere.newest, *stamps])

    def abandon(self) -> None:
        """The node stops: nothing more is sent. What is left undone, the leaders finish."""
        self._stops = True

    def forget(self, group: int) -> None:
        """The replica of `group` is about to be destroyed."""
        self.recoveries.pop(group, None)

    def tick(self, awake: Iterable[Group]) -> None:
        """One tick of the host passed: in the groups led here, finish what coordinators have left."""
        for group in awake:
            recovery = self.recoveries.get(group.id)
            if recovery is None:
                recovery = TransactionRecovery(group.id, group.state, self, self._clock, self._patience)
                self.recoveries[group.id] = recovery
            recovery.tick(leads=group.raft.state.leads)


def _text(id_: TransactionId) -> str:
    return f"{id_.session.decode(errors='replace')}:{id_.number}"
