"""One simulated run from one seed: clients and faults together, then heal and demand progress.

    python -m tests.simulation.schedule --seed 7 --runs 3      # from the checkout; prints what each run met
"""

import argparse
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from tests.simulation.checks import demand
from tests.simulation.clients import History, SimulatedClient
from tests.simulation.cluster import SimulatedCluster
from tests.simulation.linearizability import linearizable
from tests.simulation.network import Weather
from tests.simulation.world import World

FAULT_SECONDS = 20.0
HEAL_SECONDS = 30.0  # bound on recovery: a few elections, retries of every kind, the clients' patience
CLIENTS = 4


@dataclass(frozen=True)
class Result:
    """What a run did. `trace` is equal for equal seeds."""

    seed: int
    trace: str
    steps: int
    done: int
    refused: int
    unknown: int
    counts: Counter[str]


def run(seed: int, lines: list[str] | None = None) -> Result:
    """Raises `Violation`, or whatever the production code raises, when something is wrong."""
    world = World(seed)
    world.lines = lines
    random = world.random
    cluster = SimulatedCluster(world, _weather(world), groups=random.choice((1, 1, 2)))
    history = History()
    clients = [SimulatedClient(cluster, history, number) for number in range(CLIENTS)]
    cluster.start()
    for client in clients:
        client.start()
    faults = Faults(cluster)
    faults.start()
    cluster.run(FAULT_SECONDS)
    faults.heal()
    done = history.done
    recovered = cluster.run(HEAL_SECONDS, lambda: history.done >= done + 40)
    demand(recovered, "the healed cluster makes no progress")
    for client in clients:
        client.stop()
    settled = cluster.run(HEAL_SECONDS, lambda: _settled(cluster))
    demand(settled, "the replicas of the healed cluster never meet")
    cluster.checks.equal_states()
    cluster.checks.majority_holds()
    for (group, key), operations in sorted(history.keys.items()):
        demand(linearizable(operations), f"the history of {key!r} in group {group} is not linearizable")
    for node in cluster.nodes.values():
        demand(not node.failures, f"{node.id} gave up: {node.failures}")
    world.note(f"end {history.done} {history.refused} {history.unknown}")
    outcomes = history.done, history.refused, history.unknown
    return Result(seed, world.trace, world.steps, *outcomes, world.counts)


def _settled(cluster: SimulatedCluster) -> bool:
    processes = cluster.processes()
    for id_ in range(cluster.group_count):
        if any(id_ not in p.host.groups for p in processes) or len(cluster.leaders(id_)) != 1:
            return False
        groups = [p.host.groups[id_] for p in processes]
        if len({g.applied for g in groups}) != 1 or any(g.applied != g.node.last_index for g in groups):
            return False
    return len(processes) == len(cluster.nodes)


def _weather(world: World) -> Weather:
    """Some runs are calm, some rough; every rate is drawn per run (swarm)."""
    random = world.random
    maybe = lambda most: random.choice((0.0, 0.0, random.uniform(0, most)))  # noqa: E731
    return Weather(
        loss=maybe(0.3),
        repeat=maybe(0.5),
        ancient=maybe(0.3),
        delay=random.choice(((0.0002, 0.002), (0.001, 0.02), (0.02, 0.06))),
        heavy_tail=maybe(0.1),
    )


