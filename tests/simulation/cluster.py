"""Simulated nodes: production host, consensus, machine and codec; virtual clock, disk and network."""

from collections.abc import Callable, Sequence

from kraft.config import Client, Cluster, Config, Limits, Node, Peer, Raft
from kraft.host.groups import Host
from kraft.host.ports import Identity
from kraft.peerwire import codec
from tests.simulation.checks import Checks
from tests.simulation.disk import Disk, Platter
from tests.simulation.network import Network, Weather
from tests.simulation.plan import Habits
from tests.simulation.world import NodeClock, World


class Silent:
    """Observers of host and consensus that count what a run should have met."""

    def __init__(self, world: World) -> None:
        self._world = world

    def proposal(self, group: int, outcome: str, count: int) -> None:
        self._world.counts[f"proposal {outcome}"] += count

    def committed(self, group: int, seconds: float, proposals: int) -> None:
        pass

    def applied(self, group: int, seconds: float) -> None:
        pass

    def read(self, group: int, kind: str, outcome: str, seconds: float) -> None:
        self._world.counts[f"read {outcome}"] += 1

    def forwarded(self, outcome: str, count: int) -> None:
        self._world.counts[f"forwarded {outcome}"] += count

    def compared(self, group: int, outcome: str) -> None:
        self._world.counts[f"checkpoint {outcome}"] += 1

    def snapshot_transfer(
        self, group: int, direction: str, outcome: str, size: int, seconds: float
    ) -> None:
        self._world.counts[f"snapshot {direction} {outcome}"] += 1

    def event(self, name: str, **fields: object) -> None:
        self._world.counts[name] += 1

    def role_changed(self, group: int, role: str, term: int, leader: str) -> None:
        if role == "leader":
            self._world.counts["leader elected"] += 1

    def election_ended(self, group: int, kind: str, outcome: str) -> None:
        self._world.counts[f"{kind} {outcome}"] += 1


class Process:
    """One run of one node, from start to crash."""

    def __init__(self, node: "SimulatedNode", clock: NodeClock, network: Network, checks: Checks) -> None:
        self.id = node.id
        self.clock = clock
        self._network = network
        self._checks = checks
        name = f"{node.id} start {node.starts}"
        self.disk = Disk(node.world, clock, node.platter, node.world.dice(f"{name} disk"))
        observer = Silent(node.world)
        self.host = Host(
            node.config,
            node.platter.load(),
            clock=clock,
            disk=self.disk,  # type: ignore[arg-type]
            jitter=node.world.dice(f"{name} jitter").randrange,
            observer=observer,
            raft_observer=observer,
            fatal=node.fatal,
            groups=node.groups,
        )
        self.ready = False

    def start(self) -> None:
        def started() -> None:
            self.ready = True
            self._network.started(self)

        self.host.start(self, started)

    def send(self, peer: str, messages: Sequence[tuple[int, object]]) -> bool:
        self._checks.sent(self, peer, messages)
        return self._network.send(self.id, peer, messages)

    def greet_again(self, peer: str) -> None:
        self._network.close(self.id, peer)

    def connect(self, peer: str, address: str) -> None:
        pass  # every two processes that run are linked

    def introduce(self, peer: str, address: str) -> None:
        pass

    def disconnect(self, peer: str) -> None:
        pass

    def received(self, peer: str, data: bytes) -> None:
        self.host.received(peer, codec.decode(data))

    def link_down(self, peer: str, closed_by_peer: bool) -> None:
        self.host.link_down(peer, closed_by_peer)


class SimulatedNode:
    """A machine: its platter outlives its processes."""

    def __init__(self, cluster: "SimulatedCluster", id_: str, config: Config) -> None:
        self.id = id_
        self.world = cluster.world
        self.config = config
        self.groups = cluster.group_count
        self.process: Process | None = None
        self._cluster = cluster
        self.directories = 0
        self.starts = 0
        self.platter = self.empty_platter()
        self.failures: list[str] = []

    def empty_platter(self) -> Platter:
        """A new directory."""
        self.directories += 1
        dice = self.world.dice(f"{self.id} directory {self.directories}")
        return Platter(Identity(self.id, f"{dice.getrandbits(128):032x}"))

    def fatal(self, reason: str) -> None:
        """The process says that it cannot go on, and ends."""
        self.failures.append(reason)
        self.world.call_later(0, self.crash)

    def start(self) -> None:
        world = self.world
        self.starts += 1
        dice = world.dice(f"{self.id} start {self.starts} clock")
        drift, skew = self._cluster.drift, self._cluster.skew_ms
        skew = dice.choice((0, 1, 1)) * dice.uniform(-skew, skew)
        clock = NodeClock(world, skew, dice.uniform(-drift, drift), dice)
        self.process = Process(self, clock, self._cluster.network, self._cluster.checks)
        world.note(f"start {self.id}")
        self.process.start()

    def crash(self) -> None:
        process, self.process = self.process, None
        if process is None:
            return
        self.world.note(f"crash {self.id}")
        self.world.counts["crash"] += 1
        process.disk.crash()
        process.clock.dead = True
        if process.id in self._cluster.network.processes:
            self._cluster.network.died(process)
        self._cluster.checks.forget(self.id)
        for hear in self._cluster.on_crash:
            hear(process)


class SimulatedCluster:
    """`nodes` machines with `groups` groups each, and what is checked of them after every step."""

    def __init__(self, world: World, weather: Weather, nodes: int = 3, groups: int = 1) -> None:
        self.world = world
        self.group_count = groups
        self.habits = Habits()
        self.drift = 0.0005  # how much faster or slower than time a node's clock may run
        self.skew_ms = 0.0  # how far off a node's wall clock may start
        self.network = Network(world, weather)
        members = {f"K{n}": f"10.0.0.{n}:10001" for n in range(1, nodes + 1)}
        self.nodes = {
            id_: SimulatedNode(self, id_, configuration(id_, address, members))
            for id_, address in members.items()
        }
        self.checks = Checks(self)
        self.on_crash: list[Callable[[Process], None]] = []
        world.after_step = self.checks.after_step

    def start(self) -> None:
        for node in self.nodes.values():
            node.start()

    def processes(self) -> list[Process]:
        return [n.process for n in self.nodes.values() if n.process is not None]

    def leaders(self, group: int = 0) -> list[str]:
        return [
            p.id for p in self.processes() if group in p.host.groups and p.host.groups[group].leads
        ]

    def run(self, seconds: float, stop: Callable[[], bool] = lambda: False) -> bool:
        return self.world.run_until(self.world.now + seconds, stop)


def configuration(id_: str, address: str, members: dict[str, str]) -> Config:
    """Small bounds, so that every bound is met."""
    return Config(
        node=Node(id_, f"/{id_}"),
        cluster=Cluster(members),
        peer=Peer(advertise=address),
        client=Client(write_timeout=5.0, leader_wait=2.0),
        raft=Raft(
            message_bytes=2_000,
            inflight_messages=4,
            inflight_bytes=4_000,
            uncommitted_bytes=20_000,
            tail_bytes=3_000,
            batch_bytes=1_000,
        ),
        limits=Limits(),
    )
