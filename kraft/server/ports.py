"""What the client port needs from outside: a host and an observer.

`kraft.host` gives the first structurally, `kraft.telemetry` the second; `tap` joins them.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from kraft.host.requests.read_rounds import View
from kraft.host.slots import SlotMap
from kraft.kv.commands import Command
from kraft.kv.replies import Reply as Outcome
from kraft.node.admin import AdminCommand, AdminResult
from kraft.node.status import Status

WriteDone = Callable[[list[Outcome] | Exception], None]
ReadDone = Callable[[View | Exception], None]
AdminDone = Callable[[AdminResult | Exception], None]


class Host(Protocol):
    """The owner of all groups. Callbacks never run inside the call that asked for them, and exactly once."""

    @property
    def id(self) -> str:
        """This node's id."""

    @property
    def slots(self) -> SlotMap:
        """The slot map."""

    @property
    def saturated(self) -> bool:
        """Too much waits: clients are to be paused until `on_relief`."""

    @property
    def dataset_bytes(self) -> int:
        """Approximate memory of the data of all groups on this node."""

    def write(self, group: int, commands: Sequence[Command], size: int, done: WriteDone) -> None:
        """Do them together, in order; `size` is their bytes. Refused or Uncertain are for all of them."""

    def read(self, group: int, done: ReadDone, fresh: bool = False) -> None:
        """A linearizable view of the group, valid during the callback only. Fails with Refused.

        `fresh`: confirmed by a round, whatever lease the leader holds.
        """

    def read_stale(self, group: int, done: ReadDone) -> None:
        """A view of this replica as it is. Fails with TooStale when that is older than configured."""

    def admin(self, command: AdminCommand, done: AdminDone) -> None:
        """Carry out a command of an administrator. Fails with Refused (AdminRefused) or Uncertain."""

    def on_relief(self, call: Callable[[], None]) -> None:
        """Run `call` once, when `saturated` has become false."""

    def leader(self, group: int) -> str:
        """The leader's node id as known here, or empty."""

    def client_address(self, node: str) -> str:
        """A node's advertised client address, `host:port`, or empty when unknown."""

    def status(self) -> Status:
        """What INFO, CLUSTER and KRAFT show."""


class ServerObserver(Protocol):
    """What the client port tells of itself. Calls are per segment, not per command; they must not raise.

    `protocol` is inline, resp2 or resp3; a connection opens as resp2. `kind` is read, write, local or
    admin.
    """

    def connection_opened(self, protocol: str) -> None:
        """A connection was accepted."""

    def connection_switched(self, before: str, after: str) -> None:
        """It turned out to speak another protocol, or changed it."""

    def connection_closed(self, protocol: str) -> None:
        """It is gone."""

    def rejected(self, reason: str) -> None:
        """Refused or closed, because of max_clients, output_limit, idle_timeout, handshake_timeout,
        protocol_error or killed (CLIENT KILL).
        """

    def commands(self, name: str, count: int, errors: int) -> None:
        """`count` commands were answered, `errors` of them with an error.

        `name` is lower case, `client|id` for a subcommand, `unknown` for whatever is not in the table.
        """

    def latency(self, kind: str, seconds: float, count: int) -> None:
        """A segment of `count` commands took `seconds` from its start to its answer."""

    def lookups(self, hits: int, misses: int) -> None:
        """GET and MGET found so many values, and none so many times."""

    def error(self, code: str, count: int) -> None:
        """`count` errors whose text starts with `code`, such as ERR."""

    def bytes_received(self, count: int) -> None:
        """Input of one turn."""

    def bytes_sent(self, count: int) -> None:
        """Output of one turn."""

    def paused(self, connections: int) -> None:
        """How many connections are paused now."""
