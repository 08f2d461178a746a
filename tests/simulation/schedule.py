"""One simulated run from one seed: clients and faults together, then heal and demand progress.

    python -m tests.simulation.schedule --seed 7 --trace      # from the checkout: one run, event by event
    python -m tests.simulation.schedule --seed 0 --runs 1000  # what all the runs met, and which failed

The nodes are the production host, consensus core, state machine and peer codec. Simulated are time, dice,
network, disk and clients. A run draws its size, its weather and its kinds of faults, lets them happen for a
while, heals everything, and wants progress, equal replicas and an explanation of all that clients saw. The
properties of consensus are checked after every step. docs/simulation.md has the tables.
"""

import argparse
import sys
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from tests.simulation.checks import demand
from tests.simulation.clients import KEYS, Habits, History, SimulatedClient
from tests.simulation.cluster import SimulatedCluster
from tests.simulation.linearizability import NOTHING_WRITTEN, linearizable, numbered_key
from tests.simulation.network import Weather
from tests.simulation.world import World

FAULT_SECONDS = 20.0
HEAL_SECONDS = 30.0  # bound on recovery: a few elections, retries of every kind, the clients' patience
OPERATIONS_AFTER_HEALING = 40
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
    """Raises `Violation`, or whatever the production code raises, when something is wrong.

    `lines` receives the whole trace.
    """
    world = World(seed)
    world.lines = lines
    try:
        history = _run(world)
    except Exception as error:
        error.add_note(f"repeat it with: python -m tests.simulation.schedule --seed {seed} --trace")
        raise
    outcomes = history.done, history.refused, history.unknown
    return Result(seed, world.trace, world.steps, *outcomes, world.counts)


def _run(world: World) -> History:
    random = world.random
    nodes, groups = random.choice((3, 3, 3, 3, 5, 1)), random.choice((1, 1, 2))
    cluster = SimulatedCluster(world, _weather(world), nodes, groups)
    cluster.drift = random.choice((0.0005, 0.0005, 0.3))
    history = History()
    habits = _habits(world)
    clients = [SimulatedClient(cluster, history, number, habits) for number in range(CLIENTS)]
    cluster.start()
    for client in clients:
        client.start()
    faults = Faults(cluster)
    faults.start()
    cluster.run(FAULT_SECONDS)
    faults.heal()
    goal = history.done + OPERATIONS_AFTER_HEALING
    demand(
        cluster.run(HEAL_SECONDS, lambda: history.done >= goal), "the healed cluster makes no progress"
    )
    for client in clients:
        client.stop()
    demand(
        cluster.run(HEAL_SECONDS, lambda: _settled(cluster)), "the replicas of the healed cluster never meet"
    )
    _judge(cluster, history)
    world.note(f"end {history.done} {history.refused} {history.unknown}")
    return history


def _settled(cluster: SimulatedCluster) -> bool:
    """All nodes are up, have one leader in each group, the same log, all of it applied, and no key left that
    was to expire.
    """
    processes = cluster.processes()
    for id_ in range(cluster.group_count):
        if any(id_ not in p.host.groups for p in processes) or len(cluster.leaders(id_)) != 1:
            return False
        groups = [p.host.groups[id_] for p in processes]
        if len({g.applied for g in groups}) != 1 or any(g.applied != g.node.last_index for g in groups):
            return False
        if any(g.machine.keyspace.expiring for g in groups):
            return False
    return len(processes) == len(cluster.nodes)


def _judge(cluster: SimulatedCluster, history: History) -> None:
    cluster.checks.equal_logs()
    for group, fates in sorted(history.fates.items()):
        history.settle(group, cluster.checks.effects(group, fates))
    for (group, key), operations in sorted(history.operations().items()):
        explained = linearizable(operations, numbered_key, NOTHING_WRITTEN)
        demand(explained, f"the history of {key!r} in group {group} is not linearizable")
    for node in cluster.nodes.values():
        demand(not node.failures, f"{node.id} gave up: {node.failures}")


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


def _habits(world: World) -> Habits:
    random = world.random
    return Habits(
        keys=tuple(sorted(random.sample(KEYS, random.choice((1, 3, len(KEYS)))))),
        thinking=random.choice((0.15, 0.05)),
        patience=random.choice((8.0, 8.0, 0.7)),
    )


class Faults:
    """Draws which families this run has, then lets one happen every now and then."""

    def __init__(self, cluster: SimulatedCluster) -> None:
        self._cluster = cluster
        self._world = cluster.world
        families: list[tuple[str, Callable[[], None]]] = [
            ("crash", self._crash_some),
            ("crash all", self._crash_all),
            ("crash at a commit", self._crash_at_commit),
            ("partition", self._partition),
            ("one way", self._one_way),
            ("reset", self._reset),
            ("pause", self._pause),
            ("strand", self._strand),
            ("disk full", self._disk_full),
            ("slow disk", self._slow_disk),
            ("clock jump", self._clock_jump),
        ]
        if len(cluster.nodes) == 1:
            families = [f for f in families if f[0] not in ("partition", "one way", "reset", "strand")]
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
            process.disk.die = None
            process.clock.slow = 1.0
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

    def _crash_at_commit(self) -> None:
        """With whatever else is under way when the disk has something to do next."""
        id_ = self._victim()
        process = self._cluster.nodes[id_].process
        if process is not None:
            process.disk.die = lambda: self._crash(id_)

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

    def _strand(self) -> None:
        """Nobody hears the node any more, and its timers are late: it does not notice for long."""
        id_ = self._victim()
        process = self._cluster.nodes[id_].process
        if process is None:
            return
        others = [other for other in self._ids() if other != id_]
        self._cluster.network.block([path for o in others for path in ((id_, o), (o, id_))])
        process.clock.slow = self._world.random.choice((3.0, 20.0))

        def undo() -> None:
            process.clock.slow = 1.0
            self._cluster.network.heal()

        self._for_a_while(undo)

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
    description = "Simulate whole clusters, each run from one seed."
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.schedule", description=description)
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--runs", type=int, default=1, help="how many seeds from there on")
    parser.add_argument("--trace", action="store_true", help="print every event")
    options = parser.parse_args()
    total: Counter[str] = Counter()
    failed = 0
    for seed in range(options.seed, options.seed + options.runs):
        lines: list[str] | None = [] if options.trace else None
        try:
            total += _counted(run(seed, lines))
        except Exception:
            failed += 1
            sys.stdout.write(f"seed {seed} failed\n{traceback.format_exc()}\n")
        if lines:
            sys.stdout.write("\n".join(lines) + "\n")
    for name, count in sorted(total.items()):
        sys.stdout.write(f"{count:10} {name}\n")
    sys.stdout.write(f"{options.runs} runs, {failed} failed\n")
    return 1 if failed else 0


def _counted(result: Result) -> Counter[str]:
    counts = result.counts.copy()
    counts["operation done"] += result.done
    counts["operation refused"] += result.refused
    counts["operation unknown"] += result.unknown
    counts["step"] += result.steps
    sys.stdout.write(f"seed {result.seed} trace {result.trace}\n")
    return counts


if __name__ == "__main__":
    sys.exit(main())
