"""Clients of the simulated cluster: one operation at a time each, on any node, and what they saw."""

from typing import Any

from kraft.host.ports import Refused
from kraft.host.reads import View
from kraft.kv.commands import Append, Command, Delete, Increment, Put
from tests.simulation.cluster import Process, SimulatedCluster
from tests.simulation.linearizability import INFINITY, Operation

KEYS = (b"a", b"b", b"c", b"n", b"m")
COUNTERS = (b"n", b"m")
GIVE_UP = 8.0  # seconds; beyond every timeout of the server


class History:
    """Operations by (group, key). A refused write is left out: it must have had no effect."""

    def __init__(self) -> None:
        self.keys: dict[tuple[int, bytes], list[Operation]] = {}
        self.done = self.refused = self.unknown = 0

    def add(self, group: int, key: bytes, operation: Operation) -> None:
        self.keys.setdefault((group, key), []).append(operation)


class SimulatedClient:
    """Asks a random live node, waits for the answer (or its own patience), thinks, asks again."""

    def __init__(self, cluster: SimulatedCluster, history: History, number: int) -> None:
        self._cluster = cluster
        self._world = cluster.world
        self._history = history
        self._number = number
        self._count = 0
        self._open: int | None = None
        self._asking: _Asking | None = None
        self.stopped = False

    def start(self) -> None:
        self._think()

    def stop(self) -> None:
        """Ask no more; what is still open stays unknown."""
        self.stopped = True
        if self._asking is not None:
            self._asking.ended(INFINITY, None)

    def _think(self) -> None:
        if not self.stopped:
            self._world.call_later(self._world.random.uniform(0.001, 0.15), self._ask)

    def _ask(self) -> None:
        if self.stopped:
            return
        random = self._world.random
        ready = [p for p in self._cluster.processes() if p.ready and not p.clock.paused]
        if not ready:
            self._think()
            return
        self._count += 1
        self._open = self._count
        process = random.choice(ready)
        group = random.randrange(self._cluster.group_count)
        key = random.choice(KEYS)
        name, argument = self._draw(key)
        asking = _Asking(self, process, group, key, name, argument, self._world.now, self._count)
        self._asking = asking
        asking.send()
        self._world.call_later(GIVE_UP, lambda: asking.ended(INFINITY, None))

    def _draw(self, key: bytes) -> tuple[str, Any]:
        random = self._world.random
        if random.random() < 0.45:
            return "get", None
        if key in COUNTERS:
            return "increment", random.randrange(1, 10)
        unique = b"%d.%d" % (self._number, self._count)
        draw = random.random()
        if draw < 0.6:
            return "set", unique
        if draw < 0.85:
            return "append", unique + b";" * random.choice((0, 0, 0, 600))
        return "delete", None

    def finished(self, number: int) -> bool:
        """The operation ends now; False when it had ended before."""
        if self._open != number:
            return False
        self._open = None
        self._think()
        return True

    @property
    def history(self) -> History:
        return self._history


class _Asking:
    """One operation under way."""

    def __init__(
        self,
        client: SimulatedClient,
        process: Process,
        group: int,
        key: bytes,
        name: str,
        argument: Any,
        called: float,
        number: int,
    ) -> None:
        self._client = client
        self._process = process
        self._group, self._key, self._name, self._argument = group, key, name, argument
        self._called = called
        self._number = number

    def send(self) -> None:
        host = self._process.host
        if self._name == "get":
            host.read(self._group, self._viewed)
        else:
            command = _command(self._key, self._name, self._argument)
            size = len(self._argument) if isinstance(self._argument, bytes) else 8
            host.write(self._group, [command], size, self._written)

    def _viewed(self, outcome: View | Exception) -> None:
        if isinstance(outcome, View):
            self.ended(self._now, outcome.keyspace.get(self._key))
        else:
            self.ended(None, None)

    def _written(self, outcome: Any) -> None:
        if isinstance(outcome, list):
            self.ended(self._now, outcome[0])
        elif isinstance(outcome, Refused):
            self.ended(None, None)
        else:
            self.ended(INFINITY, None)

    @property
    def _now(self) -> float:
        return self._process._network.world.now

    def ended(self, returned: float | None, result: Any) -> None:
        """`returned` is None for refused, infinite for unknown. Only the first end counts."""
        if not self._client.finished(self._number):
            return
        history = self._client.history
        if returned is None:
            history.refused += 1
            return
        if returned == INFINITY:
            history.unknown += 1
            if self._name == "get":
                return
        else:
            history.done += 1
        history.add(
            self._group, self._key, Operation(self._name, self._argument, self._called, returned, result)
        )


def _command(key: bytes, name: str, argument: Any) -> Command:
    if name == "set":
        return Put(key, argument)
    if name == "append":
        return Append(key, argument)
    if name == "delete":
        return Delete((key,))
    return Increment(key, argument)
