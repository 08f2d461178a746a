"""Simulated nodes: production host, consensus, machine and codec; virtual clock, disk and network."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from kraft.config import ClientConfig, ClusterConfig, Config, LimitsConfig, NodeConfig, PeerConfig, RaftConfig
from kraft.config.values import ReadsConfig, ScriptsConfig, SnapshotConfig
from kraft.host.host import Host
from kraft.kv.versions import MACHINE_VERSION
from kraft.node.values import Identity, Loaded
from kraft.peerwire import codec
from kraft.peerwire.hello import Hello
from kraft.storage.errors import StorageError
from tests.simulation.checks import MAX_STALENESS, Checks, demand, former
from tests.simulation.disk import Disk
from tests.simulation.network import Network, Weather
from tests.simulation.plan import Habits
from tests.simulation.platter import Platter, copy_of
from tests.simulation.realdisk import RealStorage
from tests.simulation.script_evaluator import SimulatedEvaluator
from tests.simulation.vigil import Vigil
from tests.simulation.world import NodeClock, World

SCRIPT_INSTRUCTIONS = 10_000  # far more than any script of a client takes
SCRIPT_SECONDS = 1.0  # of real time: never, so that a run does not depend on it
RESTART_SECONDS = 1.0  # until a process that ended on its own is restarted
Backup = tuple[Platter, dict[str, bytes]]


class Silent:
    """Observer of host and consensus that counts events for the coverage of runs."""

    def __init__(self, world: World) -> None:
        self._world = world

    def proposal(self, group: int, outcome: str, count: int) -> None:
        self._world.counts[f"proposal {outcome}"] += count

    def committed(self, group: int, seconds: float, proposals: int) -> None:
        pass

    def applied(self, group: int, seconds: float) -> None:
        pass

    def read(self, group: int, kind: str, outcome: str, seconds: float) -> None:
        self._world.counts[f"read {kind} {outcome}"] += 1

    def forwarded(self, outcome: str, count: int) -> None:
        self._world.counts[f"forwarded {outcome}"] += count

    def heartbeat_unsent(self, group: int, peer: str) -> None:
        self._world.counts["heartbeat unsent"] += 1

    def replaying(self, group: int, entries: int, of: int) -> None:
        self._world.counts["piece of a log replayed"] += 1

    def compared(self, group: int, outcome: str) -> None:
        self._world.counts[f"compared {outcome}"] += 1

    def snapshot_transfer(self, group: int, direction: str, outcome: str, size: int, seconds: float) -> None:
        self._world.counts[f"snapshot {direction} {outcome}"] += 1

    def event(self, name: str, **fields: object) -> None:
        self._world.counts[name] += 1

    def script_stopped(self, limit: str) -> None:
        self._world.counts[f"script stopped by {limit}"] += 1

    def role_changed(self, group: int, role: str, term: int, leader: str) -> None:
        if role == "leader":
            self._world.counts["leader elected"] += 1

    def election_ended(self, group: int, kind: str, outcome: str) -> None:
        self._world.counts[f"{kind} {outcome}"] += 1

    def entries_resent(self, group: int, peer: str, size: int) -> None:
        self._world.counts["bytes resent"] += size


class Process:
    """One run of one node, from start to crash; implements `host.ports.Network` for its host."""

    def __init__(
        self, node: "SimulatedNode", clock: NodeClock, network: Network, checks: Checks, loaded: Loaded
    ) -> None:
        self.id = node.id
        self.clock = clock
        self.address = node.config.peer.advertise
        self.addresses: dict[str, str] = {}  # peers to keep a link to, with their addresses
        self._up: dict[str, int] = {}  # the numbers of its links, by peer
        self._network = network
        self._checks = checks
        name = f"{node.id} start {node.starts}"
        dice = node.world.dice(f"{name} disk")
        self.machine_version = node.machine_version
        self.disk = Disk(node.world, clock, node.medium, dice, node.fatal, node.lose_power)
        observer = Silent(node.world)
        self.host = Host(
            node.config,
            loaded,
            clock=clock,
            disk=self.disk,
            jitter=node.world.dice(f"{name} jitter").randrange,
            observer=observer,
            raft_observer=observer,
            fatal=node.fatal,
            machine_version=node.machine_version,
        )
        self.host.use_evaluator(SimulatedEvaluator(node.config, self.host, observer, clock, node.world))
        self.ready = False

    def start(self) -> None:
        def started() -> None:
            self.ready = True
            self._network.started(self)
            for peer, address in self.host.peers.first_peers.items():
                self.connect(peer, address)

        self.host.start(self, started)

    def send(self, peer: str, messages: Sequence[tuple[int, object]]) -> bool:
        self._checks.sent(self, peer, messages)
        taken = self._network.send(self.id, peer, messages)
        if not taken:
            self._checks.resending.excused(self, peer)
        return taken

    def congested(self) -> list[str]:
        return []

    def windows(self) -> dict[str, int]:
        return self._network.windows(self.id)

    def greet_again(self, peer: str) -> None:
        self._network.close(self.id, peer)

    def connect(self, peer: str, address: str) -> None:
        if peer != self.id and self.addresses.get(peer) != address:
            moved = peer in self.addresses
            self.addresses[peer] = address
            self._network.wanted(self, peer, moved)

    def introduce(self, peer: str, address: str) -> None:
        self._network.introduce(self, peer, address)

    def disconnect(self, peer: str) -> None:
        self.addresses.pop(peer, None)
        self._network.close(self.id, peer)

    def received(self, peer: str, data: bytes) -> None:
        messages = codec.decode(data)
        for _, message in messages:
            self._checks.resending.received(self, peer, message)
        if self._checks.understood(self, messages):
            self.host.peer_receiver.received(peer, messages)
        else:  # an older program takes such bytes for garbage
            self._network.close(self.id, peer)

    def link_up(self, peer: str, number: int, hello: Hello) -> None:
        """As with real links, a link that is replaced goes down first, even if its end is noticed later."""
        self._checks.resending.excused(self, peer)
        if peer in self._up:
            self.host.peer_receiver.link_down(peer, False)
        self._up[peer] = number
        self.host.peer_receiver.link_up(peer, hello)

    def link_down(self, peer: str, number: int, closed_by_peer: bool) -> None:
        if self._up.get(peer) == number:
            del self._up[peer]
            self._checks.resending.excused(self, peer)
            self.host.peer_receiver.link_down(peer, closed_by_peer)


class SimulatedNode:
    """A machine, whose directory outlives its processes.

    `medium` carries out the operations of the directory, and `platter` models its content; on a `real` disk
    they differ.
    """

    def __init__(self, cluster: "SimulatedCluster", id_: str, config: Config, real: bool) -> None:
        self._real = real
        self._storage: RealStorage | None = None
        self.id = id_
        self.world = cluster.world
        self.config = config
        self.process: Process | None = None
        self._cluster = cluster
        self.directories = 0
        self.starts = 0
        self.damaged = False  # a fault changed the directory in a way that no disk may
        self.lost = False  # the node has to be re-admitted
        self.troubled = False  # a disk fault can have ended the process
        self.failures: list[str] = []
        self.machine_version = MACHINE_VERSION  # of the program that is installed
        self.too_old = False  # that program ended because of it
        self.wipe()

    def wipe(self) -> None:
        """Replace the directory by an empty one. The old one still counts for what it acknowledged."""
        self.directories += 1
        self.damaged = False
        self.newest_program = 0  # the highest machine version of a program that ran on this directory
        incarnation = f"{self.world.dice(f'{self.id} directory {self.directories}').getrandbits(128):032x}"
        self.platter = Platter(Identity(self.id, incarnation))
        self._cluster.platters[incarnation] = self.platter
        if self._real:
            self.close()
            dice = self.world.dice(f"{self.id} directory {self.directories} files")
            self._storage = RealStorage(self.platter, dice)

    @property
    def medium(self) -> Any:
        """The object that carries out the disk operations."""
        return self._storage or self.platter

    def close(self) -> None:
        """The run is over."""
        if self._storage is not None:
            self._storage.gone()

    # -- disk faults

    def fall_ill(self, illness: str) -> bool:
        """Make reads or syncs fail from now on; False for a disk without such faults."""
        if self._storage is None:
            return False
        self.troubled = True
        setattr(self._storage.files, f"fail_{illness}", True)
        return True

    def mend(self) -> None:
        """End all disk faults and make room."""
        self.medium.full = False
        if self._storage is not None:
            self._storage.mend()

    def flip_bit(self, what: str) -> bool:
        """End the process and flip one bit of a file; False for a disk without files."""
        if self._storage is None:
            return False
        self.crash()
        self._storage.settle()
        names = [n for n in self._storage.names() if n == what or (what == "state" and n.startswith(what))]
        flipped = bool(names) and self._storage.flip_bit(names[-1])
        self.damaged = self.troubled = self.troubled or flipped
        return True

    def backup(self) -> "Backup":
        """Copy the directory while no process runs."""
        if self._storage is None:
            return copy_of(self.platter), {}
        self._storage.settle()
        return copy_of(self.platter), self._storage.copy()

    def put_back(self, backup: "Backup") -> None:
        """Restore a backup of the directory."""
        self.damaged = self.troubled = True
        old, files = backup
        self._cluster.platters[former(self.platter.identity.incarnation)] = self.platter
        self.platter = old
        self._cluster.platters[old.identity.incarnation] = old
        self._cluster.checks.put_back(old.identity.incarnation)
        if self._storage is not None:
            self._storage.platter = old
            self._storage.put_back(files)

    @property
    def address(self) -> str:
        """The address of its peer port."""
        return self.config.peer.advertise

    def stand_by(self) -> None:
        """Use standby from the next start on: the node waits to be added while it belongs to no cluster."""
        self.config = replace(self.config, cluster=ClusterConfig(standby=True))

    def fatal(self, reason: str, *, outdated: bool = False) -> None:
        """The process reports that it cannot continue, and ends."""
        self.world.note(f"fatal {self.id} {reason}")
        self.world.call_later(0, partial(self._end, self.starts))
        if outdated:
            demand(self.machine_version < MACHINE_VERSION, f"{self.id} takes itself for too old: {reason}")
            self.world.counts["program too old"] += 1
            self.too_old = True
            self.world.call_later(RESTART_SECONDS, self.upgrade)
            return
        self.failures.append(reason)
        self.world.counts["process gave up"] += 1
        if self.troubled:
            self.world.call_later(RESTART_SECONDS, self._start_again)

    def _end(self, start: int) -> None:
        """End the process of that start; it may have been replaced meanwhile."""
        if self.starts == start:
            self.crash()

    def upgrade(self) -> None:
        """The newest program is installed, and started where one ran, or should."""
        self.machine_version = MACHINE_VERSION
        if self.process is not None and self.process.machine_version == MACHINE_VERSION:
            return
        wanted = self.process is not None or self.too_old
        self.too_old = False
        self.crash()
        if wanted:
            self._start_again()

    def lose_power(self) -> None:
        """End the process; it is restarted after a moment."""
        self.crash()
        self.world.call_later(RESTART_SECONDS, self._start_again)

    def _start_again(self) -> None:
        if self.process is None and not self.lost:
            self.start()

    def _refused(self, reason: str) -> None:
        """Handle a directory that is refused for now, or permanently."""
        self.world.note(f"refused {self.id} {reason}")
        self.world.counts["start refused"] += 1
        if "KRAFT REPLACE" in reason:
            demand(self.damaged, f"{self.id} refuses a directory that nothing happened to: {reason}")
            self.lost = True
            return
        demand(self.troubled or self.medium.full, f"{self.id} does not start: {reason}")
        self.world.call_later(RESTART_SECONDS, self._start_again)

    def start(self) -> None:
        world = self.world
        try:
            loaded = self.medium.load()
        except StorageError as error:
            self._refused(str(error))
            return
        self.starts += 1
        self.newest_program = max(self.newest_program, self.machine_version)
        dice = world.dice(f"{self.id} start {self.starts} clock")
        drift, skew = self._cluster.drift, self._cluster.skew_ms
        skew = dice.choice((0, 1, 1)) * dice.uniform(-skew, skew)
        clock = NodeClock(world, skew, dice.uniform(-drift, drift), dice)
        self.process = Process(self, clock, self._cluster.network, self._cluster.checks, loaded)
        world.note(f"start {self.id}")
        self.process.start()

    def crash(self) -> None:
        process, self.process = self.process, None
        if process is None:
            return
        self.world.note(f"crash {self.id}")
        self.world.counts["crash"] += 1
        process.clock.dead = True
        process.disk.crash()
        self.medium.close()
        if process.id in self._cluster.network.processes:
            self._cluster.network.died(process)
        self._cluster.checks.forget(self.id)
        for hear in self._cluster.on_crash:
            hear(process)


@dataclass(frozen=True, slots=True)
class Tuning:
    """Limits that are drawn for a run: small, so that every one is reached."""

    checkpoint_entries: int = 30
    keep_entries: int = 10
    chunk_bytes: int = 1024
    lease_reads: bool = False


class SimulatedCluster:
    """`nodes` machines with `groups` groups each, and the checks after every step.

    `spares` more machines are in standby and run no process until they are started.
    """

    def __init__(
        self,
        world: World,
        weather: Weather,
        nodes: int = 3,
        groups: int = 1,
        spares: int = 0,
        tuning: Tuning = Tuning(),
        disks: str = "plain",
    ) -> None:
        self.world = world
        self.group_count = groups
        self.habits = Habits()
        self.drift = 0.0005  # the largest drift of a node's clock
        self.skew_ms = 0.0  # the largest initial error of a node's wall clock
        self.timely = True  # no successful delivery or work takes long
        self.network = Network(world, weather)
        self.network.on_refused = self._link_refused
        self.platters: dict[str, Platter] = {}  # by incarnation
        members = {f"K{n}": address_of(n) for n in range(1, nodes + 1)}
        configurations = {
            id_: configuration(id_, address, members, tuning, groups) for id_, address in members.items()
        }
        self.nodes = {
            id_: SimulatedNode(self, id_, config, _is_real(disks, id_))
            for id_, config in configurations.items()
        }
        self.spares = tuple(f"K{n}" for n in range(nodes + 1, nodes + spares + 1))
        for place, id_ in enumerate(self.spares, nodes + 1):
            config = configuration(id_, address_of(place), members, tuning)
            node = SimulatedNode(self, id_, config, _is_real(disks, id_))
            node.stand_by()
            self.nodes[id_] = node
        self.checks = Checks(self)
        self.vigil = Vigil(self)
        self.on_crash: list[Callable[[Process], None]] = []
        world.after_step = self.checks.after_step

    def close(self) -> None:
        """The run is over."""
        for node in self.nodes.values():
            if node.process is not None:
                node.process.clock.dead = True
            node.close()

    def _link_refused(self, id_: str, reason: str) -> None:
        """Handle a peer that met a later start than the directory knows: an old copy, or a flipped bit."""
        node = self.nodes[id_]
        if "is an old copy" in reason:
            demand(node.damaged, f"{id_} is taken for an old copy, and nothing happened to it: {reason}")
            node.lost = True

    def start(self) -> None:
        for node in self.nodes.values():
            if node.id not in self.spares:
                node.start()

    def disagree(self, seconds: float) -> None:
        """Let one founder begin with another number of groups, until its file is corrected."""
        node = self.nodes["K2"]
        right, wrong = node.config, replace(node.config.cluster, groups=self.group_count + 1)
        node.crash()
        node.config = replace(right, cluster=wrong)
        node.start()

        def correct() -> None:
            demand(
                not self.formed, "a cluster was formed of founders that ask for different numbers of groups"
            )
            running = node.process is not None
            node.crash()
            node.config = replace(node.config, cluster=right.cluster)
            if running:
                node.start()

        self.world.call_later(seconds, correct)

    def processes(self) -> list[Process]:
        return [n.process for n in self.nodes.values() if n.process is not None]

    def leaders(self, group: int = 0) -> list[str]:
        return [
            p.id for p in self.processes() if group in p.host.groups and p.host.groups[group].raft.state.leads
        ]

    @property
    def formed(self) -> bool:
        """Whether a first configuration is known to be committed."""
        return bool(self.checks.configuration(0).members)

    def members(self) -> list[str]:
        """Ids of the last committed configuration, or of all forming nodes before there is one."""
        found = self.checks.configuration(0).members
        return [m.id for m in found] or [id_ for id_ in self.nodes if id_ not in self.spares]

    def run(self, seconds: float, stop: Callable[[], bool] = lambda: False) -> bool:
        return self.world.run_until(self.world.now + seconds, stop)


def _is_real(disks: str, id_: str) -> bool:
    return disks == "real" or (disks == "mixed" and int(id_[1:]) % 2 == 0)


def address_of(number: int, move: int = 0) -> str:
    return f"10.0.{move}.{number}:10001"


def configuration(id_: str, address: str, members: dict[str, str], tuning: Tuning, groups: int = 1) -> Config:
    """A configuration with small limits, so that every limit is reached."""
    return Config(
        node=NodeConfig(id_, f"/{id_}"),
        cluster=ClusterConfig(members, groups=groups),
        peer=PeerConfig(advertise=address),
        client=ClientConfig(write_timeout=5.0, leader_wait=2.0),
        raft=RaftConfig(
            message_bytes=2_000,
            inflight_messages=4,
            inflight_bytes=4_000,
            uncommitted_bytes=20_000,
            tail_bytes=3_000,
            batch_bytes=1_000,
            lease_reads=tuning.lease_reads,
        ),
        reads=ReadsConfig(max_staleness=MAX_STALENESS),
        snapshot=SnapshotConfig(
            checkpoint_entries=tuning.checkpoint_entries,
            keep_entries=tuning.keep_entries,
            chunk_bytes=tuning.chunk_bytes,
        ),
        limits=LimitsConfig(),
        scripts=ScriptsConfig(time=SCRIPT_SECONDS, instructions=SCRIPT_INSTRUCTIONS),
    )
