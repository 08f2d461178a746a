"""The interfaces that the client port needs: the host of the groups, an observer, and a socket.

`kraft.host` provides the first structurally, `kraft.telemetry` the second, `protocol` the third;
`kraft.process.service` gives the first two to a port.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

from kraft.host.ports import KeyQueries, QueryDone, ScriptEvaluator
from kraft.host.requests.round import View
from kraft.host.requests.transaction_waits import KeysOfRead
from kraft.host.slots import SlotMap
from kraft.host.transactions.coordinator import TransactionDone
from kraft.host.transactions.ports import Computation
from kraft.host.transactions.token_use import TokenUse
from kraft.kv.commands import Command, Exec, Lock
from kraft.kv.keyspace import IndexType
from kraft.kv.ledger import Ledger
from kraft.kv.replies import Reply as Outcome
from kraft.node.admin import AdminCommand, AdminResult
from kraft.node.status import MoveStatus, Status, TransactionStatus

WriteDone = Callable[[list[Outcome] | Exception], None]
ReadDone = Callable[[View | Exception], None]
AdminDone = Callable[[AdminResult | Exception], None]


class NodeMemory(Protocol):
    """`bytes` of data on this node, and whether the leader (`leader_full`) admits no write that needs memory.

    `full` is the same of this node, and set here: the host tells the other nodes.
    """

    full: bool

    @property
    def bytes(self) -> int: ...

    @property
    def leader_full(self) -> bool: ...


class NodeBackpressure(Protocol):
    """`saturated`: too many writes wait, so clients are to be paused until `on_relief`."""

    saturated: bool

    def on_relief(self, call: Callable[[], None]) -> None:
        """Run `call` once, as soon as `saturated` is false."""


class Indexes(Protocol):
    """The indexes of keys, which are built when a command needs one."""

    def when_ready(self, group: int, kind: IndexType, done: Callable[[], None]) -> None:
        """Call `done` when the group's keyspace has the index. A snapshot may replace that keyspace later."""

    def do(self, steps: Iterator[object]) -> None:
        """Advance the steps of a long command to their end, between other work."""


class NodeTransactions(Protocol):
    """Transactions over several groups: each has a part in every group, and takes place at one moment.

    `done` gets the reply of each part by group, None if a watched key has changed, what a token has
    `Remembered`, a `CommandFailure`, or an exception: Refused or Uncertain.
    """

    def execute(
        self, parts: Mapping[int, Exec], size: int, done: TransactionDone, use: TokenUse | None = None
    ) -> None:
        """Execute `parts`, of `size` bytes together: all, or none; once for the `use` of a token."""

    def cut(self, parts: Mapping[int, Exec], size: int, done: TransactionDone, *, fresh: bool) -> None:
        """Execute `parts` that only look. With `fresh` a round of messages confirms each leader."""

    def compute(
        self, computation: Computation, size: int, done: TransactionDone, use: TokenUse | None = None
    ) -> None:
        """Execute what has to see keys of several groups at once, as `execute`."""

    def unfinished(self) -> list[TransactionStatus]:
        """Those that are not over, as the replicas of this node know."""


class NodeMoves(Protocol):
    """Moves of slots between groups."""

    def copy_scripts(
        self, group: int, read: Callable[[int, ReadDone], None], done: Callable[[Exception | None], None]
    ) -> None:
        """Give a group that was created later the scripts and libraries of group 0.

        `read` is that of the host. `done` gets None, or why it is not complete.
        """

    def status(self) -> list[MoveStatus]:
        """Those that are not over, as the replicas of this node know."""


class NodeUsers(Protocol):
    """`age`: seconds since this node certainly knew all changes of users; infinite if it never did."""

    @property
    def age(self) -> float: ...

    def watch(self, watcher: Callable[[Ledger], None]) -> None:
        """Give `watcher` the ledger that has the users, now if there is one, and after each change."""


class GroupsElsewhere(Protocol):
    """The groups of which this node has no replica."""

    def has(self, group: int) -> bool:
        """Whether the group is elsewhere, and some of its members are known."""

    def query(self, group: int, query: bytes, done: QueryDone, *, fresh: bool) -> None:
        """Ask a member what `AskedQueries` answers there. `done` gets that, or Refused."""


