"""A client of the whole cluster: it asks the leader and survives the loss of any node.

A command is sent again only if it certainly was not executed (it did not leave, or the reply promises so), or
if executing it twice changes nothing. If the reply to any other command is lost, its outcome is unknown, and
`OutcomeUnknown` says so.
"""

import time
from collections.abc import Callable, Iterator, Sequence

from kraft.cli.connection import Address, NodeConnection, NotSent, reason
from kraft.cli.connection_state import ConnectionState
from kraft.cli.failure import Failure
from kraft.cli.servers import ServerAddress
from kraft.listen_address import split_address
from kraft.resp.values import Error, Push, Reply

CONNECT_SECONDS = 2.0
TIMEOUT_DEFAULT_SECONDS = 8.0  # for a reply: more than client.write_timeout and client.leader_wait together
ADMIN_SECONDS = 40.0  # longer than a leader takes for one command
PATIENCE = 2  # for how many timeouts a command that was not executed is tried again
ADMIN_PATIENCE_SECONDS = 20.0  # the same for KRAFT commands: a node waits for a leader itself
PAUSE_FIRST_SECONDS, PAUSE_MAX_SECONDS = 0.05, 1.0  # between two attempts
MOVES_MAX = 8  # in a row; nodes that disagree about the leader agree after an election

NOT_DONE = frozenset(("CLUSTERDOWN", "LOADING", "TRYAGAIN"))  # promise that nothing was executed
ADMIN = frozenset((b"KRAFT", b"RAFT-ADD-NODE", b"RAFT-REMOVE-NODE"))  # commands that may take half a minute

Words = Sequence[bytes]


class NoServer(Failure):
    """No node can be asked. The command was not executed."""


class TransactionLost(Failure):
    """The connection with an open transaction was lost. Nothing of the transaction was executed."""


class OutcomeUnknown(Failure):
    """The command was sent and its reply was lost: it may or may not have been executed."""

    status = 4


def never(_: Words) -> bool:
    """No command may be executed twice."""
    return False


