"""A simulated cluster: its machines, their network, and the checks after every step."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from kraft.config import ClientConfig, ClusterConfig, Config, LimitsConfig, NodeConfig, PeerConfig, RaftConfig
from kraft.config.values import ReadsConfig, ScriptsConfig, SnapshotConfig
from tests.simulation.checks import MAX_STALENESS, Checks
from tests.simulation.durable_state import DurableState
from tests.simulation.homes import Homes
from tests.simulation.network import Network, Weather
from tests.simulation.node import SimulatedNode
from tests.simulation.plan import Habits
from tests.simulation.process import Process
from tests.simulation.vigil import Vigil
from tests.simulation.violation import demand
from tests.simulation.world import World

LEADER_WAIT_SECONDS = 2.0  # in which a request waits for a group that its node does not have yet
SCRIPT_INSTRUCTIONS = 10_000  # far more than any script of a client takes
SCRIPT_SECONDS = 1.0  # of real time: never, so that a run does not depend on it


@dataclass(frozen=True, slots=True)
class Tuning:
    """Limits that are drawn for a run: small, so that every one is reached."""

    checkpoint_entries: int = 30
    keep_entries: int = 10
    chunk_bytes: int = 1024
    lease_reads: bool = False


class SimulatedCluster:
    """`nodes` machines with `groups` groups each at the beginning, and the checks after every step.

    `spares` more machines are in standby and run no process until they are started. With `moving`, slots move
    between the groups, and more are created. If `scattered`, nodes leave groups.
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
        *,
        moving: bool = False,
        scattered: bool = False,
    ) -> None:
        self.world = world
        self.group_count = groups
        self.homes = Homes(groups, moving=moving)
        self.scattered = scattered
        self.habits = Habits()
        self.drift = 0.0005  # the largest drift of a node's clock
        self.skew_ms = 0.0  # the largest initial error of a node's wall clock
        self.timely = True  # no successful delivery or work takes long
        self.network = Network(world, weather)
        self.network.connections.on_refused = self._link_refused
        self.durable_states: dict[str, DurableState] = {}  # by incarnation
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
    def groups(self) -> range:
        """All groups: those of the beginning, and those that some node has by now."""
        return range(len(self.checks.committed))

    @property
    def formed(self) -> bool:
        """Whether a first configuration is known to be committed."""
        return bool(self.checks.committed[0].configuration.members)

    def members(self) -> list[str]:
        """Ids of the last committed configuration, or of all forming nodes before there is one."""
        found = self.checks.committed[0].configuration.members
        return [m.id for m in found] or [id_ for id_ in self.nodes if id_ not in self.spares]

    def run(self, seconds: float, stop: Callable[[], bool] | None = None) -> bool:
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
        client=ClientConfig(write_timeout=5.0, leader_wait=LEADER_WAIT_SECONDS),
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