class NodeHost(Protocol):
    """The owner of all groups of this node. It calls back exactly once, and never before the call returns."""

    @property
    def id(self) -> str:
        """This node's id."""

    def use_evaluator(self, evaluator: ScriptEvaluator, queries: KeyQueries | None = None) -> None:
        """Evaluate scripts with `evaluator` from now on, and answer other nodes with `queries`."""

    @property
    def elsewhere(self) -> GroupsElsewhere:
        """The groups of which this node has no replica."""

    @property
    def users(self) -> NodeUsers:
        """What is known of changes of users."""

    @property
    def slots(self) -> SlotMap:
        """The slot map."""

    @property
    def backpressure(self) -> NodeBackpressure:
        """Whether clients are to be paused."""

    @property
    def indexes(self) -> Indexes:
        """The indexes of keys of all groups on this node."""

    @property
    def memory(self) -> NodeMemory:
        """The memory of the data of all groups on this node."""

    def write(self, group: int, commands: Sequence[Command], size: int, done: WriteDone) -> None:
        """Execute `commands` together, in order; `size` is their size in bytes.

        `done` gets one reply for each, or one exception for all of them: Refused or Uncertain.
        """

    def wait_for_lock(self, group: int, command: Lock, seconds: float, done: WriteDone) -> Callable[[], None]:
        """Take a lock, or wait for it for so many seconds. Returns what a client calls if it leaves.

        `done` gets the outcome of `command` as from `write`, or one in which the lock is not given.
        """

    def read(self, group: int, done: ReadDone, fresh: bool = False) -> None:
        """Give `done` a linearizable view of the group, valid during the callback only; Refused on failure.

        With `fresh` a round of messages confirms the leader, even if it holds a lease.
        """

    def read_keys(
        self,
        group: int,
        keys: KeysOfRead,
        done: ReadDone,
        fresh: bool = False,
        needed: int | None = None,
    ) -> None:
        """As `read`, but not while a transaction over several groups may have changed one of `keys`.

        Without keys the read looks at all of them, and waits for the transactions that it finds. Fails with
        NotOwner if the slot of a key has moved to another group. Where this node has no replica of the group,
        keys after the first `needed` ones may be left out: then a look at them raises NotInExcerpt.
        """

    @property
    def transactions(self) -> NodeTransactions:
        """Transactions over several groups."""

    @property
    def moves(self) -> NodeMoves:
        """Moves of slots between groups."""

    def read_stale(self, group: int, done: ReadDone, keys: KeysOfRead = list) -> None:
        """Give `done` a view of this replica as it is; TooStale when that is older than configured.

        `keys` and NotOwner are as of `read_keys`.
        """

    def admin(self, command: AdminCommand, done: AdminDone) -> None:
        """Carry out an administrator's command. Fails with Refused (AdminRefused) or Uncertain."""

    def version_obstacle(self, group: int, needed: int) -> str:
        """Why the group may not log commands of the machine version `needed` yet, empty when it may."""

    def obstacle(self, group: int) -> str:
        """Why no request to the group can succeed now, in words; empty if no reason is known."""

    def leader(self, group: int) -> str:
        """The id of the group's leader as known here, or empty."""

    def client_address(self, node: str) -> str:
        """A node's advertised client address, `host:port`, or empty when unknown."""

    def status(self) -> Status:
        """The state that INFO, CLUSTER and KRAFT show."""


class ServerObserver(Protocol):
    """Receives what happens to connections. What happens to requests is in the port's `statistics`.

    No method may raise. `protocol` is inline, resp2 or resp3; a connection opens as resp2.
    """

    def connection_opened(self, protocol: str) -> None:
        """A connection was accepted."""

    def connection_switched(self, before: str, after: str) -> None:
        """A connection turned out to use another protocol, or changed it."""

    def connection_closed(self, protocol: str) -> None:
        """A connection is gone."""

    def rejected(self, reason: str) -> None:
        """A connection was refused or closed. The reason is max_clients, output_limit, idle_timeout,
        handshake_timeout, protocol_error, internal_error, killed (CLIENT KILL), user_removed or
        rights_revoked.
        """

    def paused(self, connections: int) -> None:
        """So many connections are paused now."""

    def denied(self, reason: str) -> None:
        """Something was refused to a user: a command, a key, or a login (auth)."""

    def login(self, outcome: str, client: str, user: str) -> None:
        """A client has tried to log in. `outcome` is done, failed or busy: too many wait."""

    def script_stopped(self, limit: str) -> None:
        """A script reached a limit: time, instructions or memory."""


class Connection(Protocol):
    """The socket of one client. No method calls back before it returns."""

    @property
    def fd(self) -> int:
        """The number of the socket in this process, -1 if it has none."""

    @property
    def unsent_bytes(self) -> int:
        """How many bytes wait unsent in this process."""

    def write(self, data: bytes) -> int:
        """Send `data` after everything written before; returns how many bytes now wait unsent."""

    def notify_sent(self) -> None:
        """Call the session's `sent` once nothing waits unsent; never if the connection is lost before."""

    def close(self) -> None:
        """Close after everything is sent."""

    def abort(self) -> None:
        """Close at once and drop what is unsent."""

    def pause(self) -> None:
        """Stop reading."""

    def resume(self) -> None:
        """Read again."""
