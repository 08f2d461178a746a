"""A host that answers on request, with real state machines, for tests of the client port without sockets."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any

from twisted.internet.task import Clock

from kraft.host.moves.script_copy import ScriptCopy
from kraft.host.requests.evaluation import Evaluation, with_evaluated
from kraft.host.requests.lock_waits import LockWaits
from kraft.host.requests.proposal import Proposal
from kraft.host.requests.round import View
from kraft.host.slots import SlotMap
from kraft.host.transactions.coordinator import Coordinator
from kraft.host.transactions.cut import Cut
from kraft.host.transactions.once import OnceTransaction
from kraft.host.transactions.optimistic import OptimisticTransaction
from kraft.kv.commands import Command, Lock, calls_script
from kraft.kv.keyspace import IndexType
from kraft.kv.machine import Machine
from kraft.kv.replies import CommandFailure
from kraft.kv.versions import MACHINE_VERSION
from kraft.node.errors import NotOwner, Uncertain
from kraft.node.status import GroupStatus, MemberStatus, MoveStatus, ReplicaStatus, Status

WALL_MS = 1_700_000_000_000


class FakeClock(Clock):
    """Twisted's test clock with kraft's names."""

    def wall_ms(self) -> int:
        return WALL_MS + int(self.seconds() * 1000)

    def call_later(self, delay: float, call: Callable[[], object]) -> Any:
        return self.callLater(delay, call)

    def call_soon(self, call: Callable[[], object]) -> None:
        self.callLater(0, call)


class FakeMemory:
    """The data of these machines; the test sets `leader_full`."""

    def __init__(self, machines: Sequence[Machine]) -> None:
        self._machines = machines
        self.full = self.leader_full = False

    @property
    def bytes(self) -> int:
        return sum(machine.keyspace.bytes for machine in self._machines)


class FakeBackpressure:
    """The test sets `saturated`, and ends that by `relieve`."""

    def __init__(self) -> None:
        self.saturated = False
        self._relief: list[Callable[[], None]] = []

    def on_relief(self, call: Callable[[], None]) -> None:
        self._relief.append(call)

    def relieve(self) -> None:
        self.saturated = False
        relief, self._relief = self._relief, []
        for call in relief:
            call()


class FakeIndexes:
    """Builds an index at once, and does the steps of a long command while the host answers."""

    def __init__(self, host: "FakeHost") -> None:
        self._host = host

    def when_ready(self, group: int, kind: IndexType, done: Callable[[], None]) -> None:
        keyspace = self._host.machines[group].keyspace
        if not keyspace.has_index(kind):
            for _ in keyspace.build_index(kind):
                pass
        done()

    def do(self, steps: Iterator[object]) -> None:
        self._host._pending.append(lambda: self.step(steps))

    def step(self, steps: Iterator[object]) -> None:
        if next(steps, steps) is not steps:
            self.do(steps)


class FakeTransactions:
    """The real coordinator, on the groups of a fake host. No command waits for a lock."""

    def __init__(self, host: "FakeHost", clock: FakeClock) -> None:
        self._host = host
        self._clock = clock
        self.open: list[Any] = []
        self.coordinator = Coordinator(b"K1", self, clock, write_timeout=5.0, leader_wait=2.0)

    def execute(self, parts: Any, size: int, done: Any, use: Any = None) -> None:
        self._begin(partial(self.coordinator.execute, parts, size, use=use), done, use)

    def cut(self, parts: Any, size: int, done: Any, *, fresh: bool) -> None:
        Cut(parts, size, self, self.coordinator, done, fresh=fresh).start()

    def compute(self, computation: Any, size: int, done: Any, use: Any = None) -> None:
        coordinator = self.coordinator

        def begin(done: Any) -> None:
            deadline = coordinator.deadline()
            OptimisticTransaction(computation, size, self, coordinator, deadline, done, use).read()

        self._begin(begin, done, use)

    def _begin(self, begin: Any, done: Any, use: Any) -> None:
        if use is None:
            begin(done)
        else:
            OnceTransaction(use, begin, self, self.coordinator, done).look()

    def write(self, group: int, commands: Any, size: int, done: Any, *, waits: bool = False) -> None:
        self._host.write(group, commands, size, done)

    def read(self, group: int, keys: Any, done: Any, *, fresh: bool = False) -> None:
        self._host.read_keys(group, keys, done, fresh)

    def applied(self, group: int, keys: Any) -> None:
        return None

    def log_time(self) -> int:
        return self._clock.wall_ms()

    def unfinished(self) -> Any:
        return self.open


class FakeUsers:
    """Tells of changes at once; the test sets `age`."""

    def __init__(self, host: "FakeHost") -> None:
        self.age = 0.0
        self.watcher: Any = None
        self._host = host

    def watch(self, watcher: Any) -> None:
        self.watcher = watcher
        self._host.look_at_users()


class FakeHost:
    """One or more groups of one node. Nothing is answered before `turn`, unless `failing` says how."""

    def __init__(self, clock: FakeClock, groups: int = 1) -> None:
        self.id = "K1"
        self.slots = SlotMap(groups)
        self.machines = [Machine() for _ in range(groups)]
        for machine in self.machines:
            machine.version = MACHINE_VERSION  # of a cluster in which all nodes run this program
        self.leaders = ["K1"] * groups
        self.addresses = {"K1": "127.0.0.1:10011", "K2": "127.0.0.1:10012"}
        self.backpressure = FakeBackpressure()
        self.failing: Exception | None = None
        self.failing_in: dict[int, Exception] = {}  # the same by group
        self.reason = ""  # why no request can succeed
        self.lost = False  # whether writes are applied, and their replies are lost
        self.writes: list[tuple[int, list[Command]]] = []
        self.reads: list[int] = []
        self.changed: dict[str, Any] = {}  # in the status of every group
        self.node_changed: dict[str, Any] = {}  # in the status of the node
        self.levels: list[str] = []  # of the reads
        self.orders: list[Any] = []  # of administrators
        self.result: Any = "OK"  # of the next of them
        self._clock = clock
        self.memory = FakeMemory(self.machines)
        self.indexes = FakeIndexes(self)
        self._pending: list[Callable[[], None]] = []
        self._lock_waits: dict[int, Any] = {}
        self.premature = range(0)  # as of a `LeaderClock`, for scripts
        self.transactions = FakeTransactions(self, clock)
        self.users = FakeUsers(self)
        self.elsewhere: Any = SimpleNamespace(has=lambda _: False)
        self.moving: list[MoveStatus] = []
        self.moves = SimpleNamespace(status=lambda: self.moving, copy_scripts=self._copy_scripts)

    def use_evaluator(self, evaluator: Any, queries: Any = None) -> None:
        self.evaluator = evaluator

    def look_at_users(self) -> None:
        self.machines[0].users_changed = False
        self.users.watcher(self.machines[0].keyspace.ledger)

    def write(self, group: int, commands: Sequence[Command], size: int, done: Any) -> None:
        assert size >= 0
        self.writes.append((group, list(commands)))
        self._pending.append(lambda: done(self._failure(group) or self._outcome(group, commands)))

    def _copy_scripts(self, group: int, read: Any, done: Any) -> None:
        requests: Any = SimpleNamespace(write=self.write)
        ScriptCopy(group, read, requests, 1 << 20, done).begin()

    def wait_for_lock(self, group: int, command: Lock, seconds: float, done: Any) -> Any:
        if group not in self._lock_waits:
            state: Any = SimpleNamespace(machine=self.machines[group], fenced=False)
            writes: Any = SimpleNamespace(write=partial(self.write, group))
            self._lock_waits[group] = LockWaits(state, writes, self._clock)
        return self._lock_waits[group].wait(command, seconds, done)

    def _failure(self, group: int) -> Exception | None:
        return self.failing or self.failing_in.get(group)

    def _outcome(self, group: int, commands: Sequence[Command]) -> Any:
        replies = self._apply(group, commands)
        return Uncertain() if self.lost else replies

    def _apply(self, group: int, commands: Sequence[Command]) -> Any:
        machine, stamp = self.machines[group], self._clock.wall_ms()
        if not any(map(calls_script, commands)):
            replies = machine.apply(stamp, commands)
            if machine.users_changed:
                self.look_at_users()
            return replies
        proposal = Proposal(0.0, None, commands, 0, 0.0)
        evaluation = Evaluation(
            machine, stamp, 1, [proposal], self.evaluator, group=group, premature=self.premature
        )
        while not evaluation.advance(self._clock):
            pass
        return with_evaluated(machine.apply(stamp, evaluation.commands), evaluation.replies)

    def read(self, group: int, done: Any, fresh: bool = False) -> None:
        self.levels.append("fresh" if fresh else "default")
        self._read(group, done)

    def read_keys(
        self, group: int, keys: Any, done: Any, fresh: bool = False, needed: int | None = None
    ) -> None:
        self.levels.append("fresh" if fresh else "default")
        self._read(group, done, keys)

    def read_stale(self, group: int, done: Any, keys: Any = list) -> None:
        self.levels.append("stale")
        self._read(group, done, keys)

    def admin(self, command: Any, done: Any) -> None:
        self.orders.append(command)
        self._pending.append(lambda: done(self.failing or self.result))

    def _read(self, group: int, done: Any, keys: Any = list) -> None:
        self.reads.append(group)

        def answer() -> None:
            self.machines[group].apply(self._clock.wall_ms(), [])
            machine = self.machines[group]
            slots = machine.keyspace.slots
            if slots is not None and slots.refusal(keys()) is CommandFailure.NOT_OWNER:
                done(NotOwner(group))
                return
            done(self._failure(group) or View(machine.keyspace, self._clock.wall_ms(), machine.revision))

        self._pending.append(answer)

    def version_obstacle(self, group: int, needed: int) -> str:
        version = self.machines[group].version
        return (
            "" if needed <= version else f"needs machine version {needed}, but version {version} is in force"
        )

    def obstacle(self, group: int) -> str:
        return self.reason

    def leader(self, group: int) -> str:
        return self.leaders[group]

    def client_address(self, node: str) -> str:
        return self.addresses.get(node, "")

    def status(self) -> Status:
        voters, joining = self.changed.get("voters", ("K1", "K2")), self.changed.get("joining", ())
        members = tuple(
            MemberStatus(
                id_, f"{n:032x}", f"127.0.0.1:{10_001 + n}", address, "", id_ in voters, True, 0.01, n,
                id_ in joining,
            )
            for n, (id_, address) in enumerate(self.addresses.items())
        )  # fmt: skip
        groups = tuple(
            GroupStatus(
                group=n, role="leader" if self.leaders[n] == self.id else "follower", term=3,
                leader=self.leaders[n], first_index=1, last_index=9, commit=8, applied=7, voters=("K1", "K2"),
                learners=tuple(id_ for id_ in self.addresses if id_ not in ("K1", "K2")),
                keys=len(machine.keyspace), expiring_keys=0, expired_keys=0,
                dataset_bytes=machine.keyspace.bytes, revision=0, pending_proposals=0,
                replicas=self._replicas(n),
            )
            for n, machine in enumerate(self.machines)
        )  # fmt: skip
        groups = tuple(replace(group, **self.changed) for group in groups)
        status = Status("K1", "0", "c1", "0" * 32, "serving", "", False, "", "", 1.0, members, groups)
        return replace(status, **self.node_changed)

    def _replicas(self, group: int) -> tuple[ReplicaStatus, ...]:
        if self.leaders[group] != self.id:
            return ()
        return tuple(
            ReplicaStatus(id_, 8, n, "replicate", 0.01, 0)
            for n, id_ in enumerate(self.addresses)
            if id_ != self.id
        )

    @property
    def waiting(self) -> int:
        return len(self._pending)

    def turn(self) -> None:
        """Answer everything asked so far."""
        pending, self._pending = self._pending, []
        for answer in pending:
            answer()
        for waits in self._lock_waits.values():
            waits.applied()

    def settle(self) -> None:
        while self._pending:
            self.turn()