class Faults:
    """Draws which families this run has, then lets one happen every now and then."""

    def __init__(self, cluster: SimulatedCluster) -> None:
        self._cluster = cluster
        self._world = cluster.world
        families: list[tuple[str, Callable[[], None]]] = [
            ("crash", self._crash_some),
            ("crash all", self._crash_all),
            ("partition", self._partition),
            ("one way", self._one_way),
            ("reset", self._reset),
            ("pause", self._pause),
            ("disk full", self._disk_full),
            ("slow disk", self._slow_disk),
            ("clock jump", self._clock_jump),
        ]
        count = self._world.random.randrange(0, len(families) + 1)
        self._families = self._world.random.sample(families, count)
        self._every = self._world.random.choice((0.3, 1.0, 3.0))
        self._over = False

    def start(self) -> None:
        if self._families:
            self._later()

    def _later(self) -> None:
        self._world.call_later(self._world.random.expovariate(1.0 / self._every), self._strike)

    def _strike(self) -> None:
        if self._over:
            return
        name, fault = self._world.random.choice(self._families)
        self._world.note(f"fault {name}")
        self._world.counts[f"fault {name}"] += 1
        fault()
        self._later()

    def heal(self) -> None:
        self._over = True
        self._cluster.network.weather = Weather()
        for node in self._cluster.nodes.values():
            if node.process is None:
                node.start()
            self._undo(node.id)
        self._cluster.network.heal()

    def _undo(self, id_: str) -> None:
        process = self._cluster.nodes[id_].process
        if process is not None:
            process.disk.full = False
            process.disk.slow = 1.0
            if process.clock.paused:
                process.clock.resume()

    def _ids(self) -> list[str]:
        return sorted(self._cluster.nodes)

    def _victim(self) -> str:
        """The leader more often than chance would have it."""
        leaders = self._cluster.leaders()
        if leaders and self._world.chance(0.5):
            return self._world.random.choice(leaders)
        return self._world.random.choice(self._ids())

    def _for_a_while(self, undo: Callable[[], None]) -> None:
        self._world.call_later(self._world.random.expovariate(0.5), undo)

    def _crash_some(self) -> None:
        self._crash(self._victim())

    def _crash_all(self) -> None:
        for id_ in self._ids():
            self._crash(id_)

    def _crash(self, id_: str) -> None:
        node = self._cluster.nodes[id_]
        node.crash()

        def restart() -> None:
            if node.process is None:
                node.start()

        self._world.call_later(self._world.random.choice((0.01, 0.3, 4.0)), restart)

    def _partition(self) -> None:
        ids = self._ids()
        side = set(self._world.random.sample(ids, self._world.random.randrange(1, len(ids))))
        paths = [(a, b) for a in ids for b in ids if a != b and (a in side) != (b in side)]
        self._cluster.network.block(paths)
        self._for_a_while(self._cluster.network.heal)

    def _one_way(self) -> None:
        one, two = self._world.random.sample(self._ids(), 2)
        self._cluster.network.block([(one, two)])
        self._for_a_while(self._cluster.network.heal)

    def _reset(self) -> None:
        one, two = self._world.random.sample(self._ids(), 2)
        self._cluster.network.reset(one, two)

    def _pause(self) -> None:
        id_ = self._victim()
        process = self._cluster.nodes[id_].process
        if process is None or process.clock.paused:
            return
        process.clock.pause()

        def resume() -> None:
            if process.clock.paused and not process.clock.dead:
                process.clock.resume()

        self._for_a_while(resume)

    def _disk_full(self) -> None:
        id_ = self._victim()
        process = self._cluster.nodes[id_].process
        if process is not None:
            process.disk.full = True
            self._for_a_while(lambda: self._undo_full(id_))

    def _undo_full(self, id_: str) -> None:
        process = self._cluster.nodes[id_].process
        if process is not None:
            process.disk.full = False

    def _slow_disk(self) -> None:
        process = self._cluster.nodes[self._victim()].process
        if process is not None:
            process.disk.slow = self._world.random.choice((10.0, 100.0, 1000.0))
            self._for_a_while(lambda: setattr(process.disk, "slow", 1.0))

    def _clock_jump(self) -> None:
        process = self._cluster.nodes[self._victim()].process
        if process is not None:
            process.clock.jump(self._world.random.choice((-3_600_000.0, -500.0, 500.0, 3_600_000.0)))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.schedule", description=run.__doc__)
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--trace", action="store_true", help="print every event")
    options = parser.parse_args()
    total: Counter[str] = Counter()
    for seed in range(options.seed, options.seed + options.runs):
        lines: list[str] | None = [] if options.trace else None
        try:
            result = run(seed, lines)
        except BaseException:
            if lines:
                sys.stdout.write("\n".join(lines) + "\n")
            sys.stdout.write(f"seed {seed} failed; repeat with --seed {seed} --trace\n")
            raise
        if lines:
            sys.stdout.write("\n".join(lines) + "\n")
        total += result.counts
        total["operation done"] += result.done
        total["operation refused"] += result.refused
        total["operation unknown"] += result.unknown
    for name, count in sorted(total.items()):
        sys.stdout.write(f"{count:10} {name}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
