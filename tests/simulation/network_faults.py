"""Faults of the network: lost, late and repeated messages, full links, and partitions."""

from collections.abc import Callable, Iterable
from itertools import combinations
from typing import Any

from tests.simulation.cluster import SimulatedCluster
from tests.simulation.connections import Path
from tests.simulation.fault_kinds import Details
from tests.simulation.process import Process


class NetworkFaults:
    """Those of one run, and the choice of a fault's victim."""

    def __init__(self, cluster: SimulatedCluster) -> None:
        self._cluster = cluster
        self._world = cluster.world
        self._network = cluster.network
        self._dice = cluster.world.dice("faults")

    # -- victims

    def _ids(self) -> list[str]:
        """All running nodes, and the members that do not run."""
        return sorted({p.id for p in self._cluster.processes()} | set(self._cluster.members()))

    def _victim(self, details: Details) -> Process | None:
        """The process that `who` selects now; another one when that is down."""
        live = {process.id: process for process in self._cluster.processes()}
        leaders = [id_ for id_ in self._cluster.leaders() if id_ in live]
        who = details["who"]
        if who == "leader":
            wanted = leaders
        elif who == "follower":
            wanted = [id_ for id_ in live if id_ not in leaders]
        else:
            wanted = [who] if who in live else []
        wanted = wanted or list(live)
        return live[self._dice.choice(wanted)] if wanted else None

    def _leader(self) -> Process | None:
        leading = self._cluster.leaders()
        found = [process for process in self._cluster.processes() if process.id in leading]
        return self._dice.choice(found) if found else None

    def _later(self, details: Details, undo: Callable[[], object]) -> None:
        self._world.call_later(details["seconds"], undo)

    # -- network and partitions

    def weather(self, **changed: Any) -> None:
        for name, value in changed.items():
            setattr(self._network.weather, name, value)

    def clog(self, details: Details) -> None:
        self._network.clog(details["path"])
        self._later(details, lambda: self._network.unclog(details["path"]))

    def slow_path(self, details: Details) -> None:
        self._network.slow_down(details["path"], details["delay"])
        self._later(details, lambda: self._network.slow_down(details["path"], 0.0))

    def narrow_path(self, details: Details) -> None:
        self._network.narrow(details["path"], details["rate"])
        self._later(details, lambda: self._network.narrow(details["path"], 0.0))

    def narrow_links(self, details: Details) -> None:
        for one in self._cluster.nodes:
            for two in self._cluster.nodes:
                self._network.narrow((one, two), details["rate"])

    def block(self, details: Details, paths: Iterable[Path]) -> None:
        paths = tuple(paths)
        self._network.block(paths)
        self._later(details, lambda: self._network.unblock(paths))

    def halves(self, details: Details) -> None:
        side = set(details["side"])
        self.block(details, (path for path in self._paths() if (path[0] in side) != (path[1] in side)))

    def isolate(self, details: Details) -> bool:
        process = self._victim(details)
        if process is not None:
            self.block(details, (path for path in self._paths() if process.id in path))
        return process is not None

    def bridge(self, details: Details) -> None:
        """Two halves, and one node that reaches both."""
        order = details["order"]
        middle = len(order) // 2
        left, right = order[:middle], order[middle + 1 :]
        self.block(details, (path for a in left for b in right for path in ((a, b), (b, a))))

    def ring(self, details: Details) -> None:
        """Each node reaches only its two neighbours: majorities overlap, and no two nodes reach the same
        ones.
        """
        order = details["order"]
        seen = {frozenset(pair) for pair in zip(order, (*order[1:], order[0]), strict=True)}
        self.block(details, (path for path in self._paths() if frozenset(path) not in seen))

    def flap(self, details: Details) -> None:
        one, two = details["pair"]
        paths = ((one, two), (two, one))
        for time in range(details["times"]):
            begin = 2 * time * details["every"]
            self._world.call_later(begin, lambda: self._network.block(paths))
            self._world.call_later(begin + details["every"], lambda: self._network.unblock(paths))

    def strand(self, details: Details) -> bool:
        """Isolate the node and delay its timers, so that it does not notice for long."""
        process = self._victim(details)
        if process is None:
            return False
        self.block(details, (path for path in self._paths() if process.id in path))
        process.clock.slow = details["slower"]
        self._later(details, lambda: setattr(process.clock, "slow", 1.0))
        return True

    def _paths(self) -> Iterable[Path]:
        for pair in combinations(self._ids(), 2):
            yield from (pair, pair[::-1])