class ClusterClient:
    """Connects when the first command is sent, to one node at a time.

    servers: the nodes to ask first; the other members are learned from the first that answers, unless
    `follow` is False: then only these are asked, and none of them is left for the leader.
    timeout: in seconds, for one reply.
    repeatable: whether executing a command twice is the same as once.
    report: is given a line about every change of the node.
    """

    def __init__(
        self,
        servers: Sequence[ServerAddress],
        *,
        follow: bool = True,
        timeout: float = TIMEOUT_DEFAULT_SECONDS,
        repeatable: Callable[[Words], bool] = never,
        report: Callable[[str], None] = lambda _: None,
        connect: Callable[[Address, float], NodeConnection] = NodeConnection.connect,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.servers = {server.id: server for server in servers}
        self.repeatable = repeatable
        self._learned: dict[str, ServerAddress] = {}
        self._follow = follow
        self._timeout = timeout
        self._report = report
        self._connect = connect
        self._clock = clock
        self._sleep = sleep
        self._connection: NodeConnection | None = None
        self._state = ConnectionState()
        self._preferred: ServerAddress | None = None  # to be asked first
        self._avoided: ServerAddress | None = None  # to be asked last
        self._met = False
        self.server: ServerAddress | None = None
        self.leader = ""

    @property
    def connected(self) -> bool:
        """Whether there is a connection, as far as this side knows."""
        return self._connection is not None and not self._connection.stale

    @property
    def in_transaction(self) -> bool:
        """Whether commands are queued after MULTI."""
        return self._state.multi

    def close(self) -> None:
        """Close the connection; the next command opens another one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def prefer(self, server: ServerAddress) -> None:
        """Ask this node first from now on. It may send the client on to the leader."""
        self.close()
        self._preferred, self._avoided, self.leader = server, None, server.id

    def pushes(self) -> list[Push]:
        """Take what the node has sent without being asked."""
        if self._connection is None:
            return []
        taken, self._connection.pushes = self._connection.pushes, []
        return taken

    def ask(self) -> None:
        """Connect, if there is no connection yet. Raises NoServer."""
        self._ready(self._clock())

    def call(self, words: Words) -> Reply:
        """Send one command and return its reply; an error reply is returned as `Error`.

        Raises NoServer, TransactionLost or OutcomeUnknown. An interrupt closes the connection.
        """
        admin = words[0].upper() in ADMIN
        timeout = max(self._timeout, ADMIN_SECONDS if admin else 0.0)
        deadline = self._clock() + (ADMIN_PATIENCE_SECONDS if admin else PATIENCE * timeout)
        pauses, moves = _pauses(), MOVES_MAX
        while True:
            connection = self._ready(deadline)
            try:
                reply = connection.call(words, timeout)
            except OSError as error:
                self._failed(words, error)
                continue
            except BaseException:
                self.close()
                self._state.lose()
                raise
            if isinstance(reply, Error) and not self._state.open:
                if (target := self._moved(reply)) and moves:
                    moves -= 1
                    self._go(target)
                    continue
                pause = next(pauses)
                if reply.text.partition(" ")[0] in NOT_DONE and self._clock() + pause < deadline:
                    self._try_another(reply, pause)
                    continue
            self._state.replied(words, reply)
            return reply

    # -- a node that fails ------------------------------------------------------------------------

    def _failed(self, words: Words, error: OSError) -> None:
        """Give the connection up. Raises if the command may not be sent again."""
        server = self.server
        self.close()
        self._avoided, self._preferred = server, None
        ended = self._state.lose()
        sent = not isinstance(error, NotSent)
        if ended and not (sent and words[0].upper() == b"EXEC"):
            raise TransactionLost(f"{server}: {reason(error)}; {ended}")
        if sent and not self.repeatable(words):
            raise OutcomeUnknown(
                f"{server}: {reason(error)}; the command may or may not have been executed:"
                " check before you repeat it"
            )
        self._report(f"{server}: {reason(error)}")

    def _try_another(self, reply: Error, pause: float) -> None:
        self._report(f"{self.server}: {reply.text}; trying again")
        self._avoided, self._preferred = self.server, None
        self.close()
        self._sleep(pause)

    def _moved(self, reply: Error) -> ServerAddress | None:
        """Where the reply sends the client, if it does and the client follows."""
        prefix, _, rest = reply.text.partition(" ")
        if prefix != "MOVED" or not self._follow:
            return None
        address = rest.partition(" ")[2]
        try:
            return ServerAddress(address, *split_address(address))
        except ValueError:
            return None

    def _go(self, target: ServerAddress) -> None:
        self.close()
        self._preferred, self._avoided = self._known(target), None

    def _known(self, target: ServerAddress) -> ServerAddress:
        """The same address under the name of its node, if that is known."""
        known = (each for each in self._everyone() if each.address == target.address)
        return next(known, target)

    # -- a node that answers ----------------------------------------------------------------------

    def _ready(self, deadline: float) -> NodeConnection:
        """A connection that is open, as far as this side knows."""
        if self._connection is not None and self._connection.stale:
            self._failed((b"",), NotSent("the node closed the connection"))
        if self._connection is None:
            self._connection = self._open_any(deadline)
        return self._connection

    def _open_any(self, deadline: float) -> NodeConnection:
        """A connection to the first node that answers, or to the leader that it knows.

        A cluster that has never answered gets one attempt: its address is probably wrong.
        """
        pauses = _pauses()
        while True:
            troubles = []
            for server in self._candidates():
                try:
                    connection = self._connect(server.address, CONNECT_SECONDS)
                    connection, self.server = self._settle(connection, server)
                except OSError as error:
                    troubles.append(f"{server}: {reason(error)}")
                    continue
                if self._met:
                    self._report(f"connected to {self.server}")
                self._met, self._preferred, self._avoided = True, self.server, None
                return connection
            pause = next(pauses)
            if not self._met or self._clock() + pause > deadline:
                raise NoServer(f"no node answers: {'; '.join(troubles) or 'the list of servers is empty'}")
            self._sleep(pause)

    def _settle(
        self, connection: NodeConnection, server: ServerAddress
    ) -> tuple[NodeConnection, ServerAddress]:
        """The connection to use: this one, or one to the leader; with the state of the lost connection."""
        try:
            if self._follow:
                connection, server = self._follow_leader(connection, server)
            for words in self._state.settings():
                connection.call(words, CONNECT_SECONDS)
        except BaseException:
            connection.close()
            raise
        return connection, server

    def _follow_leader(
        self, connection: NodeConnection, server: ServerAddress
    ) -> tuple[NodeConnection, ServerAddress]:
        """The leader if it can be reached at the address that it announces; this node if not."""
        node, leader = _introduction(connection.call([b"KRAFT", b"STATUS"], CONNECT_SECONDS))
        members = _client_addresses(connection.call([b"KRAFT", b"MEMBERS"], CONNECT_SECONDS))
        self._learned = {each.id: each for each in members} or self._learned
        self.leader = leader
        if node:
            server = ServerAddress(node, server.host, server.port)
        target = self.servers.get(leader) or self._learned.get(leader)
        if leader in ("", node) or target is None or self._failed_last(target):
            return connection, server
        try:
            other = self._connect(target.address, CONNECT_SECONDS)
        except OSError:
            return connection, server
        try:
            found, _ = _introduction(other.call([b"KRAFT", b"STATUS"], CONNECT_SECONDS))
        except OSError:
            found = ""
        if found != leader:  # behind a translation of addresses the same address may be another node
            other.close()
            return connection, server
        connection.close()
        return other, target

    def _everyone(self) -> Iterator[ServerAddress]:
        yield from self.servers.values()
        if self._follow:
            yield from self._learned.values()

    def _candidates(self) -> list[ServerAddress]:
        """Every known node once, the preferred one first and the one that just failed last."""
        preferred = [self._preferred] if self._preferred else []
        found: dict[Address, ServerAddress] = {}
        for each in (*preferred, *self._everyone()):
            found.setdefault(each.address, each)
        return sorted(found.values(), key=self._failed_last)

    def _failed_last(self, server: ServerAddress) -> bool:
        return self._avoided is not None and self._avoided.address == server.address


def _pauses() -> Iterator[float]:
    pause = PAUSE_FIRST_SECONDS
    while True:
        yield pause
        pause = min(2 * pause, PAUSE_MAX_SECONDS)


def _introduction(status: Reply) -> tuple[str, str]:
    """(node, leader of group 0) from a reply to KRAFT STATUS, each '' if unknown."""
    fields = pairs(status)
    groups = fields.get("groups")
    first = pairs(groups[0]) if isinstance(groups, list) and groups else {}
    return text(fields.get("node")), text(first.get("leader"))


def _client_addresses(members: Reply) -> list[ServerAddress]:
    """The client ports of the members that announce one."""
    found = []
    for member in members if isinstance(members, list) else []:
        fields = pairs(member)
        try:
            found.append(ServerAddress(text(fields.get("id")), *split_address(text(fields.get("client")))))
        except ValueError:
            continue
    return found


def pairs(value: Reply) -> dict[str, Reply]:
    """A map of either protocol, by its keys as text; {} for anything else."""
    if isinstance(value, dict):
        return {text(key): each for key, each in value.items()}
    if isinstance(value, list):
        return {text(key): each for key, each in zip(value[::2], value[1::2], strict=False)}
    return {}


def text(value: Reply) -> str:
    """A string of the protocol as text; '' for anything else."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    return value if isinstance(value, str) else ""
