"""A cluster for unit tests of its client: nodes are objects, and a connection is a call."""

from collections.abc import Callable, Sequence
from typing import Any

from kraft.cli.cluster_client import ClusterClient
from kraft.cli.connection import Address, NotSent
from kraft.cli.servers import ServerAddress
from kraft.resp.values import Error, Push, Reply

Words = Sequence[bytes]


class FakeNode:
    """One node: `answers` are used up first, then `values` and OK. An exception as an answer is raised."""

    def __init__(self, cluster: "FakeCluster", name: str, port: int) -> None:
        self.cluster = cluster
        self.name = name
        self.port = port
        self.up = True
        self.answers: list[Reply | BaseException] = []
        self.received: list[tuple[bytes, ...]] = []

    @property
    def server(self) -> ServerAddress:
        return ServerAddress(self.name, "127.0.0.1", self.port)

    def answer(self, words: Words) -> Reply:
        if tuple(words[:2]) == (b"KRAFT", b"STATUS"):
            group: Reply = {b"group": 0, b"leader": self.cluster.leader.encode()}
            return {b"node": self.name.encode(), b"groups": [group]}
        if tuple(words[:2]) == (b"KRAFT", b"MEMBERS"):
            return [
                {b"id": node.name.encode(), b"client": b"127.0.0.1:%d" % node.port}
                for node in self.cluster.nodes
            ]
        if tuple(words) in ((b"COMMAND",), (b"COMMAND", b"DOCS")):
            return []
        self.received.append(tuple(words))
        answer = self.answers.pop(0) if self.answers else self.cluster.values.get(words[-1], "OK")
        if isinstance(answer, BaseException):
            raise answer
        return answer


class FakeConnection:
    """A connection to a node; it goes stale when the node goes down."""

    def __init__(self, node: FakeNode) -> None:
        self.node = node
        self.pushes: list[Push] = []
        self.closed = False
        self.cut = False
        node.cluster.connections.append(self)

    @property
    def stale(self) -> bool:
        return self.cut or not self.node.up

    def call(self, words: Words, timeout: float) -> Reply:
        assert not self.closed
        if self.stale:
            raise NotSent("the node closed the connection")
        return self.node.answer(words)

    def close(self) -> None:
        self.closed = True


class FakeCluster:
    """K1, K2, ... of which one leads, on a clock that only sleeping moves."""

    def __init__(self, count: int = 3) -> None:
        self.nodes = [FakeNode(self, f"K{i}", 10_010 + i) for i in range(1, count + 1)]
        self.leader = "K1"
        self.values: dict[bytes, Reply] = {}
        self.connections: list[FakeConnection] = []
        self.now = 0.0
        self.asleep: Callable[[], None] = lambda: None  # what happens while the client waits
        self.reports: list[str] = []

    def __getitem__(self, name: str) -> FakeNode:
        return next(node for node in self.nodes if node.name == name)

    def connect(self, address: Address, timeout: float) -> Any:
        node = next((each for each in self.nodes if each.port == address[1]), None)
        if node is None or not node.up:
            raise ConnectionRefusedError(111, "Connection refused")
        return FakeConnection(node)

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.asleep()

    def client(self, *names: str, **options: Any) -> ClusterClient:
        """A client that is told about these nodes."""
        return ClusterClient(
            [self[name].server for name in names],
            connect=self.connect,
            clock=lambda: self.now,
            sleep=self.sleep,
            report=self.reports.append,
            **options,
        )


NO_LEADER = Error("CLUSTERDOWN No leader for group 0")
